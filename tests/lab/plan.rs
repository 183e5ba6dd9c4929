//! Plans for the lab's machine.

use std::path::{Path, PathBuf};

use provisioner::{
    distro::{Catalogue, Mirror, Release},
    model::{Arch, Host, InstallRecipe},
    plan::{Network, Plan},
    rehearse::Tap,
};

use crate::upstream::Upstream;

/// Debian 12, everything of it from one upstream.
pub fn debian12(upstream: &Upstream) -> Plan {
    plan_of(release(upstream))
}

/// Nothing in it needs a name server or an account: the machine is looked at from outside.
pub fn plan_of(release: Release) -> Plan {
    Plan {
        interface: Tap::NAME.to_owned(),
        network: Network {
            subnet: "192.168.42.0/24".parse().expect("a subnet"),
            router: "192.168.42.1".parse().expect("an address"),
            dns: vec!["192.168.42.1".parse().expect("an address")],
        },
        http_port: 4280,
        prefix: prefix(),
        cache_size: None,
        // A rehearsal has a journal of its own.
        journal: prefix().join("journal.jsonl"),
        release,
        host: Host { hostname: Some("target.lab".to_owned()), ..Host::default() },
        recipe: InstallRecipe { flavour: "minimal".to_owned(), ..InstallRecipe::default() },
        kernel_args: Vec::new(),
        own_answers: None,
        append_answers: None,
        trust: None,
        extra_keys: Vec::new(),
        offline: false,
    }
}

/// Kept between runs: the boot files are 130 MB.
pub fn prefix() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab")
}

fn release(upstream: &Upstream) -> Release {
    let debian = Catalogue::embedded().distro("debian").expect("Debian as data");
    let mirrors = debian.public_mirrors().iter().map(|m| Mirror::new(&m.id, &upstream.archive(&m.id))).collect();
    let bookworm = debian.release("12").expect("Debian 12").clone();
    Release::new(debian, &bookworm, "minimal", Arch::X86_64, mirrors).expect("Debian 12")
}
