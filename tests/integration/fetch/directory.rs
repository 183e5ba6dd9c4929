//! Archives in a directory: found, verified, and refused where nothing vouches for them. No server, no network.

use std::{fs, os::unix::fs::symlink, process::Command};

use provisioner::{
    distro::Catalogue,
    fetch::{Level, Question, Snapshot, SnapshotRequest, Sources, Voucher, discover, keyring},
    model::Hinted,
};
use url::Url;

use super::*;

use super::rpm_repos::upstream::{Rpm, put, repository};

const IPXE: Rpm = Rpm { name: "ipxe-bootimgs-x86", version: "1", bytes: b"a loader" };

fn url(folder: &Path) -> Url {
    Url::from_directory_path(folder).expect("a URL")
}

/// What is found in a directory, with clients that reach nobody else.
async fn found(distro: &str, version: Option<&str>, directory: &Path, key: &TestKey) -> anyhow::Result<Sources> {
    let distro = Catalogue::embedded().distro(distro)?;
    let (keyring, prefix) = (keyring(&distro, &[key.public()])?, tempfile::tempdir()?);
    let question = Question {
        distro: &distro,
        mirror: Some(url(directory)),
        version,
        flavour: &distro.default_flavour,
        arch: Arch::X86_64,
        prefix: prefix.path(),
        remember: true,
        offline: false,
        now: Timestamp::from_second(NOW)?,
    };
    discover(&question, &keyring, &no_network()).await
}

/// A client for which every name is an address where nobody listens.
fn no_network() -> Client {
    drop(client().expect("a client"));
    let nobody = reqwest::Proxy::all("http://127.0.0.1:1").expect("an address");
    reqwest::Client::builder().proxy(nobody).build().expect("a client").into()
}

/// What the operator reads, and what to do.
fn told(error: &anyhow::Error) -> (String, String) {
    let hinted = error.downcast_ref::<Hinted>().expect("a hint");
    (hinted.what.clone(), hinted.hint.clone())
}

#[tokio::test]
async fn a_mirrored_debian_is_taken_from_its_directory_and_its_signatures_count() -> anyhow::Result<()> {
    let (folder, key) = (tempfile::tempdir()?, TestKey::new(1));
    let root = folder.path().join("debian");
    full_archive().write(&root, &key)?;
    put(&folder.path().join("debian-security/dists/trixie-security/InRelease"), b"its content is none of discovery's");
    for version in [None, Some("13"), Some("trixie")] {
        let sources = found("debian", version, &root, &key).await?;
        assert_eq!((&*sources.release.codename, &*sources.notes), ("trixie", &[][..]));
        let shown: Vec<_> = sources.mirrors.iter().map(Mirror::shown).collect();
        assert_eq!(shown, [root.display().to_string(), format!("{}-security", root.display())]);
        assert_eq!(sources.public_mirrors[0].shown(), "https://ftp.debian.org/debian", "for the installed system");
    }
    // Not carried beside it, the security archive comes from where it always does; and nothing need say what is stable.
    fs::remove_dir_all(folder.path().join("debian-security"))?;
    fs::remove_dir_all(root.join("dists/stable"))?;
    let sources = found("debian", None, &root, &key).await?;
    assert_eq!(
        (&*sources.release.version, &*sources.mirrors[1].shown()),
        ("13", "https://security.debian.org/debian-security")
    );

    let mut world = World::new(&full_archive())?;
    (world.client, world.release.mirrors) = (no_network(), vec![Mirror::new("debian", &url(&root))]);
    let set = world.obtain().await?;
    assert_eq!(set.provenance(), format!("Debian 13.7, signed by {}", key.fingerprint()));
    assert_eq!(fs::read(&set.file("linux").context("in the set")?.path)?, KERNEL);
    fs::remove_dir_all(world.cache())?;
    put(&root.join(&SHIM_DEB[1..]), b"another shim");
    let error = world.failure().await;
    assert!(error.contains(&format!("{}{SHIM_DEB} is not the file that is listed", root.display())), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_archive_is_refused_with_what_was_looked_for() -> anyhow::Result<()> {
    let (folder, key) = (tempfile::tempdir()?, TestKey::new(1));
    let root = folder.path().join("dvd");
    let ask = async |distro, version| told(&found(distro, version, &root, &key).await.expect_err("refused"));
    let (what, hint) = ask("debian", None).await;
    assert!(what.ends_with("/dvd: there is no such directory") && hint.contains("mount the disc"), "{what}: {hint}");
    fs::create_dir(&root)?;
    let (what, _) = ask("debian", Some("12")).await;
    assert!(what.ends_with("/dvd is no archive of Debian: it has no dists/bookworm/InRelease"), "{what}");
    let (what, _) = ask("fedora", Some("44")).await;
    let tree = "releases/44/Everything/x86_64/os/.treeinfo";
    assert!(what.ends_with(&format!("/dvd is no archive of Fedora: it has no .treeinfo, no {tree}")), "{what}");
    // Debian's own discs.
    put(&root.join("dists/trixie/Release"), b"Suite: stable\nCodename: trixie\n");
    symlink("trixie", root.join("dists/stable"))?;
    for version in [None, Some("13")] {
        let (what, hint) = ask("debian", version).await;
        assert!(what.contains("dists/trixie/Release has no signature beside it"), "{what}");
        assert!(hint.contains("debmirror"), "{hint}");
    }
    put(&root.join(".treeinfo"), b"[general]\nfamily = Rocky Linux\nversion = 10.1\narch = x86_64\n");
    let (what, _) = ask("almalinux", None).await;
    assert!(what.ends_with("/dvd is a disc of Rocky Linux 10.1, not of AlmaLinux"), "{what}");
    let (what, _) = ask("rocky", Some("9")).await;
    assert!(what.ends_with("/dvd has Rocky Linux 10.1"), "{what}");
    let (what, hint) = ask("rocky", None).await;
    assert!(
        what.ends_with("has no repository baseos that its .treeinfo names") && hint.contains("DVD"),
        "{what}: {hint}"
    );
    fs::remove_dir_all(&root)?;
    fs::write(&root, "an image")?;
    assert!(ask("debian", None).await.0.ends_with("/dvd is not a directory"));
    Ok(())
}

/// The files of an AlmaLinux disc.
fn write_disc(root: &Path) {
    let boot = [
        ("images/pxeboot/vmlinuz", KERNEL),
        ("images/pxeboot/initrd.img", INITRD),
        ("images/install.img", b"the installer"),
        ("EFI/BOOT/BOOTX64.EFI", SHIM),
        ("EFI/BOOT/grubx64.efi", GRUB),
    ];
    let mut sums = String::new();
    for (path, bytes) in boot {
        put(&root.join(path), bytes);
        if path.starts_with("images") {
            sums += &format!("{path} = sha256:{}\n", archive::sha256(bytes));
        }
    }
    let treeinfo = format!(
        "[checksums]\n{sums}\n[general]\narch = x86_64\nfamily = AlmaLinux\nname = AlmaLinux 10.1\nversion = 10.1\n\n\
         [header]\ntype = productmd.treeinfo\nversion = 1.2\n\n[release]\nname = AlmaLinux\nshort = AlmaLinux\n\
         version = 10.1\n\n[tree]\narch = x86_64\nvariants = AppStream,BaseOS\n\n[variant-AppStream]\nid = AppStream\n\
         packages = AppStream/Packages\nrepository = AppStream\n\n[variant-BaseOS]\nid = BaseOS\n\
         packages = BaseOS/Packages\nrepository = BaseOS\n"
    );
    put(&root.join(".treeinfo"), treeinfo.as_bytes());
    repository(&root.join("BaseOS"), &[Rpm { name: "hello", version: "1", bytes: b"a package" }]);
    repository(&root.join("AppStream"), &[IPXE]);
}

/// Discovers a disc and takes from it whatever a run does.
async fn take_from_disc(root: &Path) -> anyhow::Result<()> {
    let (key, prefix, client) = (TestKey::new(1), tempfile::tempdir()?, no_network());
    let sources = found("almalinux", None, root, &key).await?;
    assert_eq!((&*sources.release.version, &*sources.notes), ("10", &[][..]));
    let distro = Catalogue::embedded().distro("almalinux")?;
    let mut release = Release::new(distro, &sources.release, "server", Arch::X86_64, sources.mirrors)?;
    release.public_mirrors = sources.public_mirrors;
    assert_eq!(release.tree.as_deref(), Some(""));
    let repos: Vec<_> = release.repos.iter().map(|repo| (&*repo.path, &*repo.public_path)).collect();
    assert_eq!(repos, [("BaseOS", "10/BaseOS/x86_64/os"), ("AppStream", "10/AppStream/x86_64/os")]);

    let (say, now) = (|line: &str| eprintln!("{line}"), Timestamp::from_second(NOW)?);
    let mut snapshots = Vec::new();
    for repo in &release.repos {
        let request = SnapshotRequest {
            repo,
            mirror: release.archive(),
            master: &release.public_mirrors[0].url,
            folder: prefix.path(),
            client: &client,
            offline: false,
            now,
        };
        let snapshot = Snapshot::take(&request, &say).await?;
        assert!(matches!(snapshot.vouched(), Voucher::Directory(_)) && snapshot.vouched().is_trusted());
        assert_eq!(snapshot.vouched().to_string(), format!("the directory {} that you named", root.display()));
        snapshots.push(snapshot);
    }
    assert!(snapshots[1].package(IPXE.name, "x86_64").is_some());

    // Its package would have to be one.
    release.loaders.retain(|loader| loader.firmware.contains(&Firmware::Uefi));
    let request = Request {
        release: &release,
        keyring: &Keyring::load(&key.public(), &[])?,
        folder: prefix.path(),
        client: &client,
        trust: None,
        suites: &Suites::default(),
        packages: &|_, _| Ok(None),
        offline: false,
        now,
    };
    let set = obtain(&request, &say).await?;
    let provenance = format!("AlmaLinux 10, by the directory that you named: not signed ({})", root.display());
    assert_eq!((set.level(), set.provenance()), (Level::Directory, &*provenance));
    for (name, bytes) in [("vmlinuz", KERNEL), ("initrd.img", INITRD), ("shimx64.efi", SHIM), ("grubx64.efi", GRUB)] {
        assert_eq!(fs::read(&set.file(name).context("in the set")?.path)?, bytes, "{name}");
    }
    let signed = obtain(&Request { trust: Some(provisioner::model::Trust::Signed), ..request }, &say).await;
    let (what, hint) = told(&signed.expect_err("nothing is signed"));
    assert!(what.starts_with("nothing that is signed is known") && hint.contains("directory"), "{what}: {hint}");
    Ok(())
}

#[tokio::test]
async fn the_root_of_a_disc_is_an_install_tree() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    write_disc(folder.path());
    take_from_disc(folder.path()).await?;
    // As Fedora's is, without what boots machines that have a BIOS.
    fs::remove_dir_all(folder.path().join("AppStream"))?;
    repository(&folder.path().join("AppStream"), &[]);
    let sources = found("almalinux", None, folder.path(), &TestKey::new(1)).await?;
    let named = format!("{} has no boot loader for ", folder.path().display());
    assert!(
        sources.notes[0].starts_with(&named) && sources.notes[0].to_lowercase().contains("bios"),
        "{:?}",
        sources.notes
    );
    let distro = Catalogue::embedded().distro("almalinux")?;
    let release = Release::new(distro, &sources.release, "server", Arch::X86_64, sources.mirrors)?;
    assert!(release.loader(Firmware::Bios).is_none() && release.loader(Firmware::Uefi).is_some());
    repository(&folder.path().join("AppStream"), &[IPXE]);
    // A disc that was copied badly.
    put(&folder.path().join("images/install.img"), b"another installer");
    let error = take_from_disc(folder.path()).await.expect_err("altered");
    assert!(format!("{error:#}").contains("images/install.img is not the file that is listed"), "{error:#}");
    Ok(())
}

/// As an operator does: `mount -o loop,ro disc.iso /mnt`.
#[tokio::test]
async fn a_mounted_image_is_a_disc() -> anyhow::Result<()> {
    let (folder, mounted) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (files, image) = (folder.path().join("files"), folder.path().join("disc.iso"));
    write_disc(&files);
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-as", "mkisofs", "-quiet", "-R", "-iso-level", "3", "-o"]).arg(&image).arg(&files);
    let mut mount = Command::new("mount");
    mount.args(["-o", "loop,ro"]).arg(&image).arg(mounted.path());
    if let Err(why) = run(&mut xorriso).and_then(|()| run(&mut mount)) {
        // Not every CI lets a test mount.
        eprintln!("skipped: an image cannot be made and mounted here: {why}");
        return Ok(());
    }
    let taken = take_from_disc(mounted.path()).await;
    run(Command::new("umount").arg(mounted.path())).map_err(anyhow::Error::msg)?;
    taken
}
