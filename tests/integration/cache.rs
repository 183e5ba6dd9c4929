//! `provisioner cache`, on a cache that the test has made.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use assert_cmd::cargo::CommandCargoExt;
use jiff::Timestamp;
use provisioner::{
    fetch::{hold, kept_sets},
    model::Sha256Digest,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::mounts::{in_own_mounts, read_only};

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// `provisioner cache … --prefix <prefix>`
pub fn cache(prefix: &Path, args: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("provisioner").expect("the program");
    command.env_clear().env("HOME", "/nonexistent").arg("cache").args(args).arg("--prefix").arg(prefix);
    let output = command.output().expect("a run of the program");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn json_of(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn digest(content: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(content).into())
}

const UID: &str = "debian13-x86_64";
const HOUR: u64 = 3600;

/// A cache with three files of an archive, used 1, 10 and 100 hours ago, the last without a digest, and a boot set.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path();
    for (path, hours, digested) in [("pool/new.deb", 1, true), ("pool/old.deb", 10, true), ("InRelease", 100, false)] {
        keep(prefix, path, &[b'x'; 2000], hours, digested);
    }
    let boot = prefix.join("boot").join(UID);
    fs::create_dir_all(boot.join("repos/fedora")).expect("made");
    let kernel = digest(b"kernel");
    let manifest = json!({
        "verified_at": "2026-11-23T07:09:18Z",
        "stamps": {"trixie": {"version": "13.7", "date": "2026-09-12T07:55:41Z", "signer": "B8B80B5B"}},
        "files": {"linux": {
            "sha256": kernel, "size": 6, "origin": "an image", "source": "an image", "source_sha256": kernel,
            "index_sha256": kernel, "level": "signed",
        }},
    });
    fs::write(boot.join("manifest.json"), manifest.to_string()).expect("written");
    fs::write(boot.join("linux"), "kernel").expect("written");
    fs::write(boot.join("repos/fedora").join(digest(b"repomd").to_string()), "repomd").expect("written");
    fs::write(prefix.join("secret"), [7; 32]).expect("written");
    folder
}

fn keep(prefix: &Path, path: &str, content: &[u8], hours: u64, digested: bool) {
    let used = SystemTime::now() - Duration::from_secs(hours * HOUR);
    let (body, sidecar) = (stored(prefix, path), prefix.join("mirror/.meta/debian").join(format!("{path}.json")));
    for file in [&body, &sidecar] {
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    }
    fs::write(&body, content).expect("written");
    let modified = body.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    let fetched_at = Timestamp::try_from(modified).expect("a time");
    let mut json = json!({
        "etag": null, "last_modified": null, "content_type": null, "length": content.len(), "fetched_at": fetched_at,
    });
    if digested {
        (json["sha256"], json["verified"]) = (json!(digest(content)), true.into());
    }
    fs::write(&sidecar, json.to_string()).expect("written");
    File::open(&sidecar).and_then(|sidecar| sidecar.set_modified(used)).expect("set");
}

fn stored(prefix: &Path, path: &str) -> PathBuf {
    prefix.join("mirror/debian").join(path)
}

#[test]
fn size_and_list_tell_what_there_is() {
    let prefix = made();
    let ran = cache(prefix.path(), &["size"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let words: Vec<Vec<_>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["boot", UID, "1", "kB", "3", "files"]);
    assert_eq!(words[1], ["archive", "debian", "6", "kB", "3", "files"]);
    assert_eq!(words[2][0], "total");

    let ran = cache(prefix.path(), &["list"]);
    assert!(ran.out.contains("verified 2026-11-23 07:09Z, signed by B8B80B5B (trixie 13.7)"), "{}", ran.out);
    let rows = json_of(&cache(prefix.path(), &["list", "--long", "--log-format=json"]));
    let kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
    assert_eq!(kinds, ["boot", "archive", "file", "file", "file", "file", "file", "file"]);
    let archive: Vec<_> = rows[5..].iter().map(|row| (row["verified"].clone(), row["sha256"].is_string())).collect();
    assert_eq!(archive, [(false.into(), false), (true.into(), true), (true.into(), true)], "the least recent first");
}

#[test]
fn verify_finds_damage_and_removes_it_on_request() {
    let prefix = made();
    let ran = cache(prefix.path(), &["verify"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(
        ran.out.contains("what was stored: 4 files (5 kB); damaged: 0; without a digest to be compared with: 2"),
        "{}",
        ran.out
    );

    let spoilt = [stored(prefix.path(), "pool/old.deb"), prefix.path().join("boot").join(UID).join("linux")];
    for path in &spoilt {
        fs::write(path, "something else").expect("written");
    }
    let ran = cache(prefix.path(), &["verify"]);
    assert_eq!(ran.code, 1);
    for path in &spoilt {
        let line = ran.out.lines().find(|line| line.contains(&path.display().to_string())).expect("it is named");
        let expected = if path.ends_with("linux") { digest(b"kernel") } else { digest(&[b'x'; 2000]) };
        assert!(
            line.contains(&expected.to_string()) && line.contains(&digest(b"something else").to_string()),
            "{line}"
        );
    }
    assert!(ran.err.contains("damaged files: 2") && ran.err.contains("cache verify --remove"), "{}", ran.err);
    assert_eq!(cache(prefix.path(), &["verify", "--remove"]).code, 1);
    assert!(spoilt.iter().all(|path| !path.exists()));
    assert_eq!(cache(prefix.path(), &["verify"]).code, 0);
}

#[test]
fn prune_removes_what_it_is_asked_to() {
    let prefix = made();
    let there = |path: &str| stored(prefix.path(), path).exists();
    let leftover = prefix.path().join("mirror/.part-1-1");
    fs::write(&leftover, "half").expect("written");
    let ran = cache(prefix.path(), &["prune"]);
    assert!(
        ran.out.contains("leftovers of killed runs: 1") && ran.out.contains("--unused-for") && !leftover.exists(),
        "{}",
        ran.out
    );

    let ran = cache(prefix.path(), &["prune", "--unused-for=4d", "--dry-run"]);
    assert!(ran.out.contains("would remove") && there("InRelease"), "{}", ran.out);
    assert_eq!(cache(prefix.path(), &["prune", "--unused-for=4d"]).code, 0);
    assert!(!there("InRelease") && there("pool/old.deb"));
    let rows = json_of(&cache(prefix.path(), &["prune", "--size=3k", "--log-format=json"]));
    assert_eq!((&rows[1]["freed"], &rows[1]["left"]), (&json!(2000), &json!(2000)), "{rows:?}");
    assert!(!there("pool/old.deb") && there("pool/new.deb"));

    let ran = cache(prefix.path(), &["prune", "--release=debian12-x86_64"]);
    assert!(ran.code == 2 && ran.err.contains(UID), "{}", ran.err);
    assert_eq!(cache(prefix.path(), &["prune", "--release", UID]).code, 0);
    assert!(kept_sets(&prefix.path().join("boot")).expect("a list").is_empty());
    assert_eq!(cache(prefix.path(), &["prune", "--everything"]).code, 0);
    assert!(!there("pool/new.deb") && prefix.path().join("secret").exists());
    assert!(!prefix.path().join("mirror/.meta/debian").exists(), "no empty folders");
}

#[tokio::test]
async fn a_boot_set_that_is_brought_or_served_stays() {
    let prefix = made();
    let used = hold(&prefix.path().join("boot"), UID, &|line| panic!("nobody else is there: {line}")).await;
    assert!(used.as_ref().is_ok_and(Option::is_some), "{used:?}");
    let ran = cache(prefix.path(), &["prune", "--everything"]);
    assert!(ran.out.contains(&format!("boot/{UID}: it is in use")), "{}", ran.out);
    drop(used);
    let filled = File::create(prefix.path().join("boot").join(format!("{UID}.lock"))).expect("a file");
    filled.lock().expect("locked");
    assert!(cache(prefix.path(), &["verify"]).out.contains("another provisioner is filling it"));
    assert!(cache(prefix.path(), &["prune", "--release", UID]).out.contains("it is in use"));
    drop(filled);
    cache(prefix.path(), &["prune", "--release", UID]);
    assert!(!prefix.path().join("boot").join(UID).exists());
}

#[test]
fn what_is_no_cache_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    File::create(&file).expect("a file");
    for (prefix, told) in [
        (folder.path().join("none"), "no such directory"),
        (file.clone(), "it is no directory"),
        (file.join("below"), "Not a directory"),
        (folder.path().into(), "is no cache"),
    ] {
        for verb in ["size", "list", "verify", "prune"] {
            let ran = cache(&prefix, &[verb]);
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{verb}");
            assert!(
                ran.err.contains(told) && ran.err.contains("hint: name the cache directory"),
                "{verb}: {}",
                ran.err
            );
        }
    }
    for wrong in [&["prune", "--size=50"][..], &["prune", "--unused-for=-3d"], &["prune", "--everything", "--size=1G"]]
    {
        assert_eq!(cache(folder.path(), wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_to_can_be_looked_at() {
    let prefix = made();
    in_own_mounts(|| {
        read_only(prefix.path());
        for verb in ["size", "list", "verify"] {
            let ran = cache(prefix.path(), &[verb]);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{verb}");
        }
        for verb in [&["prune"][..], &["prune", "--everything"]] {
            let ran = cache(prefix.path(), verb);
            assert!(
                ran.code == 1 && ran.err.contains("Read-only file system") && ran.err.contains("hint: "),
                "{}",
                ran.err
            );
        }
    });
}
