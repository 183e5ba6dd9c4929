//! States of a repository: whole, kept, and refused at every link that is altered.

use std::net::TcpListener;

use super::*;

fn repomd(snapshot: &Snapshot) -> &Path {
    snapshot.here("repodata/repomd.xml").expect("every state has one")
}

#[tokio::test]
async fn a_state_knows_its_files_while_upstream_moves_on() -> anyhow::Result<()> {
    let world = World::new()?;
    let snapshot = world.snapshot(&["one"]).await?;
    assert_eq!(snapshot.find(&SHIM.path()), expected(&SHIM));
    assert!(snapshot.find(&world.main.primary).is_some(), "what repomd.xml lists");
    let primary = snapshot.here(&world.main.primary).context("it was read")?;
    let of_file = sha256(&std::fs::read(primary)?);
    assert_eq!(snapshot.find(&world.main.primary).map(|listed| listed.sha256.to_string()), Some(of_file));
    assert_eq!(snapshot.here(&SHIM.path()), None);
    for unknown in ["repodata/repomd.xml", "Packages/x/x.rpm", "../x", ""] {
        assert_eq!(snapshot.find(unknown), None, "{unknown}");
    }
    let newest = snapshot.package("shim-x64", "x86_64").context("a shim")?;
    assert_eq!((newest.version.as_str(), &newest.path), ("16.1-1", &SHIM.path()));
    assert_eq!(Some(newest.expected), expected(&SHIM));
    assert_eq!(snapshot.package("shim-x64", "aarch64"), None);
    assert_eq!(snapshot.packages().len(), 3);

    // Upstream is updated: this state stays what it is, the next one is another, and that before it stays on the disk.
    let before = std::fs::read(repomd(&snapshot))?;
    assert_eq!(sha256(&before), world.main.repomd.1);
    let newer = repository(&world.root().join("one").join(MAIN), &[GRUB]);
    world.names(&[&newer.repomd, &world.main.repomd], &["one"]);
    let next = world.snapshot(&["one"]).await?;
    assert_eq!(next.packages().len(), 1);
    assert_eq!(sha256(&std::fs::read(repomd(&next))?), newer.repomd.1);
    assert_eq!(snapshot.packages().len(), 3);
    assert_eq!(std::fs::read(repomd(&snapshot))?, before);

    // However many follow, what somebody serves stays, and goes when nobody does any more.
    let path = repomd(&snapshot).to_owned();
    let mut served = Some(snapshot);
    for packages in [&[SHIM][..], &[SHIM, GRUB], &[]] {
        let newer = repository(&world.root().join("one").join(MAIN), packages);
        world.names(&[&newer.repomd], &["one"]);
        served = served.filter(|_| !packages.is_empty());
        world.snapshot(&["one"]).await?;
        assert_eq!(path.exists(), served.is_some(), "{} packages", packages.len());
    }
    Ok(())
}

#[tokio::test]
async fn what_was_taken_is_taken_again_without_fetching_and_without_the_network() -> anyhow::Result<()> {
    let world = World::new()?;
    let error = world.take(&world.repo()?, &["one"], true).await.err().context("nothing was kept")?;
    assert!(error.is::<Hinted>(), "{error:#}");
    world.snapshot(&["one"]).await?;
    world.server.asked();
    world.snapshot(&["one"]).await?;
    assert_eq!(world.server.paths(), ["/metalink/testora-44-x86_64"], "the rest is here");
    let kept = world.take(&world.repo()?, &["one"], true).await?;
    assert_eq!(kept.packages().len(), 3);
    assert_eq!(world.server.paths(), [""; 0]);

    // Servers that do not answer are no reason to stop; what was kept and then damaged is.
    for path in [format!("/one/{MAIN}/repodata/repomd.xml"), format!("/one/{MAIN}/{}", world.main.primary)] {
        world.server.always(&path, Fault::Status(403));
    }
    let newer = repository(&world.root().join("master").join(MAIN), &[GRUB]);
    world.names(&[&newer.repomd], &["one"]);
    assert_eq!(world.snapshot(&["one"]).await?.packages().len(), 3);
    let said = world.said().join("\n");
    assert!(said.starts_with("using the state of testora of 2026-11-20: taking the state of the repository"), "{said}");
    flip(repomd(&kept))?;
    let error = world.failure(&["one"]).await?;
    assert!(error.ends_with("cannot be fetched: it answered 403 Forbidden"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_hangs_is_no_reason_to_stop_while_a_state_is_kept() -> anyhow::Result<()> {
    let world = World::new()?;
    world.snapshot(&["one"]).await?;
    let newer = repository(&world.root().join("master").join(MAIN), &[GRUB]);
    world.names(&[&newer.repomd], &["one"]);
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mirror = Mirror::new("testora", &format!("http://{}/pub", silent.local_addr()?).parse()?);
    // From now on time passes only while everybody waits; who is about to be asked is not waited for.
    let asked = tokio::task::spawn_blocking(move || silent.accept());
    tokio::time::pause();
    let snapshot = world.take_from(&world.repo()?, &mirror, false).await?;
    assert_eq!(snapshot.packages().len(), 3);
    asked.await??;
    let said = world.said().join("\n");
    let end =
        format!("{}/{MAIN}/repodata/repomd.xml cannot be fetched: it did not answer within 10 seconds", mirror.url);
    assert!(said.starts_with("using the state of testora of 2026-11-20: ") && said.ends_with(&end), "{said}");
    Ok(())
}

#[tokio::test]
async fn one_flipped_byte_is_refused_at_every_link_and_the_link_is_named() -> anyhow::Result<()> {
    let repomd_url = |world: &World| world.url(&format!("one/{MAIN}/repodata/repomd.xml"));
    let taking = "taking the state of the repository testora";

    let world = World::new()?;
    flip(&world.root().join("one").join(MAIN).join("repodata/repomd.xml"))?;
    let actual = sha256(&std::fs::read(world.root().join("one").join(MAIN).join("repodata/repomd.xml"))?);
    let (url, listed, source) = (repomd_url(&world), &world.main.repomd.1, world.url("metalink/testora-44-x86_64"));
    let altered = |url: &str, actual: &str, listed: &str| {
        format!("{url} is not the file that is listed: its SHA-256 is {actual} instead of {listed}")
    };
    assert_eq!(
        world.failure(&["one"]).await?,
        format!(
            "{taking}: comparing repomd.xml with what the metalink {source} says: {}",
            altered(&url, &actual, listed)
        )
    );
    let folder = world.folder.path().join("repos/testora");
    assert_eq!(std::fs::read_dir(folder)?.count(), 0, "nothing of it is kept");

    let world = World::new()?;
    let wrong = "0".repeat(64);
    world.names(&[&(world.main.repomd.0, wrong.clone())], &["one"]);
    let error = world.failure(&["one", "two"]).await?;
    assert!(error.ends_with(&altered(&repomd_url(&world), &world.main.repomd.1, &wrong)), "{error}");

    let world = World::new()?;
    let primary = world.root().join("one").join(MAIN).join(&world.main.primary);
    let listed = sha256(&std::fs::read(&primary)?);
    flip(&primary)?;
    let actual = sha256(&std::fs::read(&primary)?);
    let url = world.url(&format!("one/{MAIN}/{}", world.main.primary));
    let link = "fetching the list of packages that repomd.xml names";
    assert_eq!(world.failure(&["one"]).await?, format!("{taking}: {link}: {}", altered(&url, &actual, &listed)));

    // Others have it as it should be.
    assert_eq!(world.snapshot(&["one", "two"]).await?.packages().len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_is_behind_makes_way_and_one_that_is_a_little_behind_will_do() -> anyhow::Result<()> {
    let world = World::new()?;
    assert_eq!(world.snapshot(&["stale", "missing", "two"]).await?.packages().len(), 3);
    let newer = repository(&world.root().join("master").join(MAIN), &[GRUB]);
    world.names(&[&newer.repomd, &world.main.repomd], &["one"]);
    std::fs::remove_dir_all(world.folder.path().join("repos"))?;
    assert_eq!(world.snapshot(&["stale", "one"]).await?.packages().len(), 3);
    let said = world.said();
    assert_eq!(
        said,
        [format!("{} is a little behind, but still good", world.url(&format!("one/{MAIN}/repodata/repomd.xml")))]
    );
    Ok(())
}

#[tokio::test]
async fn without_a_metalink_the_master_says_what_is_right_and_without_it_nobody() -> anyhow::Result<()> {
    let world = World::new()?;
    let repo = Repo { metalink: None, ..world.repo()? };
    let error = world.take(&repo, &["stale"], false).await.err().context("not what the master has")?;
    let master = world.url(&format!("master/{MAIN}/repodata/repomd.xml"));
    assert!(format!("{error:#}").contains(&format!("comparing repomd.xml with what {master} says")), "{error:#}");
    let snapshot = world.take(&repo, &["one"], false).await?;
    // Over plain http, the master's word is nobody's.
    assert!(!snapshot.vouched().is_trusted());
    assert_eq!(snapshot.vouched().to_string(), format!("nobody: {master} is not vouched for over https"));

    world.server.always(&format!("/master/{MAIN}/repodata/repomd.xml"), Fault::Status(403));
    let snapshot = world.take(&repo, &["stale"], false).await?;
    assert_eq!(snapshot.packages().len(), 1);
    assert!(!snapshot.vouched().is_trusted());
    assert_eq!(
        world.said(),
        ["nobody but the mirror vouches for testora: neither its metalink nor its master answers"]
    );
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_is_behind_its_master_is_given_time_where_a_state_was_vouched_for() -> anyhow::Result<()> {
    let world = World::new()?;
    let repo = Repo { metalink: None, ..world.repo()? };
    let newer = repository(&world.root().join("master").join(MAIN), &[GRUB]);
    let [master, one] = ["master", "one"].map(|name| world.url(&format!("{name}/{MAIN}/repodata/repomd.xml")));
    let taking = format!(
        "taking the state of the repository testora: comparing repomd.xml with what {master} says: {one} is not the \
         file that is listed: its SHA-256 is {} instead of {}",
        world.main.repomd.1, newer.repomd.1
    );
    let refused = async || {
        let error = world.take(&repo, &["one"], false).await.err().context("nobody vouches for what it has")?;
        assert_eq!(format!("{error:#}"), taking);
        let hint = &error.downcast_ref::<Hinted>().context("a hint")?.hint;
        assert!(hint.contains("behind: wait until") && hint.contains("--mirror"), "{hint}");
        anyhow::Ok(())
    };
    refused().await?;

    // Yesterday it had what the master had.
    repository(&world.root().join("master").join(MAIN), &[OLD_SHIM, SHIM, GRUB]);
    world.take(&repo, &["one"], false).await?;
    repository(&world.root().join("master").join(MAIN), &[GRUB]);
    refused().await?;
    world.as_over_https()?;
    assert_eq!(world.take(&repo, &["one"], false).await?.packages().len(), 3);
    let said = format!("using the state of testora of 2026-11-20: the mirror is behind, or altered: {taking}");
    assert_eq!(world.said(), [said]);
    // Whatever else it has is not taken instead.
    assert_eq!(world.take(&repo, &["stale"], false).await?.packages().len(), 3);

    // And then it has the new one.
    repository(&world.root().join("one").join(MAIN), &[GRUB]);
    assert_eq!(world.take(&repo, &["one"], false).await?.packages().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_state_that_was_vouched_for_is_not_given_up_for_one_that_is_not() -> anyhow::Result<()> {
    let world = World::new()?;
    world.snapshot(&["one"]).await?;
    world.as_over_https()?;
    for path in ["/metalink/testora-44-x86_64".to_owned(), format!("/master/{MAIN}/repodata/repomd.xml")] {
        world.server.always(&path, Fault::Status(403));
    }
    let snapshot = world.snapshot(&["stale"]).await?;
    assert_eq!(snapshot.packages().len(), 3);
    assert!(snapshot.vouched().is_trusted());
    let said = world.said();
    assert_eq!(
        said.last().map(String::as_str),
        Some("nobody can say what is right for testora today: using its state of 2026-11-20")
    );
    Ok(())
}
