//! The second start and later ones: what is asked, what is kept, what is found damaged.

use super::*;

/// All but where the files are: each run has a folder of its own.
fn facts(set: &BootSet) -> impl Iterator<Item = (&str, u64, String, &str)> {
    set.files().map(|file| (file.name.as_str(), file.size, file.sha256.to_string(), file.origin.as_str()))
}

#[tokio::test]
async fn a_warm_start_asks_for_in_release_only() -> anyhow::Result<()> {
    // Also where the preferred source was absent the first time.
    for archive in [full_archive(), without_images()] {
        let world = World::new(&archive)?;
        let cold = world.obtain().await?;
        world.server().asked();
        world.said();
        let warm = world.obtain().await?;
        assert_eq!(world.server().paths(), [IN_RELEASE]);
        assert_eq!(world.said(), [""; 0]);
        assert!(facts(&cold).eq(facts(&warm)));
        assert_eq!(cold.provenance(), warm.provenance());
    }
    Ok(())
}

#[tokio::test]
async fn a_point_release_replaces_what_changed() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let before = world.obtain().await?;
    let mut newer = MiniArchive { version: "13.8".into(), date: archive::SIGNED + 86_400, ..full_archive() };
    newer.images[0].1 = b"a newer kernel".to_vec();
    newer.write(&world.archive(), &world.key)?;
    world.server().asked();
    let set = world.obtain().await?;
    assert_eq!(std::fs::read(&set.file("linux").context("in the set")?.path)?, b"a newer kernel");
    assert_eq!(world.server().paths(), [IN_RELEASE, SUMS, LINUX], "the initrd and the packages are the same");
    assert_eq!(set.provenance(), format!("Debian 13.8, signed by {}", world.key.fingerprint()));
    let origin = &set.file("initrd.gz").context("in the set")?.origin;
    assert!(origin.contains("Debian 13.8"), "confirmed by the newer metadata: {origin}");
    assert_eq!(
        std::fs::read(&before.file("linux").context("in the set")?.path)?,
        KERNEL,
        "as long as somebody serves it"
    );
    Ok(())
}

#[tokio::test]
async fn boot_files_are_of_the_state_that_machines_install_from() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let suites = world.suites().await?;
    // A moment later, at which nothing has changed but the point release.
    MiniArchive { version: "13.8".into(), date: archive::SIGNED + 86_400, ..full_archive() }
        .write(&world.archive(), &world.key)?;
    world.server().asked();
    let set = world.ask(false, &suites).await?;
    assert_eq!(set.provenance(), format!("Debian 13.7, signed by {}", world.key.fingerprint()));
    assert!(!world.server().paths().contains(&IN_RELEASE.to_owned()));
    let later = World { now: world.now + 86_400, ..world };
    let set = later.ask(false, &suites).await?;
    assert_eq!(set.provenance(), format!("Debian 13.8, signed by {}", later.key.fingerprint()), "it is asked again");
    Ok(())
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_mended_or_refused() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.obtain().await?;
    let path = world.cache().join("initrd.gz");
    let mut damaged = INITRD.to_vec();
    damaged[40_000] ^= 4;
    std::fs::write(&path, &damaged)?;
    let (actual, listed) = (archive::sha256(&damaged), archive::sha256(INITRD));
    let sentence = format!("{} is damaged: its SHA-256 is {actual} instead of {listed}", path.display());

    let error = world.offline().await.expect_err("damaged");
    assert_eq!(format!("{error:#}"), sentence);

    world.server().asked();
    world.said();
    let set = world.obtain().await?;
    assert_eq!(std::fs::read(&set.file("initrd.gz").context("in the set")?.path)?, INITRD);
    assert_eq!(world.said(), [format!("{sentence}: fetching it again"), "fetching initrd.gz".to_owned()]);
    assert_eq!(world.server().paths(), [IN_RELEASE, INITRD_GZ], "the unchanged SHA256SUMS was kept");
    Ok(())
}

#[tokio::test]
async fn offline_uses_a_complete_cache_and_asks_nobody() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let error = world.offline().await.expect_err("cold");
    let folder = world.cache();
    assert_eq!(
        format!("{error:#}"),
        format!("the cache {} lacks linux, initrd.gz, shimx64.efi, grubx64.efi", folder.display())
    );
    assert!(error.downcast_ref::<provisioner::model::Hinted>().is_some_and(|error| error.hint.contains("--offline")));

    world.obtain().await?;
    world.server().asked();
    let set = world.offline().await?;
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: --offline");
    assert_eq!(set.files().count(), 4);
    assert!(world.server().asked().is_empty());

    std::fs::remove_file(folder.join("linux"))?;
    let error = world.offline().await.expect_err("incomplete");
    assert_eq!(format!("{error:#}"), format!("the cache {} lacks linux", folder.display()));
    Ok(())
}

#[tokio::test]
async fn a_damaged_manifest_costs_a_download_not_a_start() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.obtain().await?;
    std::fs::write(world.cache().join("manifest.json"), "{ half")?;
    assert!(world.offline().await.is_err());
    assert_eq!(world.obtain().await?.files().count(), 4);
    assert!(world.offline().await.is_ok());
    Ok(())
}

#[tokio::test]
async fn metadata_older_than_what_was_verified_is_not_followed() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.obtain().await?;
    let mut older = MiniArchive { version: "13.6".into(), date: archive::SIGNED - 86_400, ..full_archive() };
    older.images[0].1 = b"an older kernel with a hole".to_vec();
    older.write(&world.archive(), &world.key)?;
    let set = world.obtain().await?;
    assert_eq!(std::fs::read(&set.file("linux").context("in the set")?.path)?, KERNEL);
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: the mirror is older than that");

    std::fs::remove_file(world.cache().join("linux"))?;
    let mirror = world.mirror();
    let error = world.failure().await;
    let end = format!(
        "the metadata of trixie on {mirror} is of 2026-09-11, older than that of 2026-09-12 which was verified here before"
    );
    assert!(error.ends_with(&end), "{error}");
    Ok(())
}

#[tokio::test]
async fn two_provisioners_take_turns() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let (one, other) = tokio::join!(world.obtain(), world.obtain());
    assert!(facts(&one?).eq(facts(&other?)));
    let paths = world.server().paths();
    assert_eq!(paths.iter().filter(|path| *path == SHIM_DEB).count(), 1, "the second one found it there");

    let held = std::fs::File::open(world.cache().with_extension("lock"))?;
    held.lock()?;
    let waiting = format!("waiting for another provisioner that is filling {}", world.cache().display());
    let until_told = async {
        while !world.said().contains(&waiting) {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    tokio::join!(world.obtain(), until_told).0?;
    Ok(())
}
