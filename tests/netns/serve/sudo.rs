//! Under sudo: the cache is in the home of who called it, and theirs.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{house::House, program::Program};

/// Nobody's on any machine.
const SOMEBODY: u32 = 612_345;

/// A folder of theirs.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    chown(home.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("we are root");
    home
}

fn start(house: &House, prefix: &Path) -> Program {
    let prefix = format!("--prefix={}", prefix.display());
    let flags = house.flags();
    let flags = flags.iter().map(String::as_str).filter(|flag| !flag.starts_with("--prefix="));
    let script = format!(r#"exec env SUDO_UID={SOMEBODY} SUDO_GID={SOMEBODY} "$@""#);
    house.start_by(&script, flags.chain([prefix.as_str()]))
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { [below(&path), vec![path]].concat() } else { vec![path] }).collect()
}

#[test]
fn the_cache_is_theirs_and_the_record_of_changes_is_roots() {
    let Some(house) = House::make(&[]) else { return };
    let (home, before) = (home(), house.host());
    let prefix = home.path().join(".cache/provisioner");
    let mut program = start(&house, &prefix);
    program.says("ready to provision!");
    let during = house.host();
    assert!(during.contains("provisioner-lan0.changes"), "{during}");
    program.stop();
    assert_eq!(house.host(), before);

    let made = below(home.path());
    assert!(
        ["journal.jsonl", "secret", "boot/debian13-x86_64/linux"].iter().all(|name| made.contains(&prefix.join(name)))
    );
    for path in made {
        let found = path.symlink_metadata().expect("it was listed");
        assert_eq!((found.uid(), found.gid()), (SOMEBODY, SOMEBODY), "{}", path.display());
    }
}

#[test]
fn a_link_that_was_planted_in_the_cache_leads_to_nothing_of_roots() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let roots = tempfile::tempdir().expect("a folder");
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
    let shadow = roots.path().join("shadow");
    fs::write(&shadow, "root's\n").expect("written");
    fs::set_permissions(&shadow, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    for (planted, target) in [("journal.jsonl", shadow.as_path()), ("secret", &shadow), ("boot", roots.path())] {
        let home = home();
        let link = home.path().join(planted);
        symlink(target, &link).expect("planted");
        let ended = start(&house, home.path()).ends();
        assert_eq!(ended.code, Some(1), "{planted}: {ended:#?}");
        assert!(ended.err.contains("Permission denied"), "{planted}: {ended:#?}");
        assert!(ended.err.contains(planted), "{planted}: {ended:#?}");
        assert_eq!(house.host(), before);
        assert_eq!(fs::read_to_string(&shadow).expect("root's"), "root's\n");
        assert_eq!(below(roots.path()), std::slice::from_ref(&shadow));
    }
}
