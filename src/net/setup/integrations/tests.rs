//! Scripts stand in for `nmcli` and `firewall-cmd`: the real ones need their services and a system bus.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::*;

/// A directory of programs, and the log of how they were called.
struct Fakes(TempDir);

impl Fakes {
    fn new(programs: &[(&str, &str)]) -> Self {
        let fakes = Self(tempfile::tempdir().expect("a directory"));
        for (name, body) in programs {
            fakes.write(name, body);
        }
        fakes
    }

    fn write(&self, name: &str, body: &str) {
        let (path, log) = (self.path().join(name), self.path().join("log"));
        let script =
            format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\nhere='{}'\n{body}\n", log.display(), self.path().display());
        // QUIRK: another process writes the program. A descriptor open for writing here could be inherited by the child
        // of another test for a moment, and execve(2) would say ETXTBSY.
        let draft = path.with_extension("draft");
        fs::write(&draft, script).expect("written");
        let installed = Command::new("install").arg("-m755").args([&draft, &path]).status().expect("install runs");
        assert!(installed.success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn tools(&self) -> Tools {
        Tools::on_path(self.path())
    }

    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

const CONNECTED: (&str, &str) = ("nmcli", "echo '100 (connected)'");
const FIREWALLD: (&str, &str) =
    ("firewall-cmd", "case $1 in --state) echo running ;; --get-zone*) echo public ;; esac");

#[test]
fn what_is_not_installed_or_not_running_is_silently_not_there() {
    let stopped = [
        ("nmcli", "echo 'Error: NetworkManager is not running.' >&2; exit 8"),
        ("firewall-cmd", "echo 'not running' >&2; exit 252"),
    ];
    for programs in [&[][..], &stopped] {
        let fakes = Fakes::new(programs);
        let found = Integrations::probe(&Place::Here, &fakes.tools(), "eth0").expect("no error");
        assert_eq!(found, Integrations::default());
    }
}

#[test]
fn running_services_are_found() {
    for (nmcli, firewalld, expected) in [
        (CONNECTED, FIREWALLD, (true, Some(Some("public".to_owned())))),
        (("nmcli", "echo '20 (unavailable)'"), ("firewall-cmd", "exit 252"), (true, None)),
        (("nmcli", "echo '10 (unmanaged)'"), FIREWALLD, (false, Some(Some("public".to_owned())))),
        (
            ("nmcli", "echo \"Error: Device 'eth0' not found.\" >&2; exit 10"),
            ("firewall-cmd", "case $1 in --state) echo running ;; *) echo 'no zone' >&2; exit 2 ;; esac"),
            (false, Some(None)),
        ),
    ] {
        let fakes = Fakes::new(&[nmcli, firewalld]);
        let found = Integrations::probe(&Place::Here, &fakes.tools(), "eth0").expect("answers");
        assert_eq!((found.network_manager, found.firewalld_zone), expected, "{nmcli:?} {firewalld:?}");
    }
}

#[test]
fn another_namespace_has_no_services() {
    let Ok(place) = Place::private() else {
        eprintln!("skipped: making a network namespace is not permitted");
        return;
    };
    let fakes = Fakes::new(&[CONNECTED, FIREWALLD]);
    assert_eq!(Integrations::probe(&place, &fakes.tools(), "eth0").expect("no error"), Integrations::default());
    assert_eq!(fakes.calls(), Vec::<String>::new());
}

#[test]
fn unmanaging_waits_until_the_device_is_let_go() {
    // The third look finds it unmanaged.
    let nmcli = "[ $2 = set ] && exit 0\nif [ -e $here/second ]; then echo '10 (unmanaged)'\n\
                 elif [ -e $here/first ]; then : > $here/second; echo '110 (deactivating)'\n\
                 else : > $here/first; echo '100 (connected)'; fi";
    let fakes = Fakes::new(&[("nmcli", nmcli)]);
    unmanage(&fakes.tools(), "eth0").expect("let go");
    manage(&fakes.tools(), "eth0").expect("managed again");
    let calls = fakes.calls();
    let look = "nmcli -g GENERAL.STATE device show eth0";
    assert_eq!(calls, ["nmcli device set eth0 managed no", look, look, look, "nmcli device set eth0 managed yes"]);
}

#[test]
fn the_firewall_zone_is_changed_at_run_time_only_and_put_back() {
    let fakes = Fakes::new(&[FIREWALLD]);
    trust(&fakes.tools(), "eth0").expect("trusted");
    distrust(&fakes.tools(), "eth0", Some("public")).expect("put back");
    distrust(&fakes.tools(), "eth0", None).expect("put back");
    assert_eq!(
        fakes.calls(),
        [
            "firewall-cmd --zone=trusted --change-interface=eth0",
            "firewall-cmd --zone=public --change-interface=eth0",
            "firewall-cmd --zone=trusted --remove-interface=eth0",
        ]
    );
}

#[test]
fn putting_back_tolerates_what_is_gone_and_reports_what_failed() {
    for (nmcli, fine) in [("exit 8", true), ("exit 10", true), ("echo 'not authorized' >&2; exit 1", false)] {
        let fakes = Fakes::new(&[("nmcli", nmcli)]);
        assert_eq!(manage(&fakes.tools(), "eth0").is_ok(), fine, "{nmcli}");
    }
    for (firewalld, fine) in [("exit 252", true), ("exit 17", true), ("exit 18", true), ("exit 253", false)] {
        let fakes = Fakes::new(&[("firewall-cmd", firewalld)]);
        assert_eq!(distrust(&fakes.tools(), "eth0", None).is_ok(), fine, "{firewalld}");
    }
    let fakes = Fakes::new(&[("nmcli", "echo 'not authorized' >&2; exit 1")]);
    let error = unmanage(&fakes.tools(), "eth0").expect_err("refused").to_string();
    assert_eq!(error, "nmcli device set eth0 managed no ended with 1: not authorized");
}

#[test]
fn a_service_that_hangs_is_not_waited_for() {
    let fakes = Fakes::new(&[("firewall-cmd", "exec /bin/sleep 600")]);
    let tools = fakes.tools().limited_to(Duration::from_millis(300));
    let error = Integrations::probe(&Place::Here, &tools, "eth0").expect_err("too late");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().starts_with("firewall-cmd --state did not end"), "{error}");
}
