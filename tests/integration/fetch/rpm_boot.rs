//! The cache of boot files, filled from a miniature install tree: the distributor's own server, and a mirror.

use std::{net::TcpListener, time::Duration};

use tokio::time::Instant;

use super::*;
use archive::{Fault, SIGNED, sha256};
use provisioner::{
    distro::Checksum,
    fetch::{Level, PackageAt},
    model::{Hinted, Trust},
};

#[path = "../../fixtures/install_tree.rs"]
mod install_tree;

pub mod levels;
mod rpms;
mod tampering;

use install_tree::{FILES, ISO, LIST, TREE, content};

/// An archive on two servers, and a cache that is filled from it.
struct TreeWorld {
    folder: tempfile::TempDir,
    key: TestKey,
    keyring: Keyring,
    own: Option<FaultyServer>,
    mirror: Option<FaultyServer>,
    release: Release,
    client: Client,
    trust: Option<Trust>,
    package: Option<PackageAt>,
    said: Mutex<Vec<String>>,
}

impl TreeWorld {
    /// `None` where the tools to make one are missing.
    fn new() -> anyhow::Result<Option<Self>> {
        let Some(iso) = install_tree::iso() else { return Ok(None) };
        let (folder, key) = (tempfile::tempdir()?, TestKey::new(1));
        let start = |name: &str| {
            install_tree::write_archive(&folder.path().join(name), iso, &key);
            FaultyServer::start(&folder.path().join(name))
        };
        let (own, mirror) = (start("own"), start("mirror"));
        let release = tree_release(&own.url(), &mirror.url(), &key.fingerprint())?;
        // A family's file of keys holds those of all its releases.
        let keyring = Keyring::load(&[key.public(), TestKey::new(2).public()].concat(), &[])?;
        let (client, said, trust, package) = (client()?, Mutex::default(), None, None);
        let (own, mirror) = (Some(own), Some(mirror));
        Ok(Some(Self { folder, key, keyring, own, mirror, release, client, trust, package, said }))
    }

    fn own(&self) -> &FaultyServer {
        self.own.as_ref().expect("not taken down")
    }

    fn mirror(&self) -> &FaultyServer {
        self.mirror.as_ref().expect("not taken down")
    }

    /// A file of the archive on one of the servers, `own` or `mirror`.
    fn file(&self, server: &str, path: &str) -> PathBuf {
        self.folder.path().join(server).join(path)
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("boot/fedora44-x86_64")
    }

    async fn ask(&self, offline: bool) -> anyhow::Result<BootSet> {
        let folder = self.folder.path().join("boot");
        let packages = |repo: &str, name: &str| {
            assert_eq!((repo, name), ("fedora", "ipxe-bootimgs-x86"));
            Ok(self.package.clone())
        };
        let request = Request {
            release: &self.release,
            keyring: &self.keyring,
            folder: &folder,
            client: &self.client,
            trust: self.trust,
            suites: &Suites::default(),
            packages: &packages,
            offline,
            now: Timestamp::from_second(NOW)?,
        };
        obtain(&request, &|line| self.said.lock().expect("one thread").push(line.to_owned())).await
    }

    async fn obtain(&self) -> anyhow::Result<BootSet> {
        self.ask(false).await
    }

    async fn failure(&self) -> String {
        let error = self.obtain().await.expect_err("nothing to boot from");
        for (_, name, _) in FILES {
            assert!(!self.cache().join(name).exists(), "{name} was published");
        }
        format!("{error:#}")
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().expect("one thread"))
    }

    fn signed_by(&self) -> String {
        format!("Fedora 44, signed by {}", self.key.fingerprint())
    }
}

fn tree_release(own: &str, mirror: &str, signer: &str) -> anyhow::Result<Release> {
    let mut release = super::release(mirror)?;
    let mut distro = (*release.distro).clone();
    (distro.id, distro.name) = ("fedora".into(), "Fedora".into());
    let artifact = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Artifact { name, sources: vec![Source::Tree { path: path.into() }] }
    };
    let [kernel, initrd, install, shim, grub] = FILES.map(|file| artifact(file.0));
    release.loaders =
        vec![Loader { firmware: vec![Firmware::Uefi], script: ScriptKind::Grub, files: vec![shim, grub] }];
    (release.kernel, release.initrd, release.installer) = (kernel, initrd, vec![install]);
    (release.version, release.codename, release.uid) = ("44".into(), String::new(), "fedora44-x86_64".into());
    release.public_mirrors = vec![Mirror::new("fedora", &own.parse().context("an address")?)];
    release.mirrors = vec![Mirror::new("fedora", &mirror.parse().context("an address")?)];
    release.tree = Some(TREE.into());
    release.checksum = Some(Checksum { file: LIST.into(), signature: None, iso: ISO.into() });
    (release.signer, release.distro) = (signer.into(), Arc::new(distro));
    Ok(release)
}

fn is_complete(set: &BootSet) -> anyhow::Result<()> {
    for (path, name, length) in FILES {
        let file = set.file(name).with_context(|| format!("{name} in the set"))?;
        assert_eq!(file.size, length as u64);
        assert!(std::fs::read(&file.path)? == content(path), "{name} is {path}");
        assert_eq!(file.sha256.to_string(), sha256(&content(path)));
    }
    Ok(())
}

fn in_tree(path: &str) -> String {
    format!("/{TREE}/{path}")
}

#[tokio::test]
async fn everything_comes_out_of_the_image_that_was_signed_for() -> anyhow::Result<()> {
    let Some(world) = TreeWorld::new()? else { return Ok(()) };
    let set = world.obtain().await?;
    is_complete(&set)?;
    assert_eq!((set.provenance(), set.level()), (world.signed_by().as_str(), Level::Signed));
    let iso = sha256(install_tree::iso().context("it was made")?);
    assert_eq!(
        set.file("grubx64.efi").context("in the set")?.origin,
        format!("EFI/BOOT/grubx64.efi in {ISO} (image sha256 {iso}), Fedora 44 signed by {}", world.key.fingerprint())
    );
    // The list comes from the distributor, the bytes from the mirror.
    assert_eq!(world.own().paths(), [format!("/{LIST}")]);
    assert_eq!(world.mirror().paths(), [in_tree(".treeinfo"), in_tree("images/boot.iso")]);
    assert_eq!(std::fs::read_dir(world.cache().join(".fetch"))?.count(), 0, "the image is not kept");
    Ok(())
}

#[tokio::test]
async fn a_later_start_fetches_nothing_that_is_large() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    world.obtain().await?;
    drop((world.own().paths(), world.mirror().paths()));
    is_complete(&world.obtain().await?)?;
    assert_eq!(world.own().paths(), [format!("/{LIST}")]);
    assert_eq!(world.mirror().paths(), [in_tree(".treeinfo")]);

    // A list that was made anew, and names the same image.
    let iso = install_tree::iso().context("it was made")?;
    let text = format!("# new\n{}", install_tree::list(iso));
    install_tree::write_list(&world.folder.path().join("own"), &text, &world.key, SIGNED + 60);
    is_complete(&world.obtain().await?)?;
    assert_eq!(world.mirror().paths(), [in_tree(".treeinfo")]);

    // And the old one, played back.
    std::fs::copy(world.file("mirror", LIST), world.file("own", LIST))?;
    let set = world.obtain().await?;
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: the mirror is older than that");

    let offline = world.ask(true).await?;
    is_complete(&offline)?;
    assert_eq!(offline.provenance(), "cached, verified on 2026-11-20: --offline");
    (world.own, world.mirror) = (None, None);
    let set = world.obtain().await?;
    is_complete(&set)?;
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: mirror cannot be reached");
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_hangs_is_not_waited_for_long() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    world.obtain().await?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    world.release.mirrors = vec![Mirror::new("fedora", &format!("http://{}", silent.local_addr()?).parse()?)];
    // From now on time passes only while everybody waits; who is about to be asked is not waited for.
    let asked = tokio::task::spawn_blocking(move || silent.accept());
    tokio::time::pause();
    let began = Instant::now();
    let set = world.obtain().await?;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(set.provenance(), "cached, verified on 2026-11-20: mirror cannot be reached");
    asked.await??;
    Ok(())
}

#[tokio::test]
async fn the_list_may_come_from_anywhere_since_it_is_signed() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    world.own = None;
    let set = world.obtain().await?;
    is_complete(&set)?;
    assert_eq!(set.provenance(), world.signed_by());
    Ok(())
}

#[tokio::test]
async fn a_detached_signature_will_do() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    let text = install_tree::list(install_tree::iso().context("it was made")?);
    std::fs::write(world.file("own", LIST), &text)?;
    let signature = format!("{LIST}.asc");
    std::fs::write(world.file("own", &signature), world.key.detached(&text, SIGNED as u32))?;
    world.release.checksum = Some(Checksum { file: LIST.into(), signature: Some(signature), iso: ISO.into() });
    assert_eq!(world.obtain().await?.provenance(), world.signed_by());
    std::fs::write(world.file("own", LIST), text.replace("SHA256", "SHA257"))?;
    std::fs::remove_dir_all(world.cache())?;
    assert!(world.failure().await.contains("-CHECKSUM: its text was altered"));
    Ok(())
}

#[tokio::test]
async fn a_broken_off_image_is_continued_and_another_mirror_helps_out() -> anyhow::Result<()> {
    let Some(mut world) = TreeWorld::new()? else { return Ok(()) };
    let image = in_tree("images/boot.iso");
    world.mirror().next(&image, &[Fault::Cut(3_000_000)]);
    world.obtain().await?;
    let ranges: Vec<_> = world.mirror().asked().into_iter().filter_map(|asked| asked.range).collect();
    assert_eq!(ranges, ["bytes=3000000-"]);

    std::fs::remove_dir_all(world.cache())?;
    world.mirror().always(&image, Fault::Status(404));
    let other = FaultyServer::start(&world.folder.path().join("own"));
    world.release.mirrors[0].alternates = vec![other.url().parse()?];
    is_complete(&world.obtain().await?)?;
    assert_eq!(other.paths(), std::slice::from_ref(&image));
    assert!(!world.own().paths().contains(&image), "the distributor's server is spared");
    Ok(())
}
