//! One dated set for a run, and none that is older than the last.

use provisioner::fetch::Standing;

use super::*;

fn later() -> MiniArchive {
    let mut archive = MiniArchive { date: SIGNED + DAY, ..trixie() };
    archive.debs = vec![hello("2")];
    archive
}

#[tokio::test]
async fn an_archive_that_moves_on_is_the_one_it_was_for_a_run() {
    let world = World::new(&trixie());
    let mut house = world.open().await;
    let said = world.said();
    let signer = world.key.fingerprint();
    for name in ["trixie", "trixie-updates", "trixie-security"] {
        assert!(said.contains(&format!("suite {name} of 2026-09-12: 1 packages, signed by {signer}")), "{said:?}");
    }
    let (in_release, packages) = (world.archived("dists/trixie/InRelease"), world.archived(MAIN));
    fs::remove_dir_all(world.root().join("dists")).expect("removed");
    later().write(&world.root(), &world.key).expect("written");
    assert!(house.verified("dists/trixie/InRelease").await == in_release);
    assert!(house.verified(MAIN).await == packages);
    assert!(house.verified(&by_hash(MAIN, &packages)).await == packages);

    let mut next = world.open().await;
    assert!(next.verified("dists/trixie/InRelease").await == world.archived("dists/trixie/InRelease"));
    assert!(next.verified(MAIN).await == world.archived(MAIN));
    assert!(next.verified(&MiniArchive::pool_path(&hello("2"))).await == hello("2").build());
    assert!(house.verified(MAIN).await == packages, "the earlier run goes on");
    let said = world.said();
    assert!(said.iter().any(|line| line.starts_with("using the state of trixie-updates of 2026-11-20: ")), "{said:?}");
}

#[tokio::test]
async fn an_older_state_is_not_taken_again() {
    let world = World::new(&later());
    world.take().await;
    trixie().write(&world.root(), &world.key).expect("written");
    world.said();
    let suites = world.take().await;
    assert!(suites.find("debian", &MiniArchive::pool_path(&hello("2"))).is_some());
    assert_eq!(suites.find("debian", &MiniArchive::pool_path(&hello("1"))), None);
    let said = world.said();
    assert!(said.iter().any(|line| line.contains("older than that of 2026-09-13")), "{said:?}");
}

#[tokio::test]
async fn an_older_state_is_not_taken_by_another_key_of_the_distributors() {
    let (mut world, another) = (World::new(&later()), TestKey::new(2));
    let of_both = [world.key.public(), another.public()].concat();
    world.keyring = Keyring::load(&of_both, &[]).expect("a keyring");
    world.take().await;
    trixie().write(&world.root(), &another).expect("written");
    world.said();
    let suites = world.take().await;
    assert_eq!(suites.find("debian", &MiniArchive::pool_path(&hello("1"))), None);
    let said = world.said();
    assert!(said.iter().any(|line| line.contains("older than that of 2026-09-13")), "{said:?}");

    // A key that the operator added stands for an archive of its own.
    world.keyring = Keyring::load(&world.key.public(), &[another.public()]).expect("a keyring");
    let suites = world.take().await;
    assert!(suites.find("debian", &MiniArchive::pool_path(&hello("1"))).is_some());
}

#[tokio::test]
async fn a_state_that_ended_is_refused_and_one_that_was_kept_is_told_of() {
    let world = World::new(&MiniArchive { valid_until: Some(NOW + DAY), ..trixie() });
    let world = World { now: NOW + 2 * DAY, ..world };
    assert!(world.failure(false).await.contains("was valid until 2026-11-21: the mirror is not up to date"));
    let world = World { now: NOW, ..world };
    world.take().await;
    let world = World { now: NOW + 2 * DAY, ..world };
    for offline in [false, true] {
        world.said();
        world.try_take(offline).await.expect("what was kept");
        let said = world.said();
        assert!(said.iter().any(|line| line.starts_with("the state of trixie was valid until 2026-11-21")), "{said:?}");
        assert_eq!(said.iter().any(|line| line.starts_with("using the state of trixie of 2026-11-20: ")), !offline);
    }
}

#[tokio::test]
async fn a_directory_that_ended_is_what_the_operator_made_it() {
    let mut world = World::new(&MiniArchive { valid_until: Some(NOW - DAY), ..trixie() });
    for (mirror, id) in world.release.mirrors.iter_mut().zip(["debian", "debian-security"]) {
        let folder = world.folder.path().join("archive").join(id);
        mirror.url = url::Url::from_directory_path(folder).expect("an absolute path");
    }
    world.take().await;
    let said = world.said();
    assert!(said.iter().any(|line| line.starts_with("the state of trixie was valid until 2026-11-19")), "{said:?}");
}

#[tokio::test]
async fn without_a_mirror_the_kept_state_is_used() {
    let mut world = World::new(&trixie());
    let cold = world.failure(true).await;
    assert!(cold.contains("lacks the state of the suite trixie"), "{cold}");
    world.take().await;
    world.said();
    world.server = None;
    for offline in [true, false] {
        let suites = world.try_take(offline).await.expect("what was kept");
        assert!(suites.find("debian", &MiniArchive::pool_path(&hello("1"))).is_some());
        assert!(matches!(suites.look_up("debian", MAIN), Standing::Here(_)));
        let said = world.said();
        assert_eq!(said.iter().any(|line| line.starts_with("using the state of trixie of 2026-11-20: ")), !offline);
    }
    for entry in fs::read_dir(world.state()).expect("readable").flatten() {
        if entry.file_name() != "state.json" {
            fs::write(entry.path(), "rotten").expect("written");
        }
    }
    assert!(world.failure(true).await.contains("lacks the state"));
    assert!(world.failure(false).await.contains("cannot be fetched"));
}

#[tokio::test]
async fn what_no_mirror_has_is_not_known_but_the_release_must_be_there() {
    let world = World::new(&trixie());
    fs::remove_dir_all(world.root().join("dists/trixie-updates")).expect("removed");
    for offline in [false, true] {
        let suites = world.try_take(offline).await.expect("suites");
        assert_eq!(suites.look_up("debian", "dists/trixie-updates/InRelease"), Standing::Unknown);
    }
    assert!(world.said().iter().any(|line| line.starts_with("nothing is known of the files of trixie-updates: ")));
    fs::remove_dir_all(world.root().join("dists/trixie")).expect("removed");
    fs::remove_dir_all(world.state()).expect("removed");
    assert!(world.failure(false).await.contains("has no suite trixie"));
}

#[tokio::test]
async fn what_somebody_altered_is_no_state() {
    let world = World::new(&trixie());
    let in_release = world.root().join("dists/trixie-updates/InRelease");
    let text = fs::read_to_string(&in_release).expect("text");
    fs::write(&in_release, text.replace("Origin: Test", "Origin: Evil")).expect("written");
    let why = world.failure(false).await;
    assert!(why.contains("trixie-updates/InRelease") && why.contains("its text was altered"), "{why}");
}

#[tokio::test]
async fn a_release_of_another_day_gives_way_to_what_is_in_in_release() {
    let world = World::new(&trixie());
    let (text, at) =
        (later().write_unsigned(tempfile::tempdir().expect("a folder").path()).expect("text"), SIGNED + DAY);
    let folder = world.root().join("dists/trixie");
    fs::write(folder.join("Release"), &text).expect("written");
    // First the signature does not match, then it is another state's.
    for signature in [None, Some(world.key.detached(&text, u32::try_from(at).expect("a date")))] {
        if let Some(signature) = signature {
            fs::write(folder.join("Release.gpg"), signature).expect("written");
        }
        let mut house = world.open().await;
        let text = house.verified("dists/trixie/Release").await;
        let signature = house.verified("dists/trixie/Release.gpg").await;
        let now = Timestamp::from_second(NOW).expect("a date");
        let signed = world.keyring.verify_detached(&text, &signature, now).expect("signed");
        assert!(signed.signer == world.key.fingerprint() && signed.text.contains("Date: Sat, 12 Sep 2026"));
        let in_release = house.verified("dists/trixie/InRelease").await;
        assert_eq!(world.keyring.verify_cleartext(&in_release, now).expect("signed").text, signed.text);
        assert!(matches!(world.try_take(true).await.expect("kept").look_up("debian", MAIN), Standing::Here(_)));
    }
}

#[tokio::test]
async fn two_signers_vouch_for_two_contents_and_the_mirror_has_one() {
    let udeb = |version: &str| {
        let deb = Deb::new("base-installer", version);
        (MiniArchive::pool_path(&deb), xz(stanza(&deb, &MiniArchive::pool_path(&deb), &deb.build()).as_bytes()))
    };
    let ((debians, theirs), (own, ours)) = (udeb("1"), udeb("1+own"));
    let mut world = World::new(&trixie().index(UDEBS, &theirs).index("main/other", b"Debian's"));
    let overlay = MiniArchive { by_hash: false, ..trixie() }.index(UDEBS, &ours).index("main/other", b"ours");
    let another = TestKey::new(2);
    world.keyring = Keyring::load(&world.key.public(), &[another.public()]).expect("a keyring");
    let text = overlay.write_unsigned(tempfile::tempdir().expect("a folder").path()).expect("text");
    let folder = world.root().join("dists/trixie");
    let signature = another.detached(&text, u32::try_from(SIGNED).expect("a date"));
    for (name, bytes) in [("Release", text.as_bytes()), ("Release.gpg", signature.as_bytes()), (UDEBS, &ours)] {
        fs::write(folder.join(name), bytes).expect("written");
    }
    let mut house = world.open().await;
    let said = world.said();
    let both = format!("signed by {} (its Release by {})", world.key.fingerprint(), another.fingerprint());
    assert!(said.iter().any(|line| line.starts_with("suite trixie ") && line.ends_with(&both)), "{said:?}");
    let path = format!("dists/trixie/{UDEBS}");
    assert!(house.verified("dists/trixie/Release").await == text.as_bytes());
    assert!(house.verified(&path).await == ours);
    assert!(house.verified(&by_hash(&path, &ours)).await == ours, "whether or not the mirror has it there");
    assert!(house.verified(&by_hash(&path, &theirs)).await == theirs);
    assert!(house.suites.find("debian", &own).is_some() && house.suites.find("debian", &debians).is_none());
    let other = house.suites.find("debian", "dists/trixie/main/other").expect("known");
    assert_eq!(other.sha256.to_string(), crate::fetch::archive::sha256(b"Debian's"), "as InRelease has it");
}

#[tokio::test]
async fn two_provisioners_take_turns() {
    let world = World::new(&trixie());
    let (one, other) = tokio::join!(world.take(), world.take());
    assert!(one.indexes().eq(other.indexes()));
    let paths = world.server().paths();
    let list =
        paths.iter().filter(|path| path.ends_with("/main/binary-amd64/Packages.xz") || path.contains("/by-hash/"));
    assert_eq!(list.clone().count(), list.collect::<std::collections::BTreeSet<_>>().len(), "{paths:?}");
}

#[tokio::test]
async fn what_a_run_serves_stays_however_many_states_follow() {
    let world = World::new(&trixie());
    let mut served = Some(world.take().await);
    let Standing::Here(path) = served.as_ref().expect("taken").look_up("debian", "dists/trixie/InRelease") else {
        panic!("it is here");
    };
    for day in 1..=3 {
        MiniArchive { date: SIGNED + day * DAY, ..trixie() }.write(&world.root(), &world.key).expect("written");
        served = served.filter(|_| day < 3);
        world.take().await;
        assert_eq!(path.exists(), served.is_some(), "day {day}");
    }
}
