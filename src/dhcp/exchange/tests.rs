use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use proptest::prelude::*;

use super::*;
use crate::{
    dhcp::{
        firmware::{self, Evidence},
        lease::{LEASE, OFFER},
        reply::{Route, dissect},
        sample::{self, DECLINE, DISCOVER, INFORM, MAC, RELEASE, REQUEST, SERVER, Sample},
    },
    model::{Arch, Firmware, Stage},
};

const NOW: Duration = Duration::ZERO;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
/// What the sample's hardware address hashes to.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 214);

/// Installs everything but what its fields say.
#[derive(Default)]
struct Loaders {
    not_served: Option<Mac>,
    ignored: Option<Arch>,
    missing: bool,
    asked: Mutex<Vec<BootRequest>>,
}

impl Desk for Loaders {
    fn serves(&self, mac: Mac) -> bool {
        self.not_served != Some(mac)
    }

    fn decide(&self, request: &BootRequest) -> BootPlan {
        self.asked.lock().expect("no test panics while asking").push(request.clone());
        if self.ignored == Some(request.arch) {
            return BootPlan::Ignore(Reason::NoLoader(request.firmware, request.arch));
        }
        let BootRequest { firmware, arch, stage, .. } = *request;
        BootPlan::Install(BootSpec { firmware, arch, stage })
    }

    fn boot_file(&self, spec: &BootSpec, _: Mac) -> Option<String> {
        let file = match (spec.stage, spec.firmware) {
            (Stage::Ipxe, _) => "http://192.168.42.1:4280/boot.ipxe",
            (_, Firmware::Bios) => "loader/undionly.kpxe",
            (_, Firmware::Uefi) => "loader/shimx64.efi",
            (_, Firmware::UefiHttp) => "http://192.168.42.1:4280/loader/shimx64.efi",
        };
        (!self.missing).then(|| file.to_owned())
    }

    fn leased(&self, _: &Granted) {
        unreachable!("that is for the sockets to say")
    }
}

fn exchange(desk: Loaders) -> Exchange {
    let config =
        Config { interface: "lan0".to_owned(), network: sample::network(), reservation: None, known: Vec::new() };
    Exchange::new(&config, Arc::new(desk))
}

fn answer(sample: &Sample) -> Outcome {
    exchange(Loaders::default()).answer(&sample.bytes(), NOW)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dhcp/golden").join(name)
}

/// The bytes of a captured message: hexadecimal, in lines; `#` starts a comment.
fn captured(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(golden(&format!("{name}.hex"))).expect("a capture");
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Compares the reply to `message` with `golden/<name>.txt`. `UPDATE_GOLDEN=1` writes it: read what `git diff` says then.
fn check(name: &str, message: &[u8]) {
    let outcome = exchange(Loaders::default()).answer(message, NOW);
    let text = dissect(&outcome.reply.expect("a reply"));
    let file = golden(&format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &text).expect("the folder of this test");
    }
    assert_eq!(fs::read_to_string(&file).expect("a golden reply"), text, "{name}");
}

#[test]
fn replies_to_synthesized_messages() {
    let selecting = |sample: Sample| sample.wants(OWN).server(SERVER);
    for (name, sample) in [
        ("synthesized-bios-pxe-offer", sample::bios_pxe(DISCOVER)),
        ("synthesized-ipxe-offer", sample::ipxe(DISCOVER)),
        ("synthesized-debian-installer-offer", sample::debian_installer(DISCOVER)),
        ("synthesized-debian-installer-ack", selecting(sample::debian_installer(REQUEST))),
        ("synthesized-debian-installer-nak", sample::debian_installer(REQUEST).wants(ELSEWHERE)),
        ("synthesized-relay-offer", sample::relayed(DISCOVER)),
        ("synthesized-relay-nak", sample::relayed(REQUEST).wants(ELSEWHERE)),
        ("synthesized-unknown-firmware-offer", sample::bios_http(DISCOVER)),
        ("synthesized-renewing-ack", sample::debian_installer(REQUEST).ciaddr(OWN)),
        ("synthesized-inform-ack", Sample::new(INFORM).ciaddr(OWN)),
    ] {
        check(name, &sample.bytes());
    }
}

#[test]
fn every_row_of_the_firmware_table_has_the_evidence_that_it_names() {
    for row in firmware::TABLE {
        let Evidence::Captured(name) = row.evidence else { continue };
        for (asked, replied) in [("discover", "offer"), ("request", "ack")] {
            let message = captured(&format!("{name}-{asked}"));
            let packet = packet::decode(&message).expect("a client's message");
            assert_eq!(packet.architectures, [row.code], "{name}");
            check(&format!("{name}-{replied}"), &message);
        }
    }
}

#[test]
fn a_machine_boots_step_by_step_with_one_address() {
    let desk = Arc::new(Loaders::default());
    let config =
        Config { interface: "lan0".to_owned(), network: sample::network(), reservation: None, known: Vec::new() };
    let mut exchange = Exchange::new(&config, Arc::clone(&desk) as Arc<dyn Desk>);
    for (stage, say) in [
        (Stage::Rom, sample::ovmf_pxe as fn(u8) -> Sample),
        (Stage::Ipxe, sample::ipxe),
        (Stage::Installer, sample::debian_installer),
        (Stage::Os, Sample::new),
    ] {
        assert!(exchange.answer(&say(DISCOVER).bytes(), NOW).reply.is_some());
        let outcome = exchange.answer(&say(REQUEST).wants(OWN).server(SERVER).bytes(), NOW);
        let granted = outcome.granted.expect("the address that was offered");
        assert_eq!((granted.mac, granted.address, granted.stage), (MAC, OWN, stage));
        assert_eq!(granted.boot.is_some(), matches!(stage, Stage::Rom | Stage::Ipxe), "{stage:?}");
    }
    let asked = desk.asked.lock().expect("nobody panicked");
    assert_eq!(asked.len(), 4, "firmware and iPXE, at DISCOVER and at REQUEST");
    assert_eq!(asked[0].uuid.map(|uuid| uuid.0[0]), Some(1));
}

#[test]
fn silence_has_a_reason() {
    let not_served = || Loaders { not_served: Some(MAC), ..Loaders::default() };
    let ignores = || Loaders { ignored: Some(Arch::X86_64), ..Loaders::default() };
    let x64 = Reason::NoLoader(Firmware::Uefi, Arch::X86_64);
    let selects = |server| Sample::new(REQUEST).wants(OWN).server(server);
    for (desk, sample, note) in [
        (not_served(), sample::ovmf_pxe(DISCOVER), Note::NotServed),
        (not_served(), Sample::new(REQUEST).wants(ELSEWHERE), Note::NotServed),
        (ignores(), sample::ovmf_pxe(DISCOVER), Note::NotBooted(x64)),
        (ignores(), sample::ovmf_pxe(REQUEST).wants(OWN).server(SERVER), Note::NotBooted(x64)),
        (Loaders::default(), selects(ELSEWHERE), Note::NotForUs(NotForUs::OtherServer(ELSEWHERE))),
        (Loaders::default(), Sample::new(DECLINE).wants(OWN).server(SERVER), Note::NotItsAddress(OWN)),
        (Loaders::default(), Sample::new(RELEASE).ciaddr(OWN).server(SERVER), Note::NotItsAddress(OWN)),
    ] {
        let outcome = exchange(desk).answer(&sample.bytes(), NOW);
        assert!(outcome.reply.is_none() && outcome.granted.is_none());
        assert_eq!((outcome.mac, outcome.note), (Some(MAC), Some(note)));
    }
    let outcome = exchange(Loaders::default()).answer(b"GET / HTTP/1.1", NOW);
    assert_eq!((outcome.mac, outcome.note), (None, Some(Note::Malformed(Malformed::Short(14)))));
}

#[test]
fn a_machine_without_a_boot_file_gets_an_address_only() {
    let spec = BootSpec { firmware: Firmware::Uefi, arch: Arch::X86_64, stage: Stage::Rom };
    let missing = Loaders { missing: true, ..Loaders::default() };
    let outcome = exchange(missing).answer(&sample::ovmf_pxe(DISCOVER).bytes(), NOW);
    assert_eq!(outcome.note, Some(Note::NoBootFile(spec)));
    let text = dissect(&outcome.reply.expect("an address"));
    for absent in ["\n43 ", "\n60 ", "\n66 ", "\n67 ", "file \"l"] {
        assert!(!text.contains(absent), "{absent:?} in {text}");
    }
    assert_eq!(answer(&sample::ovmf_pxe(DISCOVER).option(93, &[])).note, None);
    assert_eq!(answer(&Sample::new(DISCOVER).option(60, b"PXEClient")).note, Some(Note::UnknownFirmware(vec![])));
}

#[test]
fn declined_and_released_addresses_are_heard_of() {
    let mut exchange = exchange(Loaders::default());
    let take = Sample::new(REQUEST).wants(OWN).bytes();
    assert!(exchange.answer(&take, NOW).granted.is_some());
    let release = Sample::new(RELEASE).server(SERVER).ciaddr(OWN).bytes();
    assert_eq!(exchange.answer(&release, NOW).note, Some(Note::Released(OWN)));
    assert!(exchange.answer(&take, NOW).granted.is_some(), "it is still its own");
    let decline = Sample::new(DECLINE).server(SERVER).wants(OWN).bytes();
    assert_eq!(exchange.answer(&decline, NOW).note, Some(Note::Declined(OWN)));
    assert_eq!(exchange.answer(&take, NOW).note, Some(Note::Nak(Refusal::Taken(OWN))));
}

#[test]
fn a_full_network_is_silent_until_offers_expire() {
    let mut exchange = exchange(Loaders::default());
    let discover = |n: u8| Sample::new(DISCOVER).mac(Mac([2, 0, 0, 0, 0, n])).bytes();
    let given: HashSet<u8> = (0..253).filter(|n| exchange.answer(&discover(*n), NOW).reply.is_some()).collect();
    assert_eq!(given.len(), 253);
    assert_eq!(exchange.answer(&discover(253), NOW).note, Some(Note::NoAddress(Refusal::Exhausted)));
    assert!(exchange.answer(&discover(253), OFFER).reply.is_some());
    assert!(OFFER < LEASE);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_not(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        exchange(Loaders::default()).answer(&bytes, NOW);
    }

    #[test]
    fn a_damaged_message_is_answered_within_bounds(
        which in 0..6_usize,
        kind in 0..20_u8,
        damage in prop::collection::vec((0..500_usize, any::<u8>()), 0..12),
        more in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..255)), 0..4),
    ) {
        let say = [
            sample::ovmf_pxe, sample::ovmf_http, sample::bios_pxe, sample::ipxe, sample::debian_installer, sample::relayed,
        ][which];
        let mut sample = say(kind).wants(OWN);
        for (code, value) in more {
            sample = sample.option(code, &value);
        }
        let mut bytes = sample.bytes();
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        if let Some(reply) = exchange(Loaders::default()).answer(&bytes, NOW).reply {
            prop_assert!((300..=1444).contains(&reply.bytes.len()), "{}", reply.bytes.len());
            prop_assert_eq!(&reply.bytes[240..242], &[53, 1], "53 comes first");
            prop_assert_eq!(&reply.bytes[4..8], &bytes[4..8], "the client's transaction");
            if let Route::Configured(address) | Route::Unicast { address, .. } = reply.route {
                prop_assert!(sample::network().subnet.contains(&address));
            }
        }
    }
}

#[test]
fn an_address_from_before_a_restart_is_not_given_to_another() {
    let offered = |known| {
        let config = Config { interface: "lan0".to_owned(), network: sample::network(), reservation: None, known };
        let mut exchange = Exchange::new(&config, Arc::new(Loaders::default()));
        let reply = exchange.answer(&sample::bios_pxe(DISCOVER).bytes(), NOW).reply.expect("an offer");
        // RFC 2131 §2: yiaddr.
        Ipv4Addr::from(<[u8; 4]>::try_from(&reply.bytes[16..20]).expect("four octets"))
    };
    assert_eq!(offered(Vec::new()), OWN);
    assert_ne!(offered(vec![(Mac([2, 0, 0, 0, 0, 0x77]), OWN)]), OWN);
}
