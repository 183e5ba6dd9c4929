//! The cache of boot files, filled from a miniature archive over a server that can misbehave.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context;
use jiff::Timestamp;
use provisioner::{
    distro::{Artifact, Distro, Loader, Mirror, Release, ScriptKind, Source},
    fetch::{BootSet, Client, Keyring, Request, Suites, SuitesRequest, client, newest_stable, obtain},
    model::{Arch, Firmware},
};

#[path = "../fixtures/archive.rs"]
pub mod archive;

mod cache;
mod directory;
mod mirror_trouble;
mod proxy;
mod real_archive;
mod rpm_boot;
mod rpm_repos;
mod signatures;
mod stable;
mod tampering;

use archive::{Deb, FaultyServer, MiniArchive, NOW, TestKey};

const KERNEL: &[u8] = b"a kernel out of the images";
const INITRD: &[u8] = &[b'i'; 70_000];
const SHIM: &[u8] = b"a shim out of its package";
const GRUB: &[u8] = b"a grub behind a link";

const IN_RELEASE: &str = "/dists/trixie/InRelease";
const PACKAGES: &str = "/dists/trixie/main/binary-amd64/Packages.xz";
const SUMS: &str = "/dists/trixie/main/installer-amd64/current/images/SHA256SUMS";
const LINUX: &str = "/dists/trixie/main/installer-amd64/current/images/netboot/linux";
const INITRD_GZ: &str = "/dists/trixie/main/installer-amd64/current/images/netboot/initrd.gz";
const SHIM_DEB: &str = "/pool/main/shim-signed/shim-signed_1.47_all.deb";
const NETBOOT_DEB: &str =
    "/pool/main/debian-installer-13-netboot-amd64/debian-installer-13-netboot-amd64_20250803_all.deb";

/// An archive, its server, and a cache that is filled from it.
struct World {
    folder: tempfile::TempDir,
    key: TestKey,
    keyring: Keyring,
    server: Option<FaultyServer>,
    release: Release,
    client: Client,
    said: Mutex<Vec<String>>,
    now: i64,
}

impl World {
    fn new(archive: &MiniArchive) -> anyhow::Result<Self> {
        let (folder, key) = (tempfile::tempdir()?, TestKey::new(1));
        archive.write(&folder.path().join("archive"), &key)?;
        let server = FaultyServer::start(&folder.path().join("archive"));
        let keyring = Keyring::load(&key.public(), &[])?;
        let release = release(&server.url())?;
        let said = Mutex::default();
        Ok(Self { folder, key, keyring, server: Some(server), release, client: client()?, said, now: NOW })
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("boot/debian13-x86_64")
    }

    fn server(&self) -> &FaultyServer {
        self.server.as_ref().expect("not taken down")
    }

    fn mirror(&self) -> String {
        self.release.archive().url.to_string()
    }

    /// The address of a path that starts with a slash.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.mirror().trim_end_matches('/'))
    }

    async fn obtain(&self) -> anyhow::Result<BootSet> {
        self.ask(false, &Suites::default()).await
    }

    async fn offline(&self) -> anyhow::Result<BootSet> {
        self.ask(true, &Suites::default()).await
    }

    /// The suites as they are now.
    async fn suites(&self) -> anyhow::Result<Suites> {
        let (folder, now) = (&self.folder.path().join("boot"), Timestamp::from_second(self.now)?);
        let (release, keyring, client) = (&self.release, &self.keyring, &self.client);
        Suites::take(&SuitesRequest { release, keyring, folder, client, offline: false, now }, &|_| {}).await
    }

    async fn ask(&self, offline: bool, suites: &Suites) -> anyhow::Result<BootSet> {
        let folder = self.folder.path().join("boot");
        let now = Timestamp::from_second(self.now)?;
        let (release, keyring, client) = (&self.release, &self.keyring, &self.client);
        let request = Request {
            release,
            keyring,
            folder: &folder,
            client,
            trust: None,
            suites,
            packages: &|_, _| Ok(None),
            offline,
            now,
        };
        obtain(&request, &|line| self.said.lock().expect("one thread").push(line.to_owned())).await
    }

    /// The error of [`World::obtain`], as a user reads it.
    async fn failure(&self) -> String {
        format!("{:#}", self.obtain().await.expect_err("nothing to boot from"))
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().expect("one thread"))
    }

    /// Nothing may lie under a final name that was not verified.
    fn nothing_is_published(&self) {
        for name in ["linux", "initrd.gz", "shimx64.efi", "grubx64.efi", "manifest.json"] {
            assert!(!self.cache().join(name).exists(), "{name}");
        }
    }
}

fn full_archive() -> MiniArchive {
    MiniArchive::new("trixie", "13.7")
        .image("netboot/linux", KERNEL)
        .image("netboot/initrd.gz", INITRD)
        .deb(Deb::new("shim-signed", "1.47").file("usr/lib/shim/shimx64.efi.signed", SHIM))
        .deb(
            Deb::new("grub-efi-amd64-signed", "1+2.12")
                .symlink("usr/lib/grub/grubnet.efi.signed", "../real/grub.efi")
                .file("usr/lib/real/grub.efi", GRUB),
        )
}

/// An archive that keeps the installer as a package only, as some mirrors do.
fn without_images() -> MiniArchive {
    let mut archive = full_archive().deb(
        Deb::new("debian-installer-13-netboot-amd64", "20250803")
            .file("images/linux", KERNEL)
            .file("images/initrd.gz", INITRD),
    );
    archive.images.clear();
    archive
}

fn release(mirror: &str) -> anyhow::Result<Release> {
    let toml =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/distros/debian/distro.toml"))?;
    let distro: Distro = toml::from_str(&toml)?;
    let package = |package: &str, path: &str| Source::Package {
        codename: "trixie".into(),
        package: package.into(),
        path: path.into(),
    };
    let installer = |name: &str| Artifact {
        name: name.into(),
        sources: vec![
            Source::Image { codename: "trixie".into(), path: format!("netboot/{name}") },
            package("debian-installer-13-netboot-amd64", &format!("images/{name}")),
        ],
    };
    let loader = |name: &str, source| Artifact { name: name.into(), sources: vec![source] };
    let mirrors = vec![Mirror::new("debian", &mirror.parse().context("the mirror's address")?)];
    Ok(Release {
        distro: Arc::new(distro),
        version: "13".into(),
        codename: "trixie".into(),
        signer: String::new(),
        ended: false,
        variant: String::new(),
        arch: Arch::X86_64,
        arch_name: "amd64".into(),
        public_mirrors: mirrors.clone(),
        mirrors,
        kernel: installer("linux"),
        initrd: installer("initrd.gz"),
        installer: Vec::new(),
        loaders: vec![Loader {
            firmware: vec![Firmware::Uefi],
            script: ScriptKind::Grub,
            files: vec![
                loader("shimx64.efi", package("shim-signed", "usr/lib/shim/shimx64.efi.signed")),
                loader("grubx64.efi", package("grub-efi-amd64-signed", "usr/lib/grub/grubnet.efi.signed")),
            ],
        }],
        grub_configs: vec!["debian-installer/amd64/grub/grub.cfg".into()],
        tree: None,
        checksum: None,
        repos: Vec::new(),
        uid: "debian13-x86_64".into(),
        disk_loaders: Vec::new(),
    })
}

#[tokio::test]
async fn a_cold_cache_is_filled_and_says_where_from() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let set = world.obtain().await?;
    for (name, content) in [("linux", KERNEL), ("initrd.gz", INITRD), ("shimx64.efi", SHIM), ("grubx64.efi", GRUB)] {
        let file = set.file(name).context("in the set")?;
        for path in [&file.path, &world.cache().join(name)] {
            assert_eq!(std::fs::read(path)?, content);
        }
        assert_eq!(file.size, content.len() as u64);
        assert_eq!(file.sha256.to_string(), archive::sha256(content));
    }
    let signer = world.key.fingerprint();
    assert_eq!(set.provenance(), format!("Debian 13.7, signed by {signer}"));
    assert_eq!(
        set.file("linux").context("in the set")?.origin,
        format!("main/installer-amd64/current/images/netboot/linux, Debian 13.7 signed by {signer}")
    );
    let shim = &set.file("shimx64.efi").context("in the set")?.origin;
    assert!(shim.starts_with("shim-signed 1.47 (package sha256 "), "{shim}");
    assert!(shim.ends_with(&format!("), Debian 13.7 signed by {signer}")), "{shim}");
    assert_eq!(set.files().count(), 4);
    let said = world.said();
    assert!(said.iter().any(|line| line.starts_with("fetching shim-signed (") && line.ends_with(" kB)")), "{said:?}");
    let mut leftovers: Vec<_> =
        std::fs::read_dir(world.cache().join(".fetch"))?.flatten().map(|entry| entry.path()).collect();
    leftovers.sort();
    assert_eq!(leftovers.len(), 2, "the two indexes stay, packages do not: {leftovers:?}");
    Ok(())
}

#[tokio::test]
async fn an_absent_image_comes_out_of_the_package_which_is_fetched_once() -> anyhow::Result<()> {
    // Not in SHA256SUMS at all, and listed there but gone.
    for (archive, gone) in [(without_images(), false), (full_and_package(), true)] {
        let world = World::new(&archive)?;
        if gone {
            std::fs::remove_dir_all(world.archive().join(archive.images_path()).join("netboot"))?;
        }
        let set = world.obtain().await?;
        assert_eq!(std::fs::read(&set.file("initrd.gz").context("in the set")?.path)?, INITRD);
        let origin = &set.file("linux").context("in the set")?.origin;
        assert!(origin.starts_with("debian-installer-13-netboot-amd64 20250803 (package sha256 "), "{origin}");
        let paths = world.server().paths();
        assert_eq!(paths.iter().filter(|path| *path == NETBOOT_DEB).count(), 1);
        assert_eq!(paths.iter().filter(|path| *path == PACKAGES).count(), 1);
        assert_eq!(paths.iter().filter(|path| *path == IN_RELEASE).count(), 1);
    }
    Ok(())
}

fn full_and_package() -> MiniArchive {
    MiniArchive { images: full_archive().images, ..without_images() }
}

#[tokio::test]
async fn a_file_that_no_source_has_is_named_with_its_sources() -> anyhow::Result<()> {
    let mut archive = without_images();
    archive.debs.pop();
    let world = World::new(&archive)?;
    assert_eq!(
        world.failure().await,
        "the mirror does not have initrd.gz (netboot/initrd.gz of trixie's installer images, or images/initrd.gz in \
         trixie's package debian-installer-13-netboot-amd64)"
    );
    world.nothing_is_published();
    Ok(())
}

#[tokio::test]
async fn the_archive_says_which_release_is_stable() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    let (release, now) = (&world.release, Timestamp::from_second(NOW)?);
    let stable = newest_stable(&release.distro, &release.archive().url, &world.keyring, &world.client, now).await?;
    assert_eq!((stable.version.as_str(), stable.codename.as_str()), ("13", "trixie"));
    Ok(())
}

#[tokio::test]
async fn indexes_are_asked_for_by_digest_where_the_archive_has_them() -> anyhow::Result<()> {
    let world = World::new(&MiniArchive { by_hash: true, ..full_archive() })?;
    world.server().always(PACKAGES, archive::Fault::Alter(0));
    world.obtain().await?;
    assert!(!world.server().paths().contains(&PACKAGES.to_owned()));
    Ok(())
}

#[tokio::test]
async fn an_archive_without_in_release_is_verified_by_its_detached_signature() -> anyhow::Result<()> {
    let world = World::new(&full_archive())?;
    std::fs::remove_file(world.archive().join("dists/trixie/InRelease"))?;
    assert_eq!(world.obtain().await?.provenance(), format!("Debian 13.7, signed by {}", world.key.fingerprint()));
    Ok(())
}

#[test]
fn obtaining_can_be_spawned() {
    fn assert_send<T: Send>(_: impl FnOnce(&'static Request<'static>) -> T) {}
    assert_send(|request| obtain(request, &|_| {}));
}
