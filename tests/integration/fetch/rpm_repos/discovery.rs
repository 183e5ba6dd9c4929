//! Which release, and from which mirror.

use super::*;

/// Version and label.
fn release(sources: &Sources) -> (&str, &str) {
    (&sources.release.version, &sources.release.label)
}

#[tokio::test]
async fn the_newest_release_that_is_none_to_come_is_taken_from_a_mirror_that_is_up_to_date() -> anyhow::Result<()> {
    let world = World::new()?;
    // Nobody listens on port 1.
    let dead = format!("http://127.0.0.1:1/{MAIN}/repodata/repomd.xml");
    let rest = ["stale", "one", "two"].map(|mirror| world.url(&format!("{mirror}/{MAIN}/repodata/repomd.xml")));
    let urls: Vec<_> = std::iter::once(dead).chain(rest).collect();
    put(&world.root().join("metalink/testora-44-x86_64"), metalink(&[&world.main.repomd], &urls).as_bytes());

    let sources = world.discover(None).await?;
    assert_eq!(release(&sources), ("44", "1.7"));
    assert!(sources.release.signer.starts_with("36F6"), "the description's: {:?}", sources.release);
    assert_eq!(sources.notes, [""; 0]);
    let mirror = &sources.mirrors[0];
    let mut all: Vec<_> = std::iter::once(&mirror.url).chain(&mirror.alternates).map(ToString::to_string).collect();
    assert_eq!(all.pop(), Some(world.url("master")), "the last resort");
    all.sort();
    assert_eq!(all, [world.url("one"), world.url("two")], "in the order of their answers");
    assert_eq!(sources.public_mirrors, world.distro.public_mirrors());
    Ok(())
}

#[tokio::test]
async fn without_the_list_the_last_answer_counts_and_before_it_what_is_known_anyway() -> anyhow::Result<()> {
    let world = World::new()?;
    let (url, named) = (world.url("releases.json"), "taking Testora Linux");
    world.server.always(RELEASES, Fault::Status(403));
    let sources = world.discover(None).await?;
    assert_eq!(release(&sources), ("44", "1.6"));
    let unknown =
        format!("{url} cannot say what is released today: {named} 44, the newest one that is known without asking");
    assert_eq!(sources.notes, [unknown]);

    world.server.heal();
    put(&world.root().join("releases.json"), format!("[{}]", image("47", "1.1")).as_bytes());
    let sources = world.discover(None).await?;
    assert_eq!(release(&sources), ("47", "1.1"));
    assert_eq!(
        sources.notes[0],
        "Testora Linux 47 is newer than this program, which may not know the key that signs it"
    );

    world.server.always(RELEASES, Fault::Shorter(20));
    let sources = world.discover(None).await?;
    assert_eq!(release(&sources), ("47", "1.1"));
    let when = "the newest one when it was asked on 2026-11-20";
    assert_eq!(sources.notes[0], format!("{url} cannot say what is released today: {named} 47, {when}"));

    world.server.asked();
    let sources = world.ask(None, None, true).await?;
    assert_eq!(release(&sources), ("47", "1.1"));
    assert_eq!(sources.notes, [format!("--offline: {named} 47, {when}")]);
    assert_eq!(sources.mirrors[0].url.as_str(), world.url("master"));
    assert_eq!(world.server.paths(), [""; 0], "nobody was asked");

    let kept = world.prefix().join("releases/testora-x86_64.json");
    std::fs::write(&kept, b"{\"learnt\": 7")?;
    let sources = world.ask(None, None, true).await?;
    assert_eq!(sources.notes, [format!("--offline: {named} 44, the newest one that is known without asking")]);
    Ok(())
}

#[tokio::test]
async fn a_version_is_known_ended_or_not_released_yet() -> anyhow::Result<()> {
    let world = World::new()?;
    assert_eq!(release(&world.discover(Some("43")).await?), ("43", "1.6"));

    for (version, offline) in [("42", false), ("38", false), ("38", true)] {
        let sources = world.ask(Some(version), None, offline).await?;
        assert!(sources.release.ended, "{version}");
        assert_eq!(sources.mirrors[0].url.as_str(), world.url("ended"));
        assert_eq!(sources.public_mirrors[0].url.as_str(), world.url("ended"));
        let note =
            format!("Testora Linux {version} has ended and gets no updates: taking it from {}", world.url("ended"));
        assert_eq!(sources.notes, [note]);
    }
    for (version, what) in [("46", "Testora Linux 46 is not released yet"), ("12", "Testora Linux \"12\" is not known")]
    {
        let error = world.discover(Some(version)).await.expect_err(what);
        let hinted = error.downcast_ref::<Hinted>().context("a hint")?;
        assert_eq!(hinted.what, what);
        assert_eq!(hinted.hint, "known: 44, 43, 42 (ended), 38 (ended)");
    }
    assert_eq!(world.ask(Some("46"), None, true).await?.release.version, "46", "who cannot ask believes the operator");
    Ok(())
}

#[tokio::test]
async fn the_operators_mirror_is_taken_unseen_and_the_installed_system_not_sent_to_it() -> anyhow::Result<()> {
    let world = World::new()?;
    let sources = world.ask(None, Some("http://mirror.example.org/fedora/"), false).await?;
    let mirror = Mirror::new("testora", &"http://mirror.example.org/fedora".parse()?);
    assert_eq!(sources.mirrors, [mirror]);
    assert_eq!(sources.public_mirrors, world.distro.public_mirrors());
    assert_eq!(world.server.paths(), [RELEASES], "no mirror manager was asked");
    let error = world.ask(None, Some("ftp://mirror.example.org/"), false).await.expect_err("not over FTP");
    assert!(error.is::<Hinted>(), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn the_master_is_taken_when_no_mirror_is_to_be_had() -> anyhow::Result<()> {
    let world = World::new()?;
    let (master, metalink) = (world.url("master"), world.url("metalink/testora-44-x86_64"));
    world.names(&[&world.main.repomd], &["stale", "missing"]);
    let sources = world.discover(None).await?;
    assert_eq!(sources.mirrors[0], Mirror::new("testora", &master.parse()?));
    assert_eq!(sources.notes, [format!("no mirror that {metalink} names is up to date: using {master}")]);

    let comment = b"<?xml version=\"1.0\"?><metalink><!-- error: invalid repository or arch --></metalink>";
    put(&world.root().join("metalink/testora-44-x86_64"), comment);
    let sources = world.discover(None).await?;
    assert_eq!(sources.mirrors[0].url.as_str(), master);
    assert_eq!(sources.notes, [format!("{metalink} cannot say who has it: using {master}")]);
    Ok(())
}
