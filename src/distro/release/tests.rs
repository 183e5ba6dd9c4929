use super::*;
use crate::distro::Catalogue;

fn debian() -> Arc<Distro> {
    Catalogue::embedded().distro("debian").expect("debian")
}

#[test]
fn names_are_the_releases_own_and_loaders_come_from_the_newest_one() {
    let distro = debian();
    let mirrors = distro.public_mirrors();
    let bookworm = distro.release("12").expect("a release").clone();
    let release = Release::new(distro, &bookworm, "standard", Arch::X86_64, mirrors).expect("a release");
    assert_eq!(release.uid(), "debian12-x86_64");
    assert_eq!(release.grub_configs, ["debian-installer/amd64/grub/grub.cfg"]);
    let package = |codename: &str, package: &str, path: &str| Source::Package {
        codename: codename.into(),
        package: package.into(),
        path: path.into(),
    };
    assert_eq!(
        release.kernel.sources,
        [
            Source::Image { codename: "bookworm".into(), path: "netboot/debian-installer/amd64/linux".into() },
            package(
                "bookworm",
                "debian-installer-12-netboot-amd64",
                "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux"
            ),
        ]
    );
    let loader = release.loader(Firmware::Uefi).expect("a loader");
    assert_eq!(loader.files[0].name, "shimx64.efi");
    assert_eq!(loader.files[0].sources, [package("trixie", "shim-signed", "usr/lib/shim/shimx64.efi.signed")]);
    assert_eq!(release.public_mirrors[1].url.as_str(), "https://security.debian.org/debian-security");
    assert_eq!(release.distro.mirrors[0].probe("trixie").expect("a path"), "dists/trixie-security/InRelease");
}

#[test]
fn what_is_not_known_is_answered_with_what_is() {
    let distro = debian();
    assert_eq!(distro.release("trixie"), distro.release("13"));
    assert_eq!(distro.release("11").expect_err("no such release").hint, "known: 13 (trixie), 12 (bookworm)");
    let mirrors = distro.public_mirrors();
    let trixie = distro.release("13").expect("a release").clone();
    let new = |arch, mirrors| Release::new(Arc::clone(&distro), &trixie, "standard", arch, mirrors);
    let error = new(Arch::Riscv64, mirrors.clone()).expect_err("no such");
    let hinted = error.downcast_ref::<Hinted>().expect("a hint");
    assert_eq!(hinted.hint, "known: x86_64, aarch64");
    assert!(new(Arch::X86_64, mirrors[..1].to_vec()).is_err());
}
