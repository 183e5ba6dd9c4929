//! From power-on to the machine's own disk, and what other machines get meanwhile.

use std::net::Ipv4Addr;

use provisioner::model::Mac;

use super::{
    client::{GRUB_CFG, HTTP, answers_path, curl, dhcpcd, exchange, grub_cfg, settle, status, text, tftp, udhcpc},
    firmware::{Card, Told, Voice},
    house::{GRUB, House, INITRD, KERNEL, SHIM, SHIM_DEB, UNDIONLY},
    program::Program,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
const MACHINE: Mac = Mac([0x52, 0x54, 0, 0xc0, 0xff, 0xee]);
const FOLDER: &str = "boot/debian13-x86_64";

#[test]
fn a_machine_is_installed_and_boots_its_own_disk_from_then_on() {
    let Some(house) = House::make(&["udhcpc", "dhcpcd", "curl", "tftp"]) else { return };
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    a_system_is_leased_an_address_and_nothing_to_boot(&house);

    let card = Card::plug(&house.lan, MACHINE);
    let told = card.asks_to_boot(Voice::Uefi);
    is_told_its_loader(&told, &format!("{FOLDER}/shimx64.efi"));
    program.says(&format!("{MACHINE} asked to boot (UEFI x86_64)"));
    settle(&house.lan, told.address);
    loads_its_boot_files(&house, &mut program);
    boot_files_are_answered_as_loaders_read_them(&house);
    let answers = answers_path(&grub_cfg(&house.lan));
    is_installed(&house, &mut program, &answers);

    boots_its_disk(&house, &mut program, &card);
    drop(card);
    dhcpcd(&house.lan, MACHINE);
    program.says(&format!("{MACHINE} booted from disk"));
    let ended = program.stop();
    assert_eq!(ended.err, "");
    is_said_in_order(&house, &ended.out);
    is_in_the_journal(&house);
    assert_eq!(house.host(), before);

    let mut program = house.start(&[]);
    program.says(&format!("{MACHINE} is installed: it boots from its own disk; --reinstall {MACHINE} "));
    program.says("ready to provision!");
    boots_its_disk(&house, &mut program, &Card::plug(&house.lan, MACHINE));
    program.stop();

    let mut program = house.start(&[&format!("--reinstall={MACHINE}")]);
    program.says(&format!("{MACHINE} will be installed again"));
    program.says("ready to provision!");
    settle(&house.lan, Card::plug(&house.lan, MACHINE).asks_to_boot(Voice::Uefi).address);
    program.says(&format!("{MACHINE} asked to boot (UEFI x86_64)"));
    assert_eq!(answers_path(&grub_cfg(&house.lan)), answers, "a machine's token outlives the provisioner");
    program.stop();
    assert_eq!(house.host(), before);
}

fn a_system_is_leased_an_address_and_nothing_to_boot(house: &House) {
    let lease = udhcpc(&house.lan);
    let told = |name: &str| lease.get(name).map(String::as_str);
    let expected = (Some("255.255.255.0"), Some("192.168.42.1"), Some("9.9.9.9"), Some("192.168.42.1"));
    assert_eq!((told("subnet"), told("router"), told("dns"), told("serverid")), expected, "{lease:?}");
    for name in ["siaddr", "boot_file", "bootfile", "tftp"] {
        assert_eq!(told(name), None, "{lease:?}");
    }
}

fn is_told_its_loader(told: &Told, file: &str) {
    assert_eq!(told.next_server, SERVER);
    assert_eq!((told.file.as_str(), told.text(67), told.text(66)), (file, file, "192.168.42.1"));
    assert_eq!((told.option(3), told.option(6)), (Some(&SERVER.octets()[..]), Some(&[9, 9, 9, 9][..])));
    assert_eq!((told.option(1), told.text(60)), (Some(&[255, 255, 255, 0][..]), "PXEClient"));
}

fn loads_its_boot_files(house: &House, program: &mut Program) {
    assert!(tftp(&house.lan, &format!("{FOLDER}/shimx64.efi")) == SHIM);
    program.says(&format!("{MACHINE} loading boot loader"));
    // shim finds GRUB beside itself; where the firmware hides the path from it, at the root.
    assert!(tftp(&house.lan, &format!("{FOLDER}/grubx64.efi")) == GRUB);
    assert!(tftp(&house.lan, "grubx64.efi") == GRUB);
    let script = grub_cfg(&house.lan);
    assert!(script.contains(&format!("\nlinux (http,192.168.42.1:4280)/{FOLDER}/linux auto=true ")), "{script}");
    assert!(script.contains(&format!("\ninitrd (http,192.168.42.1:4280)/{FOLDER}/initrd.gz\n")), "{script}");
    assert!(script.contains(" BOOTIF=01-52-54-00-c0-ff-ee "), "{script}");
    assert!(!script.contains("hostname"), "{script}");
    assert!(curl(&house.lan, &format!("/{FOLDER}/linux"), &[]) == KERNEL);
    program.says(&format!("{MACHINE} loading kernel"));
    assert!(curl(&house.lan, &format!("/{FOLDER}/initrd.gz"), &[]) == INITRD);
}

/// The bytes on the wire: GRUB knows header names in title case only, and neither redirects nor chunks.
fn boot_files_are_answered_as_loaders_read_them(house: &House) {
    let host = "Host: 192.168.42.1:4280\r\n";
    let ask = |method: &str, path: &str, headers: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
        let (head, body) = head_and_body(&exchange(&house.lan, &request));
        has_title_case(&head);
        (head, body)
    };
    let linux = &format!("/{FOLDER}/linux");
    let (head, body) = ask("HEAD", linux, "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nContent-Length: 300000\r\n"), "{head}");
    assert!(body.is_empty());
    let (head, body) = ask("GET", linux, "Range: bytes=299990-\r\n");
    assert!(head.starts_with("HTTP/1.1 206 ") && head.contains("\r\nContent-Length: 10\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Range: bytes 299990-299999/300000\r\n") && body == KERNEL[..10], "{head}");
    let (head, body) = ask("GET", &format!("/{FOLDER}//initrd.gz"), "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == INITRD, "{head}");
    let (head, _) = ask("GET", &format!("/{FOLDER}/../secret"), "");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");

    let (head, body) = head_and_body(&exchange(&house.lan, &format!("GET {linux} HTTP/1.0\r\n\r\n")));
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("\r\nContent-Length: 300000\r\n"), "{head}");
    assert!(body == KERNEL);

    let first = format!("GET /{FOLDER}/initrd.gz HTTP/1.1\r\n{host}\r\n");
    let (_, rest) = head_and_body(&exchange(&house.lan, &format!("{first}HEAD {linux} HTTP/1.0\r\n\r\n")));
    let (second, _) = head_and_body(rest.strip_prefix(INITRD).expect("the first file"));
    assert!(second.starts_with("HTTP/1.") && second.contains(" 200 OK\r\n"), "the connection was kept: {second}");
}

fn has_title_case(head: &str) {
    let names = head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(name, _)| name);
    for name in names {
        assert!(name.split('-').all(|part| part.starts_with(|c: char| c.is_ascii_uppercase())), "{name} in {head}");
    }
}

fn head_and_body(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8(answer[..end].to_vec()).expect("text"), answer[end..].to_vec())
}

fn is_installed(house: &House, program: &mut Program, answers: &str) {
    let lan = &house.lan;
    let [_, _, mac, token, file] = answers.split('/').collect::<Vec<_>>()[..] else { panic!("{answers}") };
    assert_eq!((mac, token.len(), file), (MACHINE.to_string().as_str(), 32, "preseed.cfg"));
    let wrong = token.replace(&token[..1], if token.starts_with('0') { "1" } else { "0" });
    for closed in [format!("/answers/{mac}/{wrong}/{file}"), format!("/answers/52:54:00:00:00:01/{token}/{file}")] {
        assert_eq!(status(lan, &closed, &[]), 404, "{closed}");
    }
    assert_eq!(status(lan, &format!("/callback/{mac}/{wrong}/installed"), &["--data", ""]), 404);

    let preseed = text(curl(lan, answers, &[]));
    program.says(&format!("{MACHINE} installer asked for its answers"));
    assert!(preseed.starts_with("#_preseed_V1\n"), "{preseed}");
    assert!(preseed.contains("\nd-i mirror/http/hostname string 192.168.42.1:4280\n"), "{preseed}");
    assert!(preseed.contains("\nd-i mirror/http/directory string /mirror/debian\n"), "{preseed}");
    let setup = text(curl(lan, &answers.replace(file, "setup.sh"), &[]));
    assert!(setup.contains(&format!(" '{HTTP}/callback/{mac}/{token}'/\"$name\"")), "{setup}");

    let reports = |name: &str| {
        let done = status(lan, &format!("/callback/{mac}/{token}/{name}"), &["--data", ""]);
        assert_eq!(done, 204, "{name}");
    };
    reports("started");
    program.says(&format!("{MACHINE} installer started"));
    reports("partitioned");
    program.says(&format!("{MACHINE} disk partitioned"));
    the_mirror_asks_upstream_once(house);
    // An installer that misses a package waits with a question on a screen; here it is told of.
    assert_eq!(status(lan, "/mirror/debian/pool/gone_1_amd64.udeb", &[]), 404);
    program.says(&format!("{MACHINE} asked for gone_1_amd64.udeb, which the mirror does not have"));
    reports("finishing");
    program.says(&format!("{MACHINE} packages 2, 0 MB"));
    program.says(&format!("{MACHINE} finishing"));
    reports("installed");
    program.says(&format!("{MACHINE} installed"));
    let installs = std::fs::read(house.prefix().join(FOLDER).join("installs.json")).expect("what it took");
    let installs: serde_json::Value = serde_json::from_slice(&installs).expect("JSON");
    assert_eq!(installs, serde_json::json!({ "standard plain": [SHIM_DEB.trim_start_matches('/')] }));
}

fn the_mirror_asks_upstream_once(house: &House) {
    house.archive().paths();
    let original = std::fs::read(house.archived(SHIM_DEB)).expect("a file of the archive");
    for _ in 0..2 {
        assert!(curl(&house.lan, &format!("/mirror{SHIM_DEB}"), &[]) == original);
    }
    assert_eq!(house.archive().paths(), [SHIM_DEB]);
    assert_eq!(status(&house.lan, "/mirror/debian/no-such-file", &[]), 404);
    assert_eq!(status(&house.lan, "/mirror/elsewhere/file", &[]), 404);
}

fn boots_its_disk(house: &House, program: &mut Program, card: &Card) {
    let told = card.asks_to_boot(Voice::Uefi);
    is_told_its_loader(&told, &format!("{FOLDER}/shimx64.efi"));
    settle(&house.lan, told.address);
    program.says(&format!("{MACHINE} asked to boot (UEFI x86_64): sent to its own disk"));
    assert!(tftp(&house.lan, &format!("{FOLDER}/shimx64.efi")) == SHIM);
    let script = grub_cfg(&house.lan);
    assert!(script.contains("\nif search --no-floppy --file --set=root /EFI/debian/shimx64.efi; then\n"), "{script}");
    assert!(!script.contains("\nlinux "), "{script}");
}

fn is_said_in_order(house: &House, out: &[String]) {
    let chosen = [
        "provisioner: interface: lan0".to_owned(),
        format!("provisioner: cache prefix: {}/", house.prefix().display()),
        "provisioner: distro uid: debian13-x86_64".to_owned(),
        format!("provisioner: mirror: {}", house.mirror()),
        "provisioner: trust: signed, by the OpenPGP keys of Debian".to_owned(),
        "provisioner: disk: the first fixed disk (not removable, not USB, not on a storage network) will be ERASED"
            .to_owned(),
    ];
    assert_eq!(out[..chosen.len()], chosen);
    let (ready, verified) = ("provisioner: ready to provision!", format!("signed by {}", house.signer()));
    let start: Vec<_> = out.iter().skip(chosen.len()).take_while(|line| *line != ready).collect();
    let (last, fetched) = start.split_last().expect("it fetches");
    assert_eq!(**last, format!("provisioner: boot files verified: Debian 13.7, {verified}"));
    let about = |line: &String| line.contains(": suite trixie") || line.contains(" files of trixie-");
    let suites: Vec<&String> = fetched.iter().copied().filter(|line| about(line)).collect();
    let fetched: Vec<&String> = fetched.iter().copied().filter(|line| !about(line)).collect();
    assert!(fetched.iter().all(|line| line.starts_with("provisioner: fetching ")), "{fetched:?}");
    let trixie = format!("provisioner: suite trixie of 2025-01-01: 3 packages, {verified}");
    assert!(suites.len() == 3 && suites.contains(&&trixie), "{suites:?}");
    assert_eq!(fetched.len(), 5, "kernel, initrd and three packages: {fetched:?}");
    assert_eq!(out.iter().filter(|line| line.contains("ready")).count(), 1);
    let events: Vec<_> = out.iter().skip_while(|line| *line != ready).skip(1).collect();
    let said = [
        "asked to boot (UEFI x86_64)",
        "loading boot loader",
        "loading kernel",
        "installer asked for its answers",
        "installer started",
        "disk partitioned",
        "asked for gone_1_amd64.udeb, which the mirror does not have",
        "packages 2, 0 MB",
        "finishing",
        "installed",
        "asked to boot (UEFI x86_64): sent to its own disk",
        "booted from disk",
    ];
    let mut expected: Vec<_> = said.iter().map(|what| format!("{MACHINE} {what}")).collect();
    expected.push("provisioner: ended: this machine is as it was".to_owned());
    assert_eq!(events, expected.iter().collect::<Vec<_>>());
}

fn is_in_the_journal(house: &House) {
    let journal = house.journal();
    let events: Vec<_> =
        journal.iter().filter(|(mac, _)| *mac == MACHINE.to_string()).map(|(_, event)| event).collect();
    let expected = [
        "leased",
        "asked-to-boot",
        "loading-loader",
        "loading-kernel",
        "asked-for-answers",
        "installer-started",
        "partitioned",
        "refused",
        "packages",
        "finishing",
        "installed",
        "sent-to-disk",
        "booted-from-disk",
    ];
    assert_eq!(events, expected);
    assert_eq!(journal.len(), expected.len() + 1, "and the lease of the system that did not boot: {journal:?}");
}

#[test]
fn a_bios_goes_by_ipxe_to_the_installer_and_then_to_its_disk() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    let card = Card::plug(&house.lan, MACHINE);
    let script =
        |told: &Told| text(curl(&house.lan, told.text(67).strip_prefix(HTTP).expect("an address of ours"), &[]));

    let rom = card.asks_to_boot(Voice::Bios);
    is_told_its_loader(&rom, &format!("{FOLDER}/undionly.kpxe"));
    settle(&house.lan, rom.address);
    assert!(tftp(&house.lan, &rom.file) == UNDIONLY);
    let told = card.asks_to_boot(Voice::Ipxe);
    is_told_its_loader(&told, &format!("{HTTP}/{FOLDER}/boot.ipxe"));
    let install = script(&told);
    assert!(install.starts_with("#!ipxe\n"), "{install}");
    assert!(install.contains(&format!("\nkernel {HTTP}/{FOLDER}/linux initrd=initrd.gz auto=true ")), "{install}");

    let installed = answers_path(&install).replace("/answers/", "/callback/").replace("preseed.cfg", "installed");
    assert_eq!(status(&house.lan, &installed, &["--data", ""]), 204);
    program.says(&format!("{MACHINE} installed"));
    card.asks_to_boot(Voice::Bios);
    let disk = script(&card.asks_to_boot(Voice::Ipxe));
    assert!(disk.contains("\nsanboot --no-describe --drive 0x80 || exit\n"), "{disk}");
    let ended = program.stop();
    let asked = ended.out.iter().filter(|line| line.contains("asked to boot")).count();
    assert_eq!(asked, 2, "the ROM and its iPXE are one boot: {:?}", ended.out);
}

#[test]
fn only_the_machine_that_was_named_is_served_with_its_address_and_name() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mac = format!("--mac={MACHINE}");
    let mut program = house.start(&[&mac, "--ip=192.168.42.77", "--hostname=web1.lab"]);
    program.says("ready to provision!");
    Card::plug(&house.lan, Mac([0x52, 0x54, 0, 0, 0, 1])).discovers(Voice::Uefi);
    // Answers come in the order of the questions: the first one would have been the other machine's.
    let told = Card::plug(&house.lan, MACHINE).asks_to_boot(Voice::Uefi);
    assert_eq!(told.address, Ipv4Addr::new(192, 168, 42, 77));
    settle(&house.lan, told.address);
    let script = grub_cfg(&house.lan);
    assert!(script.contains(" hostname=web1 netcfg/hostname=web1 domain=lab "), "{script}");
    let preseed = text(curl(&house.lan, &answers_path(&script), &[]));
    assert!(preseed.contains("\nd-i netcfg/get_hostname string web1\n"), "{preseed}");

    settle(&house.lan, Ipv4Addr::new(192, 168, 42, 78));
    assert_eq!(status(&house.lan, &format!("/{GRUB_CFG}"), &[]), 404, "there is no script for a stranger");
    let ended = program.stop();
    assert!(!ended.out.iter().any(|line| line.contains("52:54:00:00:00:01")), "{:?}", ended.out);
    assert!(house.journal().iter().all(|(mac, _)| *mac == MACHINE.to_string()));
}
