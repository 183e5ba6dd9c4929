//! `provisioner fetch`, as its users start it, and what an offline run then has: real sockets, a small signed archive.

mod rpm;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use assert_cmd::cargo::CommandCargoExt;
use jiff::Timestamp;

use super::fetch::archive::{Deb, Fault, FaultyServer, MiniArchive, TestKey};
use super::mirror::bench::{Got, open, receive, recorder, request};

const SHIM: &str = "usr/lib/shim/shimx64.efi.signed";
const GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubnetx64-installer.efi.signed";
const VIM: &str = "pool/main/vim/vim_9.1-1_all.deb";

/// An archive and its security archive on one mirror, and a prefix.
struct Ground {
    folder: tempfile::TempDir,
    server: FaultyServer,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, root) = (TestKey::new(1), folder.path().join("mirror"));
        // The program judges it by this machine's clock.
        let date = Timestamp::now().as_second() - 86_400;
        let release = MiniArchive::new("trixie", "13.7")
            .image("netboot/debian-installer/amd64/linux", b"a kernel")
            .image("netboot/debian-installer/amd64/initrd.gz", b"an initrd")
            .deb(Deb::new("shim-signed", "1").file(SHIM, b"a shim"))
            .deb(Deb::new("grub-efi-amd64-signed", "1").file(GRUB, b"a grub"))
            .deb(Deb::new("ipxe", "1").file("usr/lib/ipxe/undionly.kpxe", b"an ipxe"))
            .deb(Deb::new("linux-image-amd64", "6.1"))
            .deb(Deb::new("busybox", "1"))
            .deb(Deb::new("ca-certificates", "1"))
            .deb(Deb::new("nobody-asks", "1"))
            .deb(Deb::new("vim", "9.0-1"));
        let release = MiniArchive { date, by_hash: true, ..release };
        release.write(&root.join("debian"), &key).expect("an archive");
        let updates = MiniArchive { date, suite: "stable-updates".into(), ..MiniArchive::new("trixie-updates", "13") };
        updates.write(&root.join("debian"), &key).expect("an archive");
        let security = MiniArchive::new("trixie-security", "13").deb(Deb::new("vim", "9.1-1"));
        let security = MiniArchive { date, suite: "stable-security".into(), ..security };
        security.write(&root.join("debian-security"), &key).expect("an archive");
        fs::write(folder.path().join("keys"), key.public()).expect("written");
        let server = FaultyServer::start(&root);
        Self { folder, server }
    }

    fn prefix(&self) -> std::path::PathBuf {
        self.folder.path().join("prefix")
    }

    fn run(&self, more: &[&str]) -> Ran {
        let mut command = program("fetch");
        command.args(["--distro=debian", "--version=13"]);
        command.args(["--flavour=minimal", &format!("--mirror={}/debian", self.server.url())]);
        command.args([flag("keyring", &self.folder.path().join("keys")), flag("prefix", &self.prefix())]);
        ran(command.args(more))
    }
}

/// A verb of the program, without this process's environment.
fn program(verb: &str) -> Command {
    let mut command = Command::cargo_bin("provisioner").expect("the program");
    command.env_clear().env("HOME", "/nonexistent").arg(verb);
    command
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("a run of the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn what_was_fetched_is_all_that_an_offline_run_needs() {
    let ground = Ground::new();
    let ran = ground.run(&["--packages=vim"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.contains("fetched 6 packages (0 MB), 0 already here; ready for --offline"), "{}", ran.out);
    let asked: BTreeSet<_> = ground.server.paths().into_iter().collect();
    assert!(
        asked.contains(&format!("/debian-security/{VIM}")) && !asked.iter().any(|path| path.contains("nobody-asks"))
    );

    let again = ground.run(&["--packages=vim"]);
    assert!(again.out.contains("fetched 0 packages (0 MB), 6 already here; ready for --offline"), "{}", again.out);
    assert!(!ground.server.paths().iter().any(|path| path.ends_with(".deb")), "nothing is fetched twice");

    let offline = ground.run(&["--packages=vim", "--offline"]);
    assert_eq!((offline.code, offline.err.as_str()), (Some(0), ""), "{}", offline.out);
    assert!(offline.out.contains("6 already here; ready for --offline"), "{}", offline.out);
    assert_eq!(ground.server.paths(), [""; 0], "nobody is asked");

    // As an installer asks for them. The suites' metadata are not there: a run has its own, which that one has found.
    let needed: Vec<_> = asked.iter().filter(|path| path.ends_with(".deb") && !path.contains("ipxe")).collect();
    assert_eq!(needed.len(), 6, "{needed:?}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (on_served, _served) = recorder();
        let proxy = open(&ground.prefix().join("mirror"), ground.server.address(), true, on_served);
        for path in needed {
            let Got { status, body, .. } =
                receive(request(&proxy, "GET".parse().expect("GET"), &path[1..], &[]).await).await;
            let upstream =
                fs::read(ground.folder.path().join("mirror").join(&path[1..])).expect("a file of the archive");
            assert_eq!((status.as_u16(), body), (200, Some(upstream)), "{path}");
        }
    });
    assert_eq!(ground.server.paths(), [""; 0], "nobody is asked");
}

#[test]
fn what_is_missing_is_named_and_the_rest_is_kept() {
    let ground = Ground::new();
    ground.server.always(&format!("/debian-security/{VIM}"), Fault::Status(404));
    let ran = ground.run(&["--packages=vim,vmi"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("fetched 5 packages (0 MB), 0 already here; 2 could not be had"), "{}", ran.err);
    let gone = format!("missing: fetching debian-security/{VIM} from ");
    for part in ["missing: the archive has no package vmi", &gone] {
        assert!(ran.out.contains(part), "{part} is not in {}", ran.out);
    }
    ground.server.heal();
    assert!(ground.run(&["--packages=vim"]).out.contains("fetched 1 packages (0 MB), 5 already here; ready"));

    fs::remove_file(ground.prefix().join("mirror/debian-security").join(VIM)).expect("it was fetched");
    ground.server.paths();
    let offline = ground.run(&["--packages=vim", "--offline"]);
    assert_eq!(offline.code, Some(1), "{}", offline.out);
    assert!(offline.out.contains(&format!("missing: debian-security/{VIM}")), "{}", offline.out);
    assert_eq!(ground.server.paths(), [""; 0], "nobody is asked");
}

#[test]
fn boot_files_alone_ask_for_no_further_package() {
    let ground = Ground::new();
    let ran = ground.run(&["--boot-files-only"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.ends_with("provisioner: the boot files are here\n"), "{}", ran.out);
    assert!(ground.prefix().join("boot/debian13-x86_64/shimx64.efi").exists());
    assert!(!ground.server.paths().iter().any(|path| path.contains("busybox")));
}

#[test]
fn what_earlier_installations_took_is_fetched_too() {
    let ground = Ground::new();
    let installs = ground.prefix().join("boot/debian13-x86_64/installs.json");
    fs::create_dir_all(installs.parent().expect("a folder")).expect("made");
    let taken =
        r#"{"minimal plain": ["debian/pool/main/n/nobody-asks/nobody-asks_0_all.deb"], "gnome plain": ["debian/x"]}"#;
    fs::write(&installs, taken).expect("written");
    assert_eq!(ground.run(&[]).code, Some(0));
    let asked = ground.server.paths();
    // As it is today.
    assert!(asked.iter().any(|path| path.ends_with("/nobody-asks_1_all.deb")), "{asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with("_0_all.deb") || path.ends_with("/x")), "{asked:?}");
}
