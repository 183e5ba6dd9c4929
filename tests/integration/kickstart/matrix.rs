//! Every combination that changes the shape of a kickstart.

use provisioner::{
    distro::Catalogue,
    model::{Disk, Host},
};

use super::{Case, FAMILY, KEY};

/// A key whose options have every kind of quote in them.
const QUOTED_KEY: &str = "no-pty,command=\"/bin/echo 'a' # \\\"b\\\" %end\" ssh-rsa AAAAB3Nza x";

/// Every release × flavour × layout × encryption; the rest of a recipe varies from case to case.
pub(super) fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for id in FAMILY {
        let distro = Catalogue::embedded().distro(id).expect(id);
        for release in &distro.releases {
            for flavour in distro.flavours.keys() {
                for layout in &distro.layouts {
                    for encryption in 0..3 {
                        let mut case = Case::new(id, &release.version, flavour);
                        case.recipe.layout = *layout;
                        if encryption > 0 {
                            case.encrypt(encryption == 2);
                        }
                        vary(&mut case, u32::try_from(cases.len()).expect("a few hundred"));
                        cases.push(case);
                    }
                }
            }
        }
    }
    cases
}

/// The bits of a multiplicative hash: neighbours differ in about half of them, and every pair of options meets.
fn vary(case: &mut Case, number: u32) {
    let bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9) >> 12;
    let chosen = |bit: u32| bits >> bit & 1 == 1;
    let recipe = &mut case.recipe;
    recipe.lock_root = chosen(0);
    recipe.user = chosen(1).then(|| "ada".into());
    if chosen(2) {
        recipe.password = None;
    }
    match bits >> 3 & 3 {
        0 => recipe.ssh_keys.clear(),
        1 => recipe.ssh_keys = vec![KEY.into(), QUOTED_KEY.into()],
        _ => {}
    }
    recipe.disk = match bits >> 5 & 3 {
        0 => Disk::FirstFixed,
        1 => Disk::Smallest,
        2 => Disk::Size(1_000_000_000_000),
        _ => Disk::Device("/dev/disk/by-id/nvme-A_1".into()),
    };
    if chosen(7) {
        recipe.languages = vec!["en_US.UTF-8".into(), "fr_FR.UTF-8".into()];
    }
    if chosen(8) {
        recipe.time_servers = vec!["192.168.42.1".into(), "pool.example.org".into()];
    }
    if chosen(9) {
        recipe.packages.clear();
    }
    if chosen(10) {
        recipe.handoff.exec = Some("echo \"it's $(date)\" # %end".into());
        case.code = chosen(11);
    }
    match bits >> 12 & 3 {
        0 => case.host = Host::default(),
        1 => case.host.hostname = Some("node1".into()),
        _ => {}
    }
    if chosen(14) {
        case.own_args = vec!["quiet".into(), "console=ttyS0,115200n8".into()];
    }
}
