//! A machine with two network cards on the link is one machine.

use provisioner::model::Mac;

use super::{
    client::{HTTP, answers_path, curl, grub_cfg, settle, status, text, tftp},
    firmware::{Card, Told, Voice},
    house::{House, SHIM},
    program::Program,
};

const ONE: Mac = Mac([0x52, 0x54, 0, 0xc0, 0xff, 0x01]);
const TWO: Mac = Mac([0x52, 0x54, 0, 0xc0, 0xff, 0x02]);
const UUID: [u8; 16] = [0x10, 0x5a, 0x3c, 0x9f, 0x2e, 0x0c, 0x71, 0x4b, 0x8d, 0x6f, 0x52, 0x54, 0, 0x12, 0xab, 0x34];

#[test]
fn a_machine_is_not_erased_because_its_firmware_takes_the_other_card() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    boots(&house, ONE, Voice::Uefi);
    program.says(&format!("{ONE} asked to boot (UEFI x86_64)"));
    is_installed(&house, &mut program, ONE);

    boots_its_disk_by_the_other_card(&house, &mut program);
    // By a ROM and the iPXE that it loads, which says the UUID in the other byte order.
    boots(&house, TWO, Voice::Bios);
    let told = boots(&house, TWO, Voice::Ipxe);
    let script = text(curl(&house.lan, told.text(67).strip_prefix(HTTP).expect("an address of ours"), &[]));
    assert!(script.contains("\nsanboot --no-describe --drive 0x80 || exit\n"), "{script}");
    let ended = program.stop();
    let said: Vec<_> = ended.out.into_iter().filter(|line| line.starts_with(&TWO.to_string())).collect();
    let why = format!("its UUID is that of the machine {ONE}; --reinstall with the MAC of this card installs it");
    let to_disk = |firmware| format!("{TWO} asked to boot ({firmware} x86_64): sent to its own disk, because {why}");
    assert_eq!(said, ["UEFI", "BIOS"].map(to_disk));

    // The journal says so to the next run.
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    boots_its_disk_by_the_other_card(&house, &mut program);
    program.stop();

    let mut program = house.start(&[&format!("--reinstall={TWO}")]);
    program.says("ready to provision!");
    boots(&house, TWO, Voice::Uefi);
    program.says(&format!("{TWO} asked to boot (UEFI x86_64)"));
    is_installed(&house, &mut program, TWO);
    for card in [ONE, TWO] {
        boots(&house, card, Voice::Uefi);
        program.says(&format!("{card} asked to boot (UEFI x86_64): sent to its own disk"));
    }
    program.stop();
}

/// Firmware asks, and has the address that it was given.
fn boots(house: &House, mac: Mac, voice: Voice) -> Told {
    let told = Card::plug(&house.lan, mac).in_machine(UUID).asks_to_boot(voice);
    settle(&house.lan, told.address);
    told
}

fn is_installed(house: &House, program: &mut Program, mac: Mac) {
    let script = grub_cfg(&house.lan);
    assert!(script.contains("\nlinux "), "{script}");
    let installed = answers_path(&script).replace("/answers/", "/callback/").replace("preseed.cfg", "installed");
    assert_eq!(status(&house.lan, &installed, &["--data", ""]), 204);
    program.says(&format!("{mac} installed"));
}

fn boots_its_disk_by_the_other_card(house: &House, program: &mut Program) {
    let told = boots(house, TWO, Voice::Uefi);
    program.says(&format!("{TWO} asked to boot (UEFI x86_64): sent to its own disk, because its UUID is that of "));
    assert!(tftp(&house.lan, &told.file) == SHIM);
    let script = grub_cfg(&house.lan);
    assert!(script.contains("\nif search ") && !script.contains("\nlinux "), "{script}");
}
