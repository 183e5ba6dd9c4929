//! Every link of the chain altered, one at a time: never booted, never replaced by another source, always named.

use super::*;
use archive::Fault;

/// Overwrites bytes of a file of the archive in place and returns the digests that a user must be told: new and listed.
fn tamper(world: &World, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<(String, String)> {
    let path = world.archive().join(path.trim_start_matches('/'));
    let mut bytes = std::fs::read(&path)?;
    let listed = archive::sha256(&bytes);
    change(&mut bytes);
    std::fs::write(path, &bytes)?;
    Ok((archive::sha256(&bytes), listed))
}

fn flip_last(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

#[tokio::test]
async fn altered_bytes_are_found_at_every_link() -> anyhow::Result<()> {
    for path in [SUMS, PACKAGES, LINUX, INITRD_GZ, SHIM_DEB] {
        // The archive holds the same files as a package, too: an altered image must not make way for it.
        let world = World::new(&full_and_package())?;
        let (actual, listed) = tamper(&world, path, |bytes| flip_last(bytes))?;
        let url = world.url(path);
        assert_eq!(
            world.failure().await,
            format!("{url} is not the file that is listed: its SHA-256 is {actual} instead of {listed}")
        );
        world.nothing_is_published();
        let kept: Vec<_> =
            std::fs::read_dir(world.cache().join(".fetch"))?.flatten().map(|entry| entry.file_name()).collect();
        assert!(!kept.iter().any(|name| name.to_string_lossy().contains(&listed)), "{path} left {kept:?}");
        let asked = world.server().paths();
        assert_eq!(asked.iter().filter(|asked| *asked == path).count(), 1, "altered is final: {path}");
        assert!(!asked.contains(&NETBOOT_DEB.to_owned()), "no other source was tried: {path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_truncated_package_or_index_is_named_with_both_lengths() -> anyhow::Result<()> {
    for path in [SHIM_DEB, PACKAGES, SUMS] {
        let world = World::new(&full_archive())?;
        let whole = std::fs::metadata(world.archive().join(&path[1..]))?.len();
        world.server().always(path, Fault::Shorter(100));
        let url = world.url(path);
        assert_eq!(
            world.failure().await,
            format!("{url} is not the file that is listed: it has 100 bytes instead of {whole}")
        );
        world.nothing_is_published();
    }
    Ok(())
}

#[tokio::test]
async fn a_truncated_image_is_found_by_its_digest() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    world.server().always(INITRD_GZ, Fault::Shorter(100));
    let (actual, listed) = (archive::sha256(&INITRD[..100]), archive::sha256(INITRD));
    assert!(world.failure().await.ends_with(&format!("its SHA-256 is {actual} instead of {listed}")));
    Ok(())
}

#[tokio::test]
async fn an_altered_in_release_is_refused() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    tamper(&world, IN_RELEASE, |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("Version: 13.7", "Version: 13.8");
        *bytes = text.into_bytes();
    })?;
    let (mirror, signer) = (world.mirror(), world.key.fingerprint());
    assert_eq!(
        world.failure().await,
        format!(
            "verifying {mirror}dists/trixie/InRelease: its text was altered: the signature by {signer} does not match it"
        )
    );
    assert_eq!(world.server().paths(), [IN_RELEASE], "nothing else was believed");
    Ok(())
}

#[tokio::test]
async fn text_outside_the_signature_is_not_read() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    tamper(&world, IN_RELEASE, |bytes| bytes.extend(b"\nVersion: 666\nCodename: evil\n"))?;
    assert!(world.failure().await.ends_with("InRelease: its signature cannot be read: there is text behind it"));
    tamper(&world, IN_RELEASE, |bytes| drop(bytes.splice(..0, *b"Version: 666\n\n")))?;
    assert!(world.failure().await.ends_with("dists/trixie/InRelease: it is not signed"));
    Ok(())
}

#[tokio::test]
async fn a_login_page_is_not_an_archive() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    tamper(&world, IN_RELEASE, |bytes| *bytes = b"<html>Please log in</html>".to_vec())?;
    let mirror = world.mirror();
    assert_eq!(world.failure().await, format!("verifying {mirror}dists/trixie/InRelease: it is not signed"));
    Ok(())
}

#[tokio::test]
async fn another_suites_metadata_is_refused_though_signed() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let other = MiniArchive { suite: "oldstable".into(), ..MiniArchive::new("bookworm", "12.15") };
    other.write(&world.archive(), &world.key)?;
    let dists = world.archive().join("dists");
    std::fs::copy(dists.join("bookworm/InRelease"), dists.join("trixie/InRelease"))?;
    let mirror = world.mirror();
    let expected = format!("{mirror}dists/trixie/InRelease is the metadata of bookworm (oldstable), not of trixie");
    assert_eq!(world.failure().await, expected);
    Ok(())
}

#[tokio::test]
async fn metadata_past_its_date_is_refused() -> anyhow::Result<()> {
    let world = World::new(&MiniArchive { valid_until: Some(NOW - 86_400), ..full_archive() })?;
    let mirror = world.mirror();
    assert_eq!(
        world.failure().await,
        format!("{mirror}dists/trixie/InRelease was valid until 2026-11-19: the mirror is not up to date")
    );
    Ok(())
}

#[tokio::test]
async fn digests_weaker_than_sha256_are_not_believed() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let release = full_archive().write_unsigned(&world.archive())?.replace("SHA256:", "SHA1:");
    let signed = world.key.cleartext(&release, archive::SIGNED as u32);
    full_archive().sign(&world.archive(), &release, &signed, "")?;
    let mirror = world.mirror();
    assert_eq!(
        world.failure().await,
        format!("reading {mirror}dists/trixie/InRelease: it lists no file with a SHA-256 digest")
    );
    Ok(())
}
