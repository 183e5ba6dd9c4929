//! A run that goes on for longer than an archive's state is good for.

use std::fs;

use provisioner::model::Mac;

use super::{
    archive::Fault,
    client::{answers_path, curl, grub_cfg, settle, status, text},
    firmware::{Card, Voice},
    house::{House, INITRD, KERNEL},
    program::Program,
};

const MACHINE: Mac = Mac([0x52, 0x54, 0, 0xc0, 0xff, 0xee]);
const FOLDER: &str = "boot/debian13-x86_64";
/// Of another length, too.
const SECOND: &[u8] = &[b'K'; 310_000];
const THIRD: &[u8] = &[b'L'; 290_000];

#[test]
fn the_archives_state_is_taken_anew_between_installations_and_never_during_one() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mut program = house.start(&["--refresh=1s", "-vv"]);
    program.says("ready to provision!");
    settle(&house.lan, "192.168.42.200".parse().expect("an address"));
    is_served(&house, "13.7", KERNEL);

    house.release("13.8", SECOND);
    is_taken(&mut program, &house, "13.8");
    is_served(&house, "13.8", SECOND);

    let card = Card::plug(&house.lan, MACHINE);
    settle(&house.lan, card.asks_to_boot(Voice::Uefi).address);
    program.says(&format!("{MACHINE} asked to boot"));
    program.warns("a machine is being installed");
    house.release("13.9", THIRD);
    // Another run on the same cache, which takes what is right today.
    let mut fetch = house.start_with(fetch_flags(&house).iter().map(String::as_str));
    fetch.says("Debian 13.9, signed by ");
    assert_eq!(fetch.ends().code, Some(0));
    assert!(fs::read(house.prefix().join(FOLDER).join("linux")).expect("the cache") == THIRD);
    is_served(&house, "13.8", SECOND);

    let answers = answers_path(&grub_cfg(&house.lan));
    let callback = answers.replace("/answers/", "/callback/").replace("preseed.cfg", "installed");
    assert_eq!(status(&house.lan, &callback, &["--data", ""]), 204);
    is_taken(&mut program, &house, "13.9");
    is_served(&house, "13.9", THIRD);
    program.stop();
    let own = fs::read_dir(house.prefix().join(FOLDER).join(".in-use")).expect("a folder");
    assert_eq!(own.count(), 0, "a run leaves no files of its own");
}

#[test]
fn a_state_that_cannot_be_taken_anew_is_said_and_the_old_one_stays() {
    let Some(mut house) = House::make(&["curl"]) else { return };
    house.release_updates();
    let mut program = house.start(&["--refresh=1s"]);
    program.says("ready to provision!");
    settle(&house.lan, "192.168.42.200".parse().expect("an address"));
    let in_release = house.archived("/debian/dists/trixie/InRelease");
    let forged = fs::read_to_string(&in_release).expect("a file of the archive").replace("13.7", "13.8");
    fs::write(&in_release, forged).expect("written");
    let line = program.says("stays, as today's cannot be taken: ");
    assert!(line.contains("its text was altered"), "{line}");
    is_served(&house, "13.7", KERNEL);

    house.release("13.8", SECOND);
    is_taken(&mut program, &house, "13.8");
    is_served(&house, "13.8", SECOND);

    house.archive().always("/debian/dists/trixie-updates/InRelease", Fault::Status(403));
    program.says("took the archive's state of today, but for suite trixie-updates of ");
    house.archive().heal();
    is_taken(&mut program, &house, "13.8");

    house.lose_archive();
    let line = program.says("stays, as today's cannot be taken: cached, verified on ");
    assert!(line.ends_with("mirror cannot be reached"), "{line}");
    is_served(&house, "13.8", SECOND);
    program.stop();
}

/// Waits until the program has taken the state of this release.
fn is_taken(program: &mut Program, house: &House, version: &str) {
    program.says(&format!("took the archive's state of today: Debian {version}, signed by {}", house.signer()));
}

/// What machines get belongs together.
fn is_served(house: &House, version: &str, kernel: &[u8]) {
    let get = |path: &str| curl(&house.lan, path, &[]);
    let in_release = text(get("/mirror/debian/dists/trixie/InRelease"));
    assert!(in_release.contains(&format!("\nVersion: {version}\n")), "{in_release}");
    assert!(get(&format!("/{FOLDER}/linux")) == kernel, "the kernel of {version}");
    assert!(get(&format!("/{FOLDER}/initrd.gz")) == INITRD);
}

fn fetch_flags(house: &House) -> Vec<String> {
    let flags = house.flags().into_iter().filter(|flag| !flag.starts_with("--interface"));
    ["fetch", "--boot-files-only"].map(str::to_owned).into_iter().chain(flags).collect()
}
