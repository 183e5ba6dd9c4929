//! What a kickstart selects, and what the installer adds to it.

use std::sync::Arc;

use provisioner::{
    distro::Release,
    fetch::Asked,
    model::{Arch, Layout},
};

use super::{Case, FAMILY, matrix::matrix};

fn asked(case: &Case) -> Asked {
    Asked::new(&case.context()).expect("a kickstart")
}

#[test]
fn a_recipe_asks_for_what_its_kickstart_says() {
    let case = Case::full("fedora", "44", "Server");
    let asked = asked(&case);
    assert_eq!(asked.environments, ["server-product-environment"]);
    assert_eq!(asked.groups, ["core"]);
    assert_eq!(asked.packages, ["openssh-server", "sudo", "tpm2-tools", "tpm2-tss", "tar", "vim-enhanced", "gcc-c++"]);
    assert_eq!((asked.excluded.len(), asked.weak, asked.arch.as_str()), (0, true, "x86_64"));
    assert_eq!(asked.languages, ["de_DE.UTF-8", "en_US.UTF-8", "fr_FR.UTF-8"]);
    for added in ["kernel", "grub2-pc", "grub2-efi-x64", "shim-x64", "lvm2", "cryptsetup", "firewalld", "chrony"] {
        assert!(asked.added.iter().any(|name| name == added), "{added} not in {:?}", asked.added);
    }
    assert!(asked.added.iter().all(|name| !name.contains("aa64") && name != "btrfs-progs"), "{:?}", asked.added);
}

#[test]
fn the_operators_own_answers_are_what_counts() {
    let own = "lang cs_CZ\n%packages --nocore --exclude-weakdeps\n@^kde-desktop-environment\n-sudo\n%end\n";
    let asked = asked(&Case { own: Some(own.into()), ..Case::full("fedora", "44", "Workstation") });
    assert_eq!((asked.environments, asked.excluded), (vec!["kde-desktop-environment".into()], vec!["sudo".into()]));
    assert_eq!((asked.languages, asked.groups, asked.weak), (vec!["cs_CZ".into()], Vec::new(), false));
}

#[test]
fn the_installer_adds_what_architecture_and_layout_need() {
    for id in FAMILY {
        let (version, flavour) = if id == "fedora" { ("44", "Workstation") } else { ("10", "server") };
        let mut case = Case::new(id, version, flavour);
        let Release { distro, mirrors, .. } = &case.release;
        let data = distro.release(&case.release.version).expect("known");
        let release = Release::new(Arc::clone(distro), data, &case.recipe.flavour, Arch::Aarch64, mirrors.clone());
        case.release = release.expect("a release");
        case.recipe.layout = Layout::Plain;
        let asked = asked(&case);
        assert_eq!(asked.arch, "aarch64");
        let has = |name: &str| asked.added.iter().any(|added| added == name);
        assert!(has("grub2-efi-aa64") && has("shim-aa64") && !has("grub2-pc"), "{id}: {:?}", asked.added);
        assert!(!has("lvm2") && !has("cryptsetup"), "{id}: {:?}", asked.added);
    }
}

#[test]
fn every_combination_asks_for_whole_names() {
    for case in matrix() {
        let asked = asked(&case);
        let all = [&asked.environments, &asked.groups, &asked.packages, &asked.excluded, &asked.added].into_iter();
        for name in all.flatten() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+@".contains(c);
            assert!(!name.is_empty() && name.chars().all(plain), "{name:?}");
        }
        assert!(asked.groups.contains(&"core".to_owned()) && !asked.languages.is_empty());
    }
}
