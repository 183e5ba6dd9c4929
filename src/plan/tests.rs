//! A plan for the tests of every room, and the tests of what is refused.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use super::*;
use crate::{
    distro::{Artifact, Distro, Loader, Mirror, ScriptKind, Source},
    model::{Arch, Firmware, Hinted},
};

fn distro() -> Arc<Distro> {
    Arc::new(
        toml::from_str(include_str!("../../templates/distros/debian/distro.toml")).expect("the embedded distro.toml"),
    )
}

fn artifact(name: &str) -> Artifact {
    let source = Source::Image { codename: "trixie".into(), path: name.into() };
    Artifact { name: name.into(), sources: vec![source] }
}

fn release() -> Release {
    let mirror = Mirror::new("debian", &"http://127.0.0.1:1/debian".parse().expect("a URL"));
    Release {
        distro: distro(),
        version: "13".into(),
        codename: "trixie".into(),
        signer: String::new(),
        ended: false,
        variant: String::new(),
        uid: "debian13-x86_64".into(),
        arch: Arch::X86_64,
        arch_name: "amd64".into(),
        mirrors: vec![mirror.clone()],
        public_mirrors: vec![mirror],
        kernel: artifact("linux"),
        initrd: artifact("initrd.gz"),
        installer: Vec::new(),
        loaders: vec![
            Loader {
                firmware: vec![Firmware::Uefi, Firmware::UefiHttp],
                script: ScriptKind::Grub,
                files: vec![artifact("shimx64.efi"), artifact("grubx64.efi")],
            },
            Loader { firmware: vec![Firmware::Bios], script: ScriptKind::Ipxe, files: vec![artifact("undionly.kpxe")] },
        ],
        grub_configs: vec!["debian-installer/amd64/grub/grub.cfg".into()],
        tree: None,
        checksum: None,
        repos: Vec::new(),
        disk_loaders: vec!["EFI/debian/shimx64.efi".into(), "EFI/BOOT/BOOTX64.EFI".into()],
    }
}

fn local() -> Local {
    Local {
        interface: Ok("enp0s1".into()),
        resolvers: Some(vec![Ipv4Addr::new(9, 9, 9, 9)]),
        default_prefix: PathBuf::from("/nonexistent/prefix"),
        mirror: Ok(()),
        distro: Ok(distro()),
        password: None,
        ssh_keys: Ok(Vec::new()),
        passphrase: None,
        handoff_code: Ok(()),
        own_answers: None,
        append_answers: None,
        keyrings: Vec::new(),
    }
}

/// Debian 13 for x86_64 with every default.
pub(crate) fn plan() -> Plan {
    check(Settings::default(), local()).expect("the defaults").with_release(release())
}

fn problems(settings: Settings) -> Vec<String> {
    match check(settings, local()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.into_iter().map(|problem| problem.what).collect(),
    }
}

#[test]
fn the_defaults_are_those_of_the_readme() {
    let plan = plan();
    assert_eq!(plan.endpoints().url("/x"), "http://192.168.42.1:4280/x");
    assert_eq!(plan.network.router_net().to_string(), "192.168.42.1/24");
    assert_eq!(plan.network.dns, [Ipv4Addr::new(9, 9, 9, 9)]);
    assert_eq!(plan.recipe.flavour, "standard");
}

#[test]
fn one_of_network_and_router_is_enough() {
    let rows = [
        (Some("10.1.0.0/16"), None, "10.1.0.1/16"),
        (None, Some("10.1.2.3/16"), "10.1.2.3/16"),
        (Some("10.1.2.3/16"), Some("10.1.0.9/16"), "10.1.0.9/16"),
    ];
    for (network, router, expected) in rows {
        let net = |text: Option<&str>| text.map(|text| text.parse().expect("a network"));
        let settings = Settings { network: net(network), router: net(router), ..Settings::default() };
        let draft = check(settings, local()).expect("a sound network");
        assert_eq!(draft.with_release(release()).network.router_net().to_string(), expected);
    }
}

#[test]
fn every_contradiction_is_reported_at_once() {
    let mut local = local();
    local.interface = Err(Hinted::new("there are two wired interfaces", "name one with --interface"));
    local.resolvers = Some(Vec::new());
    local.mirror = Err(Hinted::new("--mirror /srv: there is no such directory", "mount the disc first"));
    let settings = Settings {
        router: "192.168.42.1/24".parse().ok(),
        mac: "52:54:00:00:00:01".parse().ok(),
        ip: Some(Ipv4Addr::new(192, 168, 43, 7)),
        hostname: Some("no_host".into()),
        password: Some("$6$salt$hash".parse()),
        password_file: Some("secret".into()),
        version: Some("99".into()),
        flavour: Some("huge".into()),
        http_port: Some(0),
        kernel_args: vec!["quiet\"".into()],
        ..Settings::default()
    };
    let problems = check(settings, local).expect_err("much is wrong");
    let text = problems.to_string();
    for part in [
        "two wired interfaces",
        "--ip 192.168.43.7 is not in the network 192.168.42.0/24 of --router",
        "no name server",
        "\"no_host\" is not a host name",
        "--password and --password-file",
        "there is no such directory",
        "Debian \"99\" is not known",
        "no flavour \"huge\"",
        "--http-port 0",
        "is not a kernel argument",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(problems.0.len(), 10, "{text}");
    assert_eq!(text.matches("hint: ").count(), 10);
}

#[test]
fn addresses_that_cannot_be_given_are_refused() {
    let with = |network: &str, ip: &str| Settings {
        network: network.parse().ok(),
        mac: "52:54:00:00:00:01".parse().ok(),
        ip: ip.parse().ok(),
        ..Settings::default()
    };
    for (network, ip) in [
        ("192.168.42.0/24", "192.168.42.0"),
        ("192.168.42.0/24", "192.168.42.1"),
        ("192.168.42.0/24", "192.168.42.255"),
        ("192.168.42.0/24", "10.0.0.1"),
        ("192.168.42.0/31", "192.168.42.1"),
        ("127.0.0.0/8", "127.0.0.9"),
        ("224.0.0.0/24", "224.0.0.9"),
    ] {
        assert!(!problems(with(network, ip)).is_empty(), "{network} {ip}");
    }
    assert_eq!(problems(with("192.168.42.0/24", "192.168.42.254")), Vec::<String>::new());
    let nobody = Settings { ip: "192.168.42.9".parse().ok(), ..Settings::default() };
    assert_eq!(problems(nobody).len(), 1, "an address for no machine");
}

#[test]
fn a_name_server_is_wanted_only_where_there_are_machines_to_be_told_of_it() {
    let named = Ipv4Addr::new(192, 0, 2, 53);
    for (asked, resolvers, expected) in [
        (vec![named], Some(vec![]), Some(vec![named])),
        (vec![], Some(vec![named]), Some(vec![named])),
        (vec![], Some(vec![]), None),
        (vec![], None, Some(vec![])),
        (vec![named], None, Some(vec![named])),
    ] {
        let settings = Settings { dns: asked.clone(), ..Settings::default() };
        let draft = check(settings, Local { resolvers: resolvers.clone(), ..local() }).ok();
        let dns = draft.map(|draft| draft.with_release(release()).network.dns);
        assert_eq!(dns, expected, "{asked:?} {resolvers:?}");
    }
}
