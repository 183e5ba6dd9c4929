//! What is printed and kept, and what never is.

use std::{fs, path::Path};

use provisioner::model::Mac;

use super::{
    client::{curl, settle, text, tftp},
    firmware::{Card, Voice},
    house::{House, PASSWORD},
};

#[test]
fn plan_prints_the_changes_and_makes_none() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    // Which release is stable is then the archive's own word.
    let flags: Vec<_> = house.flags().into_iter().filter(|flag| !flag.starts_with("--version")).collect();
    let ended = house.start_with(["plan"].into_iter().chain(flags.iter().map(String::as_str))).ends();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(house.archive().paths().contains(&"/debian/dists/stable/InRelease".to_owned()));
    for line in [
        "interface      lan0",
        "network        192.168.42.0/24 (we are 192.168.42.1)",
        "system         Debian 13 (x86_64), standard",
    ] {
        assert!(ended.out.contains(&line.to_owned()), "{line} is missing in {:#?}", ended.out);
    }
    for change in ["bring lan0 up", "give lan0 the address 192.168.42.1/24"] {
        let line = format!("changes        {change}; reverted at the end");
        assert!(ended.out.contains(&line), "{line} is missing in {:#?}", ended.out);
    }
    let json = ["plan", "--log-format=json"].into_iter().chain(flags.iter().map(String::as_str));
    let rows = house.start_with(json).ends().out.into_iter().map(|line| {
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let part = |key: &str| object[key].as_str().expect("text").to_owned();
        format!("{:<14} {}", part("planned"), part("value"))
    });
    assert_eq!(rows.collect::<Vec<_>>(), ended.out);
    assert_eq!(house.host(), before);
    assert!(!house.prefix().exists());
}

#[test]
fn every_line_is_an_object_when_json_is_asked_for() {
    let Some(house) = House::make(&[]) else { return };
    let mut program = house.start(&["--log-format=json"]);
    program.says(r#"{"message":"ready to provision!"}"#);
    Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 1])).asks_to_boot(Voice::Uefi);
    program.says(r#""event":"asked-to-boot""#);
    for line in program.stop().out {
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(object.is_object(), "{line}");
    }
}

#[test]
fn the_password_is_nowhere_and_its_hash_only_in_the_answers() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mut program = house.start(&["-vv"]);
    program.says("ready to provision!");
    settle(&house.lan, Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 1])).asks_to_boot(Voice::Uefi).address);
    let script = text(tftp(&house.lan, "debian-installer/amd64/grub/grub.cfg"));
    let url = script.split_ascii_whitespace().find_map(|word| word.strip_prefix("url=")).expect("an address");
    let path = url.strip_prefix(super::client::HTTP).expect("an address of ours");
    let preseed = text(curl(&house.lan, path, &[]));
    let hash = preseed.split_ascii_whitespace().find(|word| word.starts_with("$6$")).expect("a hash");
    assert_eq!(preseed.matches(hash).count(), 1);
    program.says("installer asked for its answers");
    let setup = text(curl(&house.lan, &path.replace("preseed.cfg", "setup.sh"), &[]));
    let ended = program.stop();
    assert!(ended.err.contains("DEBUG"), "{}", ended.err);

    let mut kept = Vec::new();
    read_all(&house.prefix(), &mut kept);
    assert!(kept.len() > 5, "journal, secret, boot files");
    let token = path.split('/').nth(3).expect("a token");
    kept.extend([ended.out.join("\n"), ended.err].map(String::into_bytes));
    shows_none_of(&kept, &[PASSWORD, hash, token]);
    shows_none_of(&[script, setup].map(String::into_bytes), &[PASSWORD, hash]);
    assert!(!preseed.contains(PASSWORD));
}

pub fn shows_none_of(texts: &[Vec<u8>], secrets: &[&str]) {
    for bytes in texts {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", bytes.escape_ascii());
        }
    }
}

/// The contents of every file below `folder`.
pub fn read_all(folder: &Path, kept: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a kind").is_dir() {
            true => read_all(&entry.path(), kept),
            false => kept.push(fs::read(entry.path()).expect("a file")),
        }
    }
}
