//! Every link of the signed chain altered, one at a time: never booted, always named.

use super::*;

fn alter(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path)?;
    change(&mut bytes);
    Ok(std::fs::write(path, bytes)?)
}

#[tokio::test]
async fn an_altered_list_is_refused() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let (signer, url) = (world.key.fingerprint(), format!("{}/{LIST}", world.own().url()));
    let path = world.file("own", LIST);
    let good = std::fs::read_to_string(&path)?;
    let iso = sha256(install_tree::iso().context("it was made")?);
    let altered = format!("verifying {url}: its text was altered: the signature by {signer} does not match it");
    let rows = [
        (good.replace(&iso, &sha256(b"another image")), altered.clone()),
        (good.replace("# ", "#  "), altered),
        (install_tree::list(b"x"), format!("verifying {url}: it is not signed")),
        (good.replace("-----END", "----END"), format!("verifying {url}: its signature cannot be read: it has no end")),
    ];
    for (text, expected) in rows {
        std::fs::write(&path, text)?;
        assert_eq!(world.failure().await, expected);
        assert!(!world.mirror().paths().contains(&in_tree("images/boot.iso")), "nothing was fetched on its word");
    }
    Ok(())
}

#[tokio::test]
async fn any_byte_of_the_signature_counts() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let path = world.file("own", LIST);
    let good = std::fs::read_to_string(&path)?;
    let begin = good.find("BEGIN PGP SIGNATURE").context("a signature")?;
    let body = begin + good[begin..].find("\n\n").context("its armour")? + 2;
    for at in (body..body + 100).step_by(9).filter(|&at| good.as_bytes()[at].is_ascii_alphanumeric()) {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        std::fs::write(&path, format!("{}{other}{}", &good[..at], &good[at + 1..]))?;
        let error = world.failure().await;
        assert!(error.starts_with(&format!("verifying {}/{LIST}: ", world.own().url())), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn only_the_key_of_this_release_counts_and_the_operators_own() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    let other = TestKey::new(2);
    let text = install_tree::list(install_tree::iso().context("it was made")?);
    install_tree::write_list(&world.folder.path().join("own"), &text, &other, SIGNED);
    // It is in the keyring, as the key of another release.
    let expected = format!("-CHECKSUM: it is signed only by keys that are not trusted here: {}", other.fingerprint());
    let error = world.failure().await;
    assert!(error.ends_with(&expected), "{error}");

    world.keyring = Keyring::load(&world.key.public(), &[other.public()])?;
    assert_eq!(world.obtain().await?.provenance(), format!("Fedora 44, signed by {}", other.fingerprint()));
    Ok(())
}

#[tokio::test]
async fn a_list_of_other_images_is_refused() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let text = format!("SHA256 (another.iso) = {}\n", sha256(b""));
    install_tree::write_list(&world.folder.path().join("own"), &text, &world.key, SIGNED);
    assert_eq!(world.failure().await, format!("{}/{LIST} does not list {ISO}", world.own().url()));
    Ok(())
}

#[tokio::test]
async fn an_altered_or_truncated_image_is_refused() -> anyhow::Result<()> {
    let image = format!("{TREE}/images/boot.iso");
    let size = install_tree::iso().map_or(0, <[u8]>::len);
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, String); 3] = [
        (|bytes| bytes[200_000] ^= 1, "its SHA-256 is ".into()),
        (|bytes| bytes.truncate(1_000_000), format!("it has 1000000 bytes instead of {size}")),
        (|bytes| bytes.push(0), format!("it has {} bytes instead of {size}", size + 1)),
    ];
    for (change, expected) in changes {
        let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
        alter(&world.file("mirror", &image), change)?;
        let other = FaultyServer::start(&world.folder.path().join("mirror"));
        world.release.mirrors[0].alternates = vec![other.url().parse()?];
        world.own().always(&format!("/{image}"), Fault::Status(404));
        let [url, other] = [world.mirror().url(), other.url()].map(|server| format!("{server}/{image}"));
        let wrong = |url: &str| format!("{url} is not the file that is listed: {expected}");
        let error = world.failure().await;
        let gone = format!("; {}/{image} is not there (HTTP 404 Not Found)): ", world.own().url());
        let [named, rest] = [format!("no mirror delivers {ISO} ({}", wrong(&other)), gone + &wrong(&url)];
        assert!(error.starts_with(&named) && error.contains(&rest), "{error}");

        // The next one has it as it should be.
        world.own().heal();
        world.said();
        is_complete(&world.obtain().await?)?;
        let said = world.said();
        assert!(
            said.iter().any(|line| line.starts_with(&wrong(&url)) && line.ends_with(": asking another mirror")),
            "{said:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_mirror_whose_tree_is_another_one_is_refused() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    let (says, signed) = (sha256(b"another"), sha256(install_tree::iso().context("it was made")?));
    std::fs::write(world.file("mirror", &format!("{TREE}/.treeinfo")), install_tree::treeinfo(&says))?;
    let url = format!("{}/{TREE}/.treeinfo", world.mirror().url());
    assert_eq!(
        world.failure().await,
        format!(
            "{url} has {says} as the SHA-256 of images/boot.iso, but {}/{LIST}, which is signed, has {signed} as that of \
             {ISO}",
            world.own().url()
        )
    );
    // Others stand in for one that was not the operator's choice.
    let (own, treeinfo) = (world.own().url(), in_tree(".treeinfo"));
    for (fault, expected) in [(None, signed.as_str()), (Some(Fault::Status(403)), "it answered 403 Forbidden")] {
        world.release.mirrors[0].alternates = vec![own.parse()?];
        fault.into_iter().for_each(|fault| world.mirror().always(&treeinfo, fault));
        is_complete(&world.obtain().await?)?;
        let said = world.said();
        assert!(said.iter().any(|line| line.starts_with(&url) && line.contains(expected)), "{said:?}");
        std::fs::remove_dir_all(world.cache())?;
    }
    world.release.mirrors[0].alternates.clear();
    world.mirror().heal();
    // A tree without the file, or with something else in its place, says nothing.
    std::fs::write(world.file("mirror", &format!("{TREE}/.treeinfo")), "<html>not here</html>")?;
    world.obtain().await?;
    std::fs::remove_file(world.file("mirror", &format!("{TREE}/.treeinfo")))?;
    world.obtain().await?;
    Ok(())
}

#[tokio::test]
async fn an_altered_file_in_the_cache_is_fetched_again() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    world.obtain().await?;
    alter(&world.cache().join("vmlinuz"), |bytes| bytes[5000] ^= 1)?;
    let error = world.ask(true).await.expect_err("damaged");
    assert!(format!("{error:#}").contains("vmlinuz is damaged: its SHA-256 is "), "{error:#}");
    is_complete(&world.obtain().await?)?;
    Ok(())
}

#[tokio::test]
async fn an_image_that_lacks_a_file_is_named_with_it() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    world.release.initrd.sources = vec![Source::Tree { path: "images/pxeboot/initrd".into() }];
    let error = world.failure().await;
    let expected = "looking for images/pxeboot/initrd in the image: there is no initrd in it";
    assert!(error.starts_with("unpacking http") && error.ends_with(expected), "{error}");
    Ok(())
}
