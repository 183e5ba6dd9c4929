//! Where the program runs in these tests: a cable, a Debian archive of its own, a cache, and this machine's `/run` replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use provisioner::net::Place;

use super::{
    archive::{Deb, FaultyServer, MiniArchive, TestKey},
    program::Program,
};
use crate::guard::Lan;

pub const KERNEL: &[u8] = &[b'k'; 300_000];
pub const INITRD: &[u8] = &[b'i'; 70_000];
pub const SHIM: &[u8] = b"a shim out of its package";
pub const GRUB: &[u8] = b"a grub out of its package";
pub const UNDIONLY: &[u8] = b"an iPXE out of its package";
pub const PASSWORD: &str = "correct horse battery";

/// Paths on the archive's server.
pub const SHIM_DEB: &str = "/debian/pool/main/shim-signed/shim-signed_1.47_all.deb";
pub const LINUX: &str = "/debian/dists/trixie/main/installer-amd64/current/images/netboot/debian-installer/amd64/linux";

/// 2025-01-01: the date of 13.7; each point release is a day later than the one before. Any clock is later.
const DATE: i64 = 1_735_689_600;
const DAY: i64 = 86_400;

/// The program's world. Its network, all processes in it and all files end with this value.
pub struct House {
    archive: Archive,
    pub lan: Lan,
    folder: tempfile::TempDir,
    key: TestKey,
}

impl House {
    /// The cable's other end is up, the server's is down and has no address. `None`: skip the test.
    pub fn make(tools: &[&str]) -> Option<Self> {
        let lan = Lan::make(tools)?;
        for down in [&["addrgenmode", "none"][..], &["down"]] {
            lan.server_ip(&[&["link", "set", Lan::SERVER_END], down].concat());
        }
        let (folder, key) = (tempfile::tempdir().expect("a folder"), TestKey::new(1));
        fs::create_dir(folder.path().join("run")).expect("a folder");
        fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).expect("a file");
        fs::write(folder.path().join("keyring.pgp"), key.public()).expect("a file");
        let root = folder.path().join("archive");
        archive("13.7", KERNEL).write(&root.join("debian"), &key).expect("an archive");
        Some(Self { archive: Archive::start(&root, lan.server_place()), lan, folder, key })
    }

    /// The archive's server.
    pub fn archive(&self) -> &FaultyServer {
        self.archive.server()
    }

    /// The archive's next point release, of a later day, with another kernel.
    pub fn release(&self, version: &str, kernel: &[u8]) {
        let archive = archive(version, kernel);
        archive.write(&self.folder.path().join("archive/debian"), &self.key).expect("an archive");
    }

    /// The archive has a suite of updates, too.
    pub fn release_updates(&self) {
        let updates = MiniArchive::new("trixie-updates", "13-updates").deb(Deb::new("tzdata", "2026"));
        let updates = MiniArchive { suite: "stable-updates".to_owned(), date: DATE, ..updates };
        updates.write(&self.folder.path().join("archive/debian"), &self.key).expect("an archive");
    }

    /// Takes the archive's server down.
    pub fn lose_archive(&mut self) {
        self.archive.stop();
    }

    /// Fingerprint of the key that signed the archive.
    pub fn signer(&self) -> String {
        self.key.fingerprint()
    }

    /// A file of the archive, by its path on the server.
    pub fn archived(&self, path: &str) -> PathBuf {
        self.folder.path().join("archive").join(path.trim_start_matches('/'))
    }

    pub fn mirror(&self) -> &str {
        &self.archive.mirror
    }

    pub fn prefix(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// The flags of a sound run.
    pub fn flags(&self) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        [
            ("--distro", "debian".to_owned()),
            ("--version", "13".to_owned()),
            ("--mirror", self.mirror().to_owned()),
            ("--keyring", file("keyring.pgp")),
            ("--interface", Lan::SERVER_END.to_owned()),
            ("--dns", "9.9.9.9".to_owned()),
            ("--prefix", file("cache")),
            ("--password-file", file("password")),
        ]
        .map(|(flag, value)| format!("{flag}={value}"))
        .into()
    }

    /// Starts the program with the flags of a sound run and these.
    pub fn start(&self, more: &[&str]) -> Program {
        self.start_with(self.flags().iter().map(String::as_str).chain(more.iter().copied()))
    }

    /// Starts the program with these arguments only.
    pub fn start_with<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        self.start_by(r#"exec "$@""#, arguments)
    }

    /// Starts the program from a shell script that finds it and its arguments in `$@`.
    pub fn start_by<'a>(&self, script: &str, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        // The record of changes is below /run, where the programs of other tests must not find it.
        let script = format!(r#"mount --bind "$0" /run && {script}"#);
        let mut command = self.lan.server("sh");
        only_path(&mut command);
        let command = command.args(["-c", &script]).arg(self.folder.path().join("run"));
        Program::start(command.arg(env!("CARGO_BIN_EXE_provisioner")).args(arguments))
    }

    /// All that `ip` knows of the server's links, addresses and routes, and the program's files below `/run`.
    pub fn host(&self) -> String {
        let mut host = [&["-j", "link"][..], &["-j", "addr"], &["-j", "route", "show", "table", "all"]]
            .map(|arguments| self.lan.server_ip(arguments))
            .concat();
        for entry in fs::read_dir(self.folder.path().join("run")).expect("our folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // mount(8) keeps notes of its own there.
            host += if name == "mount" { "" } else { &name };
        }
        host
    }

    /// Ends a run, which must refuse with a message that has all of `parts` in it and leave the host as it is.
    pub fn refuses(&self, program: Program, before: &str, parts: &[&str]) {
        let ended = program.ends();
        let refusal = ended.refusal();
        for part in parts {
            assert!(refusal.contains(part), "{part:?} is missing in {refusal}");
        }
        assert_eq!(self.host(), before, "{refusal}");
    }

    /// The events in the journal, by their names.
    pub fn journal(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.prefix().join("journal.jsonl")).expect("a journal");
        let event = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let field = |name: &str| line[name].as_str().expect("a string").to_owned();
            assert!(field("at").parse::<jiff::Timestamp>().is_ok(), "{line}");
            (field("mac"), field("event"))
        };
        text.lines().map(event).collect()
    }
}

/// Leaves a command nothing of this process's environment that could change what it does.
fn only_path(command: &mut Command) {
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
}

/// An archive's server on the loopback interface of a network namespace.
pub struct Archive {
    server: Option<FaultyServer>,
    place: Place,
    mirror: String,
}

impl Archive {
    pub fn start(root: &Path, place: Place) -> Self {
        let server = place.run(|| Ok(FaultyServer::start(root))).expect("a namespace of ours");
        let mirror = format!("{}/debian", server.url());
        Self { server: Some(server), place, mirror }
    }

    pub fn server(&self) -> &FaultyServer {
        self.server.as_ref().expect("it was not taken down")
    }

    pub fn stop(&mut self) {
        let server = self.server.take();
        // Inside: it ends by a connection to itself.
        let stop = || {
            drop(server);
            Ok(())
        };
        self.place.run(stop).expect("a namespace of ours");
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop();
    }
}

fn archive(version: &str, kernel: &[u8]) -> MiniArchive {
    let archive = MiniArchive::new("trixie", version)
        .image("netboot/debian-installer/amd64/linux", kernel)
        .image("netboot/debian-installer/amd64/initrd.gz", INITRD)
        .deb(Deb::new("shim-signed", "1.47").file("usr/lib/shim/shimx64.efi.signed", SHIM))
        .deb(
            Deb::new("grub-efi-amd64-signed", "1+2.12")
                .file("usr/lib/grub/x86_64-efi-signed/grubnetx64-installer.efi.signed", GRUB),
        )
        .deb(Deb::new("ipxe", "1.21").file("usr/lib/ipxe/undionly.kpxe", UNDIONLY));
    let point: i64 = version.split('.').nth(1).and_then(|point| point.parse().ok()).expect("a point release");
    MiniArchive { date: DATE + (point - 7) * DAY, ..archive }
}
