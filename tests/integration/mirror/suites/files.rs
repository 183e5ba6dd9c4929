//! Which files are served, and as what.

use provisioner::fetch::{Index, Standing};

use super::*;
use crate::fetch::archive::Fault;

#[tokio::test]
async fn a_machine_gets_its_packages_and_all_of_them_are_verified() {
    let world = World::new(&trixie());
    let mut house = world.open().await;
    for path in ["InRelease", "Release", "Release.gpg"] {
        for suite in ["trixie", "stable", "trixie-updates"] {
            let path = format!("dists/{suite}/{path}");
            assert!(house.verified(&path).await == world.archived(&path), "{path}");
        }
    }
    let packages = world.archived(MAIN);
    assert!(house.verified(MAIN).await == packages);
    assert!(house.verified(&by_hash(MAIN, &packages)).await == packages);
    assert_eq!(world.server().paths(), [""; 0], "all of that is here");

    let deb = MiniArchive::pool_path(&hello("1"));
    assert!(house.verified(&deb).await == hello("1").build());
    assert!(house.verified("dists/trixie/main/i18n/Translation-en.xz").await == b"some words");
    assert_eq!(world.server().paths().len(), 2);

    let security = house.suites.find("debian-security", &MiniArchive::pool_path(&Deb::new("openssl", "3")));
    assert!(security.is_some());
    assert_eq!(
        house.suites.find("debian", &MiniArchive::pool_path(&Deb::new("openssl", "3"))),
        None,
        "of another archive"
    );
    let indexes: Vec<_> = house.suites.indexes().collect();
    let named: Vec<_> = indexes.iter().map(|index| (index.suite.as_str(), index.component.as_str())).collect();
    assert_eq!(named, [("trixie", "main"), ("trixie-updates", "main"), ("trixie-security", "main")]);
    let Index { arch, installer, name, path, .. } = indexes[0];
    assert_eq!((arch.as_str(), *installer, name.as_str()), ("amd64", false, "Packages.xz"));
    assert!(fs::read(path).expect("a file") == packages);
}

#[tokio::test]
async fn a_package_with_a_flipped_bit_is_never_whole() {
    let world = World::new(&trixie());
    let house = world.open().await;
    let deb = MiniArchive::pool_path(&hello("1"));
    world.server().always(&format!("/debian/{deb}"), Fault::Alter(200));
    let got = house.get(&deb).await;
    assert!(got.body.is_none() || got.status != StatusCode::OK, "{got:?}");
    assert!(house.proxy.contradictions() > 0);
    world.server().heal();
    assert!(house.get(&deb).await.body == Some(hello("1").build()));
}

#[tokio::test]
async fn what_the_suite_does_not_list_is_not_there() {
    let world = World::new(&trixie());
    let house = world.open().await;
    for path in ["main/binary-amd64/Packages.zst", "main/evil", "evil"] {
        let path = format!("dists/trixie/{path}");
        let file = world.root().join(&path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, "evil").expect("written");
        house.is_absent(&path).await;
    }
    assert_eq!(world.server().paths(), [""; 0]);
    let unknown = |path: &str| assert_eq!(house.suites.look_up("debian", path), Standing::Unknown, "{path}");
    unknown(&by_hash(MAIN, b"an index of an earlier day"));
    unknown("dists/trixie/main/installer-amd64/current/images/netboot/linux");
    unknown("dists/forky/InRelease");
    unknown("dists/trixie");
    unknown("pool/contrib/c/c_1_all.deb");
    unknown("README");
    assert_eq!(house.suites.look_up("other", MAIN), Standing::Unknown);
}

#[tokio::test]
async fn a_further_component_becomes_known_as_its_list_passes() {
    for by_digest in [false, true] {
        let world = World::new(&trixie());
        let mut house = world.open().await;
        let list = format!("dists/trixie/{CONTRIB}");
        let list = if by_digest { by_hash(&list, &world.archived(&list)) } else { list };
        assert_eq!(house.suites.find("debian", CONTRIB_DEB), None);
        assert!(house.get(CONTRIB_DEB).await.status == StatusCode::OK);
        assert!(!house.served.recv().await.expect("a report").verified, "nothing is known of it yet");
        house.verified(&list).await;
        assert!(house.verified(CONTRIB_DEB).await == contrib().1);

        // A later run, whose mirror has the list already.
        let mut house = world.house(world.take().await);
        house.verified(&list).await;
        assert!(house.suites.find("debian", CONTRIB_DEB).is_some());
    }
}

#[tokio::test]
async fn the_installers_images_are_known_by_their_list() {
    let world = World::new(&trixie());
    let mut house = world.open().await;
    let images = "dists/trixie/main/installer-amd64/current/images";
    house.verified(&format!("{images}/SHA256SUMS")).await;
    assert!(house.verified(&format!("{images}/netboot/linux")).await == b"a kernel");
    assert_eq!(house.suites.look_up("debian", &format!("{images}/other")), Standing::Unknown);
}
