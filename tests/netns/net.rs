//! What is changed on an interface, and that it is put back whatever happens.

mod recover;

use std::{env, fs, path::PathBuf, process::Command};

use ipnet::Ipv4Net;
use provisioner::{
    model::Hinted,
    net::{
        Place,
        probe::{self, Interface, Kind},
        setup::{self, Applied, Change, Integrations, Records, Tools},
    },
};

/// A private network with one ethernet link, `prov0`, to `peer0`. It has no name and ends with this value.
struct Net {
    place: Place,
    directory: tempfile::TempDir,
}

impl Net {
    /// `None`, with a reason on stderr, where namespaces cannot be made.
    fn new() -> Option<Self> {
        let place = match Place::private() {
            Ok(place) => place,
            Err(error) => {
                assert_ne!(env::var("CI").as_deref(), Ok("true"), "making a network namespace: {error}");
                eprintln!("skipped: making a network namespace: {error}");
                return None;
            }
        };
        let net = Self { place, directory: tempfile::tempdir().expect("a directory") };
        net.add_link();
        Some(net)
    }

    fn add_link(&self) {
        self.ip("link add prov0 type veth peer name peer0");
        for name in ["prov0", "peer0"] {
            // Link-local addresses come and go by themselves.
            self.ip(&format!("link set {name} addrgenmode none"));
            // A link keeps its queueing discipline from the first time it was up.
            self.ip(&format!("link set {name} up"));
            self.ip(&format!("link set {name} down"));
        }
    }

    fn ip(&self, arguments: &str) -> String {
        let output = self.place.run(|| Command::new("ip").args(arguments.split(' ')).output()).expect("ip runs");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// All that `ip` knows of links, addresses and routes.
    fn state(&self) -> String {
        ["-j link", "-j addr", "-j route show table all"].map(|arguments| self.ip(arguments)).concat()
    }

    fn interfaces(&self) -> Vec<Interface> {
        probe::interfaces(&self.place).expect("netlink answers")
    }

    fn interface(&self, name: &str) -> Interface {
        self.interfaces().into_iter().find(|interface| interface.name == name).expect("it was made")
    }

    fn records(&self) -> Records {
        Records::in_folder(self.directory.path())
    }

    fn record(&self) -> PathBuf {
        self.records().of("prov0")
    }

    fn needed(&self) -> Result<Vec<Change>, Hinted> {
        let interfaces = self.interfaces();
        let interface = probe::choose(&interfaces, Some("prov0")).expect("a veth is ethernet");
        setup::needed(interface, &interfaces, router(), &Integrations::default())
    }

    fn apply(&self, changes: &[Change]) -> anyhow::Result<Applied> {
        setup::apply(&self.place, &Tools::default(), &self.interface("prov0"), changes, &self.record())
    }
}

fn router() -> Ipv4Net {
    "192.168.42.1/24".parse().expect("an address")
}

fn all_changes() -> Vec<Change> {
    vec![Change::LinkUp, Change::Address(router())]
}

#[test]
fn what_was_applied_is_there_and_reverting_leaves_no_trace() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    let changes = net.needed().expect("no overlap");
    assert_eq!(changes, all_changes());

    let applied = net.apply(&changes).expect("applied");
    assert_eq!(applied.changes(), changes);
    assert_eq!(net.needed(), Ok(vec![]), "everything is as needed now");
    assert!(!probe::has_carrier(&net.place, "prov0"), "the other end is down");
    net.ip("link set peer0 up");
    assert!(probe::has_carrier(&net.place, "prov0"));
    net.ip("link set peer0 down");

    applied.revert().expect("reverted");
    assert_eq!(net.state(), before);
    assert!(!net.record().exists());
    assert!(!probe::has_carrier(&net.place, "prov1"), "there is no such interface");
}

#[tokio::test]
async fn dropping_reverts_also_inside_a_runtime() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    let applied = net.apply(&all_changes()).expect("applied");
    assert_ne!(net.state(), before);
    drop(applied);
    assert_eq!(net.state(), before);
    assert!(!net.record().exists());
}

#[test]
fn an_interface_that_disappeared_is_reverted_and_its_namesake_is_left_alone() {
    let Some(net) = Net::new() else { return };
    let applied = net.apply(&all_changes()).expect("applied");
    net.ip("link del prov0");
    net.add_link();
    net.ip("link set prov0 up");
    net.ip("addr add 192.168.42.1/24 dev prov0");
    let before = net.state();
    applied.revert().expect("nothing is left to revert");
    assert_eq!(net.state(), before);
    assert!(!net.record().exists());
}

#[test]
fn what_was_already_there_stays() {
    let Some(net) = Net::new() else { return };
    net.ip("link set prov0 up");
    net.ip("addr add 192.168.42.1/24 dev prov0");
    let before = net.state();
    let changes = net.needed().expect("no overlap");
    assert_eq!(changes, []);
    net.apply(&changes).expect("applied").revert().expect("reverted");
    assert_eq!(net.state(), before);
}

#[test]
fn a_change_that_fails_reverts_those_before_it() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    let twice = [Change::LinkUp, Change::Address(router()), Change::Address(router())];
    let error = net.apply(&twice).expect_err("it is there already");
    let text = format!("{error:#}");
    assert!(text.starts_with("trying to give prov0 the address 192.168.42.1/24: File exists"), "{text}");
    assert_eq!(net.state(), before);

    // Somebody else's address, added after we looked, is not removed.
    net.ip("addr add 192.168.42.1/24 dev prov0");
    let before = net.state();
    net.apply(&all_changes()).expect_err("it is there already");
    assert_eq!(net.state(), before);
}

#[test]
fn a_network_that_another_interface_uses_is_refused() {
    let Some(net) = Net::new() else { return };
    net.ip("link add other0 type bridge");
    net.ip("addr add 192.168.40.9/21 dev other0");
    let error = net.needed().expect_err("an overlap");
    assert_eq!(error.what, "the network 192.168.42.0/24 of prov0 overlaps 192.168.40.9/21 of interface other0");
    assert!(error.hint.contains("--network"), "{}", error.hint);
}

#[test]
fn interfaces_are_seen_as_they_are() {
    let Some(net) = Net::new() else { return };
    net.ip("link add br0 type bridge");
    net.ip("link set peer0 master br0");
    net.ip("link add six0 type veth peer name six1");
    for command in [
        "link set prov0 up",
        "link set peer0 up",
        "link set six0 up",
        "link set six1 up",
        "addr add 10.9.8.7/24 dev prov0",
    ] {
        net.ip(command);
    }
    net.ip("route add default via 10.9.8.1 dev prov0 table 51820");
    net.ip("-6 route add default dev six0 metric 2000");

    let seen: Vec<_> = net
        .interfaces()
        .into_iter()
        .map(|interface| (interface.name, interface.kind, interface.default_route, interface.port_of))
        .collect();
    let software = |kind: &str| Kind::Virtual(kind.to_owned());
    for expected in [
        ("lo".to_owned(), Kind::Loopback, false, None),
        ("prov0".to_owned(), software("veth"), true, None),
        ("peer0".to_owned(), software("veth"), false, Some("br0".to_owned())),
        ("br0".to_owned(), software("bridge"), false, None),
        ("six0".to_owned(), software("veth"), true, None),
    ] {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
    assert_eq!(net.interface("prov0").addresses, ["10.9.8.7/24".parse().expect("an address")]);

    let interfaces = net.interfaces();
    assert!(probe::choose(&interfaces, None).is_err(), "nothing here is a real device");
    for (name, chosen) in [("br0", true), ("prov0", false), ("peer0", false), ("six0", false), ("lo", false)] {
        assert_eq!(probe::choose(&interfaces, Some(name)).is_ok(), chosen, "{name}");
    }
}

#[test]
fn services_are_told_first_and_told_back_last() {
    let Some(net) = Net::new() else { return };
    let before = net.state();
    let log = net.directory.path().join("log");
    for (name, answer) in [("nmcli", "10 (unmanaged)"), ("firewall-cmd", "success")] {
        let draft = net.directory.path().join("draft");
        let script = format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\necho '{answer}'\n", log.display());
        fs::write(&draft, script).expect("written");
        // QUIRK: by another process, else execve(2) says ETXTBSY when another test forks at that moment.
        let installed = Command::new("install").arg("-m755").arg(&draft).arg(draft.with_file_name(name)).status();
        assert!(installed.expect("install runs").success());
    }
    let tools = Tools::on_path(net.directory.path());
    let integrations = Integrations { network_manager: true, firewalld_zone: Some(Some("public".to_owned())) };
    let interfaces = net.interfaces();
    let prov0 = net.interface("prov0");
    let changes = setup::needed(&prov0, &interfaces, router(), &integrations).expect("no overlap");
    assert_eq!(changes.len(), 4);

    let applied = setup::apply(&net.place, &tools, &prov0, &changes, &net.record()).expect("applied");
    applied.revert().expect("reverted");
    assert_eq!(
        fs::read_to_string(log).expect("calls").lines().collect::<Vec<_>>(),
        [
            "nmcli device set prov0 managed no",
            "nmcli -g GENERAL.STATE device show prov0",
            "firewall-cmd --zone=trusted --change-interface=prov0",
            "firewall-cmd --zone=public --change-interface=prov0",
            "nmcli device set prov0 managed yes",
        ]
    );
    assert_eq!(net.state(), before);
}
