//! A mirror that lies or is gone: one message, no change to this host, nothing unverified kept.

use std::fs;

use super::{
    archive::Fault,
    house::{House, SHIM_DEB},
};

const IN_RELEASE: &str = "/debian/dists/trixie/InRelease";

#[test]
fn a_mirror_that_lies_is_named_before_anything_is_changed() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let package = format!("{}{}", house.archive().url(), SHIM_DEB);
    let metadata = format!("{}{}", house.archive().url(), IN_RELEASE);
    let refuses = |parts: &[&str]| {
        house.refuses(house.start(&[]), &before, parts);
        assert!(!house.prefix().join("boot/debian13-x86_64/shimx64.efi").exists(), "{parts:?}");
    };

    let length = fs::read(house.archived(SHIM_DEB)).expect("a file of the archive").len();
    house.archive().always(SHIM_DEB, Fault::Shorter(100));
    refuses(&[&package, "it has 100 bytes instead of", &length.to_string()]);
    house.archive().always(SHIM_DEB, Fault::Cut(100));
    refuses(&[&package, "cannot be fetched"]);
    house.archive().always(SHIM_DEB, Fault::Alter(length / 2));
    refuses(&[&package, "its SHA-256 is", "instead of"]);
    house.archive().heal();

    let in_release = house.archived(IN_RELEASE);
    let sound = fs::read_to_string(&in_release).expect("a file of the archive");
    fs::write(&in_release, sound.replace("Version: 13.7", "Version: 13.8")).expect("written");
    refuses(&[&metadata, "its text was altered", &house.signer()]);
    fs::write(&in_release, sound).expect("written");

    let without_keyring: Vec<_> = house.flags().into_iter().filter(|flag| !flag.starts_with("--keyring")).collect();
    let program = house.start_with(without_keyring.iter().map(String::as_str));
    let unknown = "signed only by keys that are not trusted here";
    house.refuses(program, &before, &[&metadata, unknown, &house.signer(), "--keyring"]);

    let mut program = house.start(&[]);
    program.says("ready to provision!");
    program.stop();
    assert_eq!(house.host(), before);
}

#[test]
fn a_mirror_that_is_down_is_named_unless_the_cache_is_complete() {
    let Some(mut house) = House::make(&[]) else { return };
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    program.stop();

    house.lose_archive();
    for more in [&[][..], &["--offline"]] {
        let mut program = house.start(more);
        let reason = if more.is_empty() { "mirror cannot be reached" } else { "--offline" };
        let line = program.says("boot files verified");
        assert!(line.contains("cached, verified on ") && line.ends_with(reason), "{line}");
        if !more.is_empty() {
            // Nobody has fetched the packages.
            program.says("offline: run `provisioner fetch` with these options while upstream can be reached");
        }
        program.says("ready to provision!");
        program.stop();
    }

    fs::remove_dir_all(house.prefix()).expect("a cache");
    for (more, parts) in [(&[][..], ["cannot be fetched", house.mirror()]), (&["--offline"], ["lacks", "--offline"])] {
        house.refuses(house.start(more), &before, &parts);
    }
}
