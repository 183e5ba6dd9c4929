//! Metadata that are older than they say they are good for, as APT on the machine sees them.

use std::fs;

use jiff::Timestamp;

use super::{
    Case, has,
    scripts::{run_in, scripts},
    skip,
    target::Target,
};
use crate::{
    fetch::archive::{FaultyServer, MiniArchive, TestKey},
    mirror::apt::System,
};

/// Runs between debootstrap and the first use of APT.
const BEFORE_APT: &str = "/usr/lib/base-installer.d/90provisioner";
const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_takes_them_during_the_installation_and_never_after() {
    if !has("busybox") || !has("apt-get") || !has("unshare") || !has("gpgv") {
        return skip("busybox, apt-get, unshare or gpgv is not installed (packages busybox, apt, util-linux, gpgv)");
    }
    let (folder, key) = (tempfile::tempdir().expect("a folder"), TestKey::legacy(1));
    // APT judges by this machine's clock.
    let now = Timestamp::now().as_second();
    let archive = MiniArchive::new("trixie", "13.7");
    let archive = MiniArchive { date: now - 9 * DAY, valid_until: Some(now - 2 * DAY), ..archive };
    archive.write(&folder.path().join("debian"), &key).expect("an archive");
    let (server, keys) = (FaultyServer::start(folder.path()), folder.path().join("keys.gpg"));
    fs::write(&keys, key.public()).expect("written");
    let target = Target::new();
    let source = format!("deb [signed-by={}] {}/debian trixie main\n", keys.display(), server.url());
    let apt = System::new(&target.path(""), &source);
    let said = apt.says(&["update"]).await;
    assert!(said.contains("expired"), "{said}");

    let mut case = Case::new("13");
    assert!(!scripts(&case).contains_key(BEFORE_APT), "only where it is needed");
    case.outdated = true;
    let root = target.path("").display().to_string();
    let hook = scripts(&case)[BEFORE_APT].replace("/target", root.trim_end_matches('/'));
    assert!(run_in(&["busybox", "sh"], &hook, &[], &[]).status.success());
    apt.does(&["update"]).await;

    // Who signed them is asked all the same.
    fs::write(&keys, TestKey::legacy(2).public()).expect("written");
    let said = apt.says(&["update"]).await;
    assert!(said.contains("NO_PUBKEY"), "{said}");
    fs::write(&keys, key.public()).expect("written");

    assert_eq!(target.finish(&case), "");
    assert_eq!(fs::read_dir(target.path("etc/apt/apt.conf.d")).expect("a folder").count(), 0, "nothing of ours stays");
    assert!(apt.says(&["update"]).await.contains("expired"));
}
