//! dnf itself, asked what it would install.

use std::{collections::BTreeSet, process::Command, sync::OnceLock};

use super::{Asked, Universe, taken};

/// Whether dnf can be asked: where not, the reason is printed; in CI that is a failure.
fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let run = Command::new("unshare").args(["--map-root-user", "dnf", "--version"]).output();
        let here = run.is_ok_and(|output| output.status.success());
        assert!(here || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "dnf or user namespaces are missing");
        if !here {
            eprintln!("skipped: dnf is not installed, or there are no user namespaces");
        }
        here
    })
}

/// Checks that whatever dnf would install was foretold. How many were, and how many it installs.
pub fn agrees(universe: &Universe, asked: &Asked, what: &str) -> Option<(usize, usize)> {
    if !is_here() {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    universe.write(folder.path());
    let mut dnf = Command::new("unshare");
    dnf.args([
        "--map-root-user",
        "dnf",
        "--assumeno",
        "--releasever=1",
        "--forcearch=x86_64",
        "--disablerepo=*",
        "--nogpgcheck",
    ]);
    dnf.arg(format!("--installroot={}", folder.path().join("root").display()));
    for (at, path) in universe.repositories(folder.path()).enumerate() {
        dnf.arg(format!("--repofrompath=r{at},file://{}", path.display())).arg(format!("--enablerepo=r{at}"));
    }
    for option in ["reposdir=/dev/null", "plugins=0", "proxy="] {
        dnf.arg(format!("--setopt={option}"));
    }
    dnf.args(asked.excluded.iter().map(|name| format!("--exclude={name}")));
    let groups = asked.environments.iter().chain(&asked.groups).map(|group| format!("@{group}"));
    let output = dnf.arg("install").args(groups).args(asked.packages.iter().chain(&asked.added)).output();
    let output = output.expect("dnf starts");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    // ` name   x86_64   1-1   r0   7`
    let row = |line: &str| {
        let words: Vec<_> = line.strip_prefix(' ')?.split_ascii_whitespace().collect();
        let [name, arch @ ("x86_64" | "noarch" | "i686"), version, ..] = words.as_slice() else { return None };
        Some(format!("{name}-{version}.{arch}"))
    };
    let theirs: BTreeSet<_> = said.lines().filter_map(row).collect();
    assert!(!theirs.is_empty(), "{what}: {said}");
    let ours: BTreeSet<_> = taken(universe, asked).0.into_iter().collect();
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} of {theirs:?} are not in {ours:?}\n{said}");
    Some((ours.len(), theirs.len()))
}
