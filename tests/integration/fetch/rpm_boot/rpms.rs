//! Loaders out of signed packages, and every link of that chain altered.

use super::*;
use provisioner::fetch::Expected;

#[path = "../../../fixtures/signed_rpm.rs"]
mod signed_rpm;

const IPXE: &[u8] = &[0xe9; 70_000];
const NAME: &str = "ipxe-bootimgs-x86";
const INSIDE: &str = "usr/share/ipxe/undionly.kpxe";

/// The package, not signed.
fn package(name: &str) -> anyhow::Result<rpm::Package> {
    let mut builder = rpm::PackageBuilder::new(name, "1.0", "GPL-2.0-only", "noarch", "network loaders of a test");
    builder
        .using_config(rpm::BuildConfig::default().compression(rpm::CompressionWithLevel::Zstd(3)))
        .with_file_contents(IPXE, rpm::FileOptions::new("/usr/lib/ipxe/real.kpxe"))?
        .with_symlink(rpm::FileOptions::symlink(format!("/{INSIDE}"), "../../lib/ipxe/real.kpxe"))?;
    Ok(builder.build()?)
}

fn bytes(package: &rpm::Package) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    package.write(&mut bytes)?;
    Ok(bytes)
}

fn signed(name: &str, key: &TestKey) -> anyhow::Result<rpm::Package> {
    let mut package = package(name)?;
    let signature = key.packet(&package.header_bytes()?, SIGNED as u32);
    package.apply_signature(signature)?;
    Ok(package)
}

impl TreeWorld {
    /// Puts a package on the mirror as its repository lists it, and wants the loader in it.
    fn with_package(mut self, bytes: &[u8]) -> anyhow::Result<Self> {
        let path = format!("linux/releases/44/Everything/x86_64/os/Packages/i/{NAME}-1.0-1.noarch.rpm");
        let file = self.file("mirror", &path);
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::write(&file, bytes)?;
        let expected = Expected { size: Some(bytes.len() as u64), sha256: sha256(bytes).parse()? };
        let urls = vec![format!("{}/{path}", self.mirror().url()).parse()?];
        self.package = Some(PackageAt { urls, expected, version: "1.0-1".into() });
        let source = Source::Rpm { repo: "fedora".into(), package: NAME.into(), path: INSIDE.into() };
        let loader = Artifact { name: "undionly.kpxe".into(), sources: vec![source] };
        self.release.loaders.truncate(1);
        let bios = Loader { firmware: vec![Firmware::Bios], script: ScriptKind::Ipxe, files: vec![loader] };
        self.release.loaders.push(bios);
        Ok(self)
    }
}

#[tokio::test]
async fn the_bios_loader_comes_out_of_its_signed_package() -> anyhow::Result<()> {
    let key = TestKey::new(1);
    let package = signed(NAME, &key)?;
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let world = world.with_package(&bytes(&package)?)?;
    let set = world.obtain().await?;
    is_complete(&set)?;
    let loader = set.file("undionly.kpxe").context("in the set")?;
    assert!(std::fs::read(&loader.path)? == IPXE, "through the link");
    let sha256 = sha256(&bytes(&package)?);
    let signer = key.fingerprint();
    assert_eq!(loader.origin, format!("{NAME} 1.0-1 (package sha256 {sha256}), Fedora 44 signed by {signer}"));
    drop(world.mirror().paths());
    world.obtain().await?;
    assert_eq!(world.mirror().paths(), [in_tree(".treeinfo")], "neither package nor image again");
    Ok(())
}

#[tokio::test]
async fn every_link_of_a_package_counts() -> anyhow::Result<()> {
    let (key, stranger) = (TestKey::new(1), TestKey::new(9));
    let good = signed(NAME, &key)?;
    let payload = usize::try_from(good.metadata.get_package_segment_offsets().payload)?;
    let good = bytes(&good)?;
    let altered = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let summary = good.windows(7).position(|window| window == b"of a te").context("the summary")?;
    let signer = key.fingerprint();
    let rows = [
        (bytes(&package(NAME)?)?, "verifying the header of the package: it is not signed".to_owned()),
        (
            altered(summary),
            format!(
                "verifying the header of the package: its text was altered: the signature by {signer} does not match it"
            ),
        ),
        (altered(payload + 30), "verifying the payload of the package: its digest is ".to_owned()),
        (altered(good.len() - 1), "verifying the payload of the package: its digest is ".to_owned()),
        (
            bytes(&signed(NAME, &stranger)?)?,
            format!("it is signed only by keys that are not trusted here: {}", stranger.fingerprint()),
        ),
        (bytes(&signed("another", &key)?)?, format!("it is the package another, not {NAME}")),
        (
            good[..payload - 10].to_vec(),
            "reading the package's headers: in the main header: it ends within its data".to_owned(),
        ),
        (
            b"<html>log in first</html>".to_vec(),
            "reading the package's headers: in the header of the signatures: ".to_owned(),
        ),
    ];
    for (bytes, expected) in rows {
        let Some(world) = TreeWorld::new()? else { return Ok(()) };
        // The repository lists it as it is: only what the distributor signed can tell.
        let world = world.with_package(&bytes)?;
        let error = world.failure().await;
        assert!(error.starts_with("unpacking http") && error.contains(&expected), "{error}\nnot {expected}");
        let image = in_tree("images/boot.iso");
        assert!(!world.mirror().paths().contains(&image), "the small ones first");
    }
    Ok(())
}

#[tokio::test]
async fn a_package_must_be_the_one_that_the_repository_lists() -> anyhow::Result<()> {
    let package = bytes(&signed(NAME, &TestKey::new(1))?)?;
    for trust in [None, Some(Trust::Https)] {
        let Some(world) = TreeWorld::new()? else { return Ok(()) };
        let mut world = world.with_package(&package)?;
        world.trust = trust;
        let at = world.package.as_mut().context("listed")?;
        at.expected.sha256 = sha256(b"another").parse()?;
        let expected = format!("{} is not the file that is listed: its SHA-256 is ", at.urls[0]);
        assert!(world.failure().await.starts_with(&expected));
    }
    Ok(())
}

#[tokio::test]
async fn an_unsigned_package_will_do_where_no_signature_is_demanded() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let mut world = world.with_package(&bytes(&package(NAME)?)?)?;
    world.trust = Some(Trust::Https);
    let set = world.obtain().await?;
    let loader = set.file("undionly.kpxe").context("in the set")?;
    assert!(loader.origin.ends_with("), Fedora 44, http: not verified (127.0.0.1)"), "{}", loader.origin);
    // Later, it is the same package; but now its signature is asked for.
    world.trust = None;
    let error = world.obtain().await.expect_err("not signed");
    assert!(format!("{error:#}").ends_with("it is not signed"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_package_that_no_repository_lists_is_named() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let mut world = world.with_package(b"")?;
    world.package = None;
    let expected = format!("the mirror does not have undionly.kpxe ({INSIDE} in the package {NAME} of fedora)");
    assert_eq!(world.failure().await, expected);
    Ok(())
}

#[test]
fn signatures_of_old_are_believed_over_headers_and_nothing_else() -> anyhow::Result<()> {
    let key = TestKey::new(1);
    let (keyring, now) = (Keyring::load(&key.public(), &[])?, Timestamp::from_second(NOW)?);
    let at = u32::try_from(SIGNED)?;
    let old = key.packet_v3(b"a header", at);
    let verdict = keyring.verify_header(b"a header", &old, now)?;
    assert_eq!(verdict, (key.fingerprint(), Timestamp::from_second(SIGNED)?));
    assert!(keyring.verify_header(b"another", &old, now).is_err());
    assert!(keyring.verify_detached(b"a header", &old, now).is_err());
    assert!(keyring.verify_header(b"a header", &key.packet(b"a header", at), now).is_ok());
    Ok(())
}

#[tokio::test]
async fn a_package_made_and_signed_by_rpms_own_tools_verifies() -> anyhow::Result<()> {
    let Some(made) = signed_rpm::make(NAME, INSIDE, IPXE)? else { return Ok(()) };
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let mut world = world.with_package(&made.package)?;
    let metadata = rpm::Package::parse(&mut made.package.as_slice())?.metadata;
    let has = |tag: u32| metadata.signature.entry_is_present(tag);
    // RPMSIGTAG_RSA is the one over the header alone; there is none over header and payload (RPMSIGTAG_PGP) and no v6 one.
    assert!(has(268) && !has(1002) && !has(278), "signed as Fedora's packages are");
    // The operator's own key beside the pinned one of the release.
    world.keyring = Keyring::load(&world.key.public(), std::slice::from_ref(&made.public))?;
    let set = world.obtain().await?;
    let loader = set.file("undionly.kpxe").context("in the set")?;
    assert!(std::fs::read(&loader.path)? == IPXE, "the loader");
    assert!(loader.origin.ends_with(&format!("signed by {}", made.fingerprint)), "{}", loader.origin);
    Ok(())
}
