use super::*;
use crate::{
    dhcp::{
        packet::decode,
        sample::{self, DECLINE, DISCOVER, INFORM, RELEASE, REQUEST, SERVER, Sample},
    },
    model::{Arch, Firmware},
};

const A: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 100);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);

fn sort(sample: &Sample) -> Result<Request, NotForUs> {
    classify(&decode(&sample.bytes()).expect("a client's message"), &sample::network())
}

#[test]
fn what_is_filled_in_tells_what_is_wanted() {
    let new = Sample::new;
    let cases = [
        (new(DISCOVER), Ok(LeaseNeed::Offer(None))),
        (new(DISCOVER).wants(A), Ok(LeaseNeed::Offer(Some(A)))),
        (new(DISCOVER).wants(Ipv4Addr::UNSPECIFIED), Ok(LeaseNeed::Offer(None))),
        (new(REQUEST).server(SERVER).wants(A), Ok(LeaseNeed::Select(A))),
        (new(REQUEST).server(ELSEWHERE).wants(A), Err(NotForUs::OtherServer(ELSEWHERE))),
        (new(REQUEST).wants(A), Ok(LeaseNeed::Reboot(A))),
        (new(REQUEST).ciaddr(A), Ok(LeaseNeed::Extend(A))),
        (new(REQUEST).ciaddr(A).server(SERVER), Ok(LeaseNeed::Extend(A))),
        (new(REQUEST).ciaddr(A).wants(A), Ok(LeaseNeed::Extend(A))),
        (new(REQUEST), Err(NotForUs::NoAddress)),
        (new(DECLINE).server(SERVER).wants(A), Ok(LeaseNeed::Decline(A))),
        (new(DECLINE).server(ELSEWHERE).wants(A), Err(NotForUs::OtherServer(ELSEWHERE))),
        (new(DECLINE).server(SERVER), Err(NotForUs::NoAddress)),
        (new(RELEASE).server(SERVER).ciaddr(A), Ok(LeaseNeed::Release(A))),
        (new(RELEASE).server(ELSEWHERE).ciaddr(A), Err(NotForUs::OtherServer(ELSEWHERE))),
        (new(RELEASE).server(SERVER), Err(NotForUs::NoAddress)),
        (new(INFORM).ciaddr(A), Ok(LeaseNeed::Inform(A))),
        (new(INFORM).ciaddr(ELSEWHERE), Err(NotForUs::ForeignAddress(ELSEWHERE))),
        (new(INFORM), Err(NotForUs::NoAddress)),
        (new(2), Err(NotForUs::Kind(MessageType::Offer))),
        (new(13), Err(NotForUs::Kind(MessageType::LeaseActive))),
        (new(DISCOVER).giaddr(Ipv4Addr::new(192, 168, 42, 254)), Ok(LeaseNeed::Offer(None))),
        (new(DISCOVER).giaddr(ELSEWHERE), Err(NotForUs::ForeignRelay(ELSEWHERE))),
    ];
    for (sample, expected) in cases {
        let packet = decode(&sample.bytes());
        assert_eq!(sort(&sample).map(|request| request.lease), expected, "{packet:?}");
    }
    let bootp = Sample::new(DISCOVER).set(240, &[0, 0, 0]);
    assert_eq!(sort(&bootp), Err(NotForUs::Bootp));
}

#[test]
fn who_talks() {
    let class = |class: &str| Sample::new(DISCOVER).option(60, class.as_bytes());
    let user = |class: &[u8]| sample::bios_pxe(DISCOVER).option(77, class);
    let cases = [
        ("OVMF", sample::ovmf_pxe(DISCOVER), Stage::Rom),
        ("OVMF by HTTP", sample::ovmf_http(DISCOVER), Stage::Rom),
        ("iPXE", sample::ipxe(DISCOVER), Stage::Ipxe),
        ("a raw user class", user(b"iPXE"), Stage::Ipxe),
        ("RFC 3004", user(b"\x04iPXE"), Stage::Ipxe),
        ("RFC 3004, the second", user(b"\x03foo\x04iPXE"), Stage::Ipxe),
        ("RFC 3004, cut", user(b"\x05iPXE"), Stage::Rom),
        ("another user class", user(b"gPXE"), Stage::Rom),
        ("option 175 alone", sample::bios_pxe(DISCOVER).option(175, &[19, 1, 1]), Stage::Ipxe),
        ("debian-installer", sample::debian_installer(DISCOVER), Stage::Installer),
        ("Anaconda", class("anaconda-Linux 6.11.4 x86_64"), Stage::Installer),
        ("systemd-networkd", class("systemd"), Stage::Os),
        ("dhcpcd", class("dhcpcd-9.4.1:Linux-6.1.0:x86_64:GenuineIntel"), Stage::Os),
        ("something beginning with d-i", class("d-installer"), Stage::Os),
        ("nobody", Sample::new(DISCOVER), Stage::Os),
    ];
    for (who, sample, stage) in cases {
        assert_eq!(sort(&sample).map(|request| request.stage), Ok(stage), "{who}");
    }
}

#[test]
fn only_firmware_and_ipxe_are_booted() {
    // The architecture alone is no request: debian-installer could copy it from the kernel's command line.
    for sample in [sample::debian_installer(DISCOVER).option(93, &[0, 7]), Sample::new(DISCOVER).option(93, &[0, 7])] {
        assert_eq!(sort(&sample).map(|request| request.boot), Ok(BootNeed::None));
    }
}

#[test]
fn architectures() {
    use {Arch::*, Firmware::*};
    let cases = [
        (&[0_u16][..], Some((Bios, X86_64))),
        (&[7], Some((Uefi, X86_64))),
        (&[9], Some((Uefi, X86_64))),
        (&[11], Some((Uefi, Aarch64))),
        (&[16], Some((UefiHttp, X86_64))),
        (&[19], Some((UefiHttp, Aarch64))),
        (&[27], Some((Uefi, Riscv64))),
        (&[28], Some((UefiHttp, Riscv64))),
        (&[6], None),
        (&[10], None),
        (&[20], None),
        (&[65535], None),
        (&[], None),
        (&[16, 7], Some((UefiHttp, X86_64))),
        (&[6, 7], Some((Uefi, X86_64))),
    ];
    for (codes, expected) in cases {
        let value: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
        let sample = Sample::new(DISCOVER).option(60, b"PXEClient").option(93, &value);
        let found = match sort(&sample).map(|request| request.boot) {
            Ok(BootNeed::Boot(request)) => Some((request.firmware, request.arch)),
            Ok(BootNeed::Unknown(unknown)) if unknown == codes => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{codes:?}");
    }
}

#[test]
fn a_uuid_is_read_when_it_is_one() {
    let uuid = |id: &[u8]| {
        let sample = Sample::new(DISCOVER).option(60, b"PXEClient").option(93, &[0, 7]).option(97, id);
        match sort(&sample).map(|request| request.boot) {
            Ok(BootNeed::Boot(request)) => request.uuid,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(uuid(&sample::machine_id()).map(|uuid| uuid.0), sample::machine_id()[1..].try_into().ok());
    let [none, unset] = [[0; 17], std::array::from_fn(|at| if at == 0 { 0 } else { 0xff })];
    for no_uuid in [&[][..], &[0; 16], &[1; 17], &none, &unset] {
        assert_eq!(uuid(no_uuid), None, "{no_uuid:?}");
    }
}
