//! The miniature Fedora of the fixtures, read by the tools that read the real one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::fetch::archive;

#[path = "../fixtures/rpm_tree.rs"]
pub mod fixture;

use archive::{FaultyServer, TestKey, sha256};
use fixture::{Compression, PROGRAMS, RpmTree};

/// A tree, the server that has it, and its key as a file.
struct Bench {
    tree: RpmTree,
    root: TempDir,
    server: FaultyServer,
    key: PathBuf,
}

impl Bench {
    /// `None`, with the reason printed, where a program is missing; in CI that is a failure.
    fn new(compression: Compression, programs: &[&str]) -> Option<Self> {
        if let Some(missing) = PROGRAMS.iter().chain(programs).find(|name| !on_path(name)) {
            skip(&format!("{missing} is not installed"));
            return None;
        }
        let root = tempfile::tempdir().expect("a folder");
        let server = FaultyServer::start(root.path());
        let (key, tree) = (TestKey::legacy(1), RpmTree { compression, ..RpmTree::new("44") });
        tree.write(root.path(), &server.url(), &key).expect("a tree");
        let path = root.path().join("key.asc");
        fs::write(&path, key.armored()).expect("a key");
        Some(Self { tree, root, server, key: path })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }
}

fn skip(why: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
    eprintln!("skipped: {why}");
}

fn on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// What a program printed, when it ended well.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("a program that starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn dnf_installs_a_group_with_an_update_from_gzip() {
    dnf_installs_a_group_with_an_update(Compression::Gzip);
}

#[test]
fn dnf_installs_a_group_with_an_update_from_zstd() {
    dnf_installs_a_group_with_an_update(Compression::Zstd);
}

/// With every signature checked by rpm itself.
fn dnf_installs_a_group_with_an_update(compression: Compression) {
    if !nix::unistd::geteuid().is_root() {
        return skip("dnf installs as root only");
    }
    let Some(bench) = Bench::new(compression, &["dnf"]) else { return };
    let (url, target) = (bench.server.url(), bench.path("target"));
    let repo = |id: &str, path: &str| format!("--repofrompath={id},{url}/{path}");
    let key = |id: &str| format!("--setopt={id}.gpgkey=file://{}", bench.key.display());
    output(
        Command::new("dnf")
            .args(["-y", "--quiet", "--releasever=44", "--forcearch=x86_64", "--setopt=reposdir=/nonexistent"])
            .arg(repo("tree", &bench.tree.tree()))
            .arg(repo("updates", &bench.tree.updates_path()))
            .args([key("tree"), key("updates")])
            .args(["--setopt=gpgcheck=1", "--setopt=tree.gpgcheck=1", "--setopt=updates.gpgcheck=1"])
            .arg("--installroot")
            .arg(&target)
            // Anaconda writes @^ for an environment, dnf finds it without.
            .args(["install", "@custom-environment"]),
    );
    let hello = fs::read_to_string(target.join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.1\n"), "{hello}");
    assert!(target.join("usr/share/hello/data").exists(), "what it needs");
    assert!(!target.join("usr/share/wallpaper").exists(), "not of the group");
    let suffix = if compression == Compression::Zstd { "-primary.xml.zst" } else { "-primary.xml.gz" };
    assert_eq!(bench.server.paths().iter().filter(|path| path.ends_with(suffix)).count(), 2);
}

#[test]
fn gnupg_and_rpm_accept_the_signatures() {
    let Some(bench) = Bench::new(Compression::Zstd, &["gpgv", "rpmkeys"]) else { return };
    let keyring = bench.path("keyring.gpg");
    fs::write(&keyring, TestKey::legacy(1).public()).expect("a keyring");
    let list = bench.path(&bench.tree.checksum_path());
    let text = output(Command::new("gpgv").arg("--keyring").arg(&keyring).args(["--output", "-"]).arg(list));
    let image = fs::read(bench.path(&bench.tree.tree()).join("images/boot.iso")).expect("an image");
    let name = "Fedora-Everything-netinst-x86_64-44-1.7.iso";
    assert_eq!(text.trim_end(), format!("# {name}: {} bytes\nSHA256 ({name}) = {}", image.len(), sha256(&image)));

    let database = format!("_dbpath {}", bench.path("database").display());
    let rpmkeys = || {
        let mut command = Command::new("rpmkeys");
        command.args(["--define", &database]);
        command
    };
    output(rpmkeys().arg("--import").arg(&bench.key));
    for package in &bench.tree.packages {
        let file = bench.path(&bench.tree.tree()).join(package.path());
        let said = output(rpmkeys().args(["--checksig", "--verbose"]).arg(&file));
        assert!(said.contains("Header V4 EdDSA/SHA256 Signature") && !said.contains("NOKEY"), "{said}");
    }
}

#[test]
fn the_image_holds_what_the_tree_holds() {
    let Some(bench) = Bench::new(Compression::Zstd, &[]) else { return };
    let (tree, copy) = (bench.path(&bench.tree.tree()), bench.path("copy"));
    let image = tree.join("images/boot.iso");
    output(Command::new("xorriso").args(["-osirrox", "on", "-indev"]).arg(image).args(["-extract", "/"]).arg(&copy));
    let files = ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "images/install.img", "EFI/BOOT/BOOTX64.EFI"];
    for file in files.into_iter().chain(["EFI/BOOT/grubx64.efi", ".discinfo"]) {
        let read = |folder: &Path| fs::read(folder.join(file)).expect(file);
        assert_eq!(read(&copy), read(&tree), "{file}");
    }
}
