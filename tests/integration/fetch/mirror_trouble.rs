//! Mirrors that are down, break off, stall or cannot resume.

use std::time::Duration;

use super::*;
use archive::{Asked, Fault};
use provisioner::distro::Catalogue;

fn requests(asked: &[Asked], path: &str) -> Vec<Option<String>> {
    asked.iter().filter(|asked| asked.path == path).map(|asked| asked.range.clone()).collect()
}

#[tokio::test]
async fn a_mirror_that_is_down_leaves_a_warm_cache_usable() -> anyhow::Result<()> {
    let mut world = World::new(&full_archive())?;
    world.obtain().await?;
    world.server = None;
    world.now += 86_400 * 3;
    world.said();
    let set = world.obtain().await?;
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: mirror cannot be reached");
    assert_eq!(set.files().count(), 4);
    assert_eq!(
        world.said(),
        ["using the boot files of debian13-x86_64: cached, verified on 2026-11-20: mirror cannot be reached"]
    );
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_is_down_and_a_cold_cache_are_an_error_that_names_both() -> anyhow::Result<()> {
    let mut world = World::new(&full_archive())?;
    world.server = None;
    let (mirror, folder) = (world.mirror(), world.cache());
    let error = world.obtain().await.expect_err("nothing to boot from");
    let hint = error.downcast_ref::<provisioner::model::Hinted>().context("a hint")?;
    assert_eq!(
        hint.what,
        format!(
            "the cache {} lacks linux, initrd.gz, shimx64.efi, grubx64.efi; fetching from {mirror} failed",
            folder.display()
        )
    );
    assert_eq!(hint.hint, format!("check that this machine reaches {mirror}, or take another mirror (--mirror)"));
    let text = format!("{error:#}");
    assert!(text.contains(&format!("{mirror}dists/trixie/InRelease cannot be fetched")), "{text}");
    assert!(text.contains("refused"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_breaks_in_the_middle_leaves_the_old_set_whole() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.obtain().await?;
    let mut newer = MiniArchive { version: "13.8".into(), date: archive::SIGNED + 86_400, ..full_archive() };
    newer.images[0].1 = b"a newer kernel".to_vec();
    newer.images[1].1 = b"a newer initrd".to_vec();
    newer.write(&world.archive(), &world.key)?;
    world.server().always(LINUX, Fault::Status(503));
    let set = world.obtain().await?;
    for (name, content) in [("linux", KERNEL), ("initrd.gz", INITRD)] {
        assert_eq!(std::fs::read(&set.file(name).context("in the set")?.path)?, content, "never half old, half new");
    }
    world.server().heal();
    let set = world.obtain().await?;
    assert_eq!(std::fs::read(&set.file("initrd.gz").context("in the set")?.path)?, b"a newer initrd");
    Ok(())
}

#[tokio::test]
async fn a_broken_transfer_is_continued() -> anyhow::Result<()> {
    for fault in [Fault::Cut(30_000), Fault::CutWithoutLength(30_000)] {
        let world = World::new(&without_images())?;
        world.server().next(NETBOOT_DEB, &[fault, Fault::Status(502)]);
        world.obtain().await?;
        let asked = requests(&world.server().asked(), NETBOOT_DEB);
        let ranged = Some("bytes=30000-".to_owned());
        assert_eq!(asked, [None, ranged.clone(), ranged], "{fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_next_run_continues_where_the_last_one_was_left() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.server().next(INITRD_GZ, &[Fault::Cut(20_000), Fault::Status(500), Fault::Status(500), Fault::Status(500)]);
    let error = world.failure().await;
    let end = format!("{} cannot be fetched: it answered 500 Internal Server Error", world.url(INITRD_GZ));
    assert!(error.ends_with(&end), "{error}");
    world.nothing_is_published();
    world.server().asked();
    world.obtain().await?;
    let asked = world.server().asked();
    assert_eq!(requests(&asked, INITRD_GZ), [Some("bytes=20000-".to_owned())]);
    assert_eq!(requests(&asked, PACKAGES), [], "read before, and kept");
    Ok(())
}

#[tokio::test]
async fn a_damaged_part_is_fetched_anew() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let part = world.cache().join(format!(".fetch/{}.part", archive::sha256(INITRD)));
    std::fs::create_dir_all(part.parent().context("a folder")?)?;
    // As a power failure leaves it: the right length, no content; and longer than the file.
    for length in [100, INITRD.len(), INITRD.len() + 5] {
        let _ = std::fs::remove_file(world.cache().join("initrd.gz"));
        std::fs::write(&part, vec![0; length])?;
        world.obtain().await?;
        assert_eq!(std::fs::read(world.cache().join("initrd.gz"))?, INITRD, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn servers_that_cannot_resume_or_tell_no_length_are_served_from() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.server().next(INITRD_GZ, &[Fault::Cut(20_000), Fault::IgnoreRange]);
    world.server().always(SHIM_DEB, Fault::NoLength);
    assert_eq!(world.obtain().await?.files().count(), 4);
    assert_eq!(std::fs::read(world.cache().join("initrd.gz"))?, INITRD);
    Ok(())
}

#[tokio::test]
async fn a_silent_mirror_is_given_up_and_continued() -> anyhow::Result<()> {
    let mut world = World::new(&full_archive())?;
    world.client = reqwest::Client::builder().read_timeout(Duration::from_millis(300)).build()?.into();
    world.server().next(INITRD_GZ, &[Fault::Stall(1000)]);
    world.obtain().await?;
    let asked = requests(&world.server().asked(), INITRD_GZ);
    assert_eq!(asked.len(), 2);
    assert!(asked[1].is_some(), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_of_one_older_release_is_told_what_else_it_needs() -> anyhow::Result<()> {
    let older = MiniArchive { suite: "oldstable".into(), ..MiniArchive::new("bookworm", "12.15") };
    let mut world = World::new(&older.image("netboot/debian-installer/amd64/linux", KERNEL))?;
    let distro = Catalogue::embedded().distro("debian")?;
    let data = distro.release("12").context("a release")?.clone();
    let url = world.server().url().parse()?;
    let mirrors = ["debian", "debian-security"].map(|id| Mirror::new(id, &url));
    world.release = Release::new(distro, &data, "minimal", Arch::X86_64, mirrors.into())?;
    let error = world.obtain().await.expect_err("no loaders");
    let hint = error.downcast_ref::<provisioner::model::Hinted>().context("a hint")?;
    assert_eq!(hint.what, "the boot loaders of every release of Debian come from trixie");
    assert!(hint.hint.starts_with("the mirror needs main of trixie, too"), "{}", hint.hint);
    assert!(format!("{error:#}").contains(&format!("{} has no suite trixie", world.mirror())), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn what_is_gone_is_not_asked_for_twice() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.server().always(SHIM_DEB, Fault::Status(410));
    let error = world.failure().await;
    assert!(error.starts_with("the mirror does not have shimx64.efi ("), "{error}");
    assert_eq!(requests(&world.server().asked(), SHIM_DEB).len(), 1);

    std::fs::remove_dir_all(world.archive().join("dists"))?;
    let error = world.obtain().await.expect_err("no archive");
    let hint = error.downcast_ref::<provisioner::model::Hinted>().context("a hint")?;
    assert_eq!(hint.what, format!("{} has no suite trixie", world.mirror()));
    Ok(())
}
