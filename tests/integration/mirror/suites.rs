//! A Debian archive whose suites were taken: each file is what the archive signed, or it is not served.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use provisioner::{
    distro::{Catalogue, Mirror, Release},
    fetch::{Keyring, Suites, SuitesRequest},
    mirror::{Proxy, Served},
    model::Arch,
    serve::SuiteLedger,
};
use tokio::sync::mpsc;

use super::bench::{Got, impatient_client, open_with, receive, recorder, request};
use crate::fetch::archive::{Deb, FaultyServer, MiniArchive, NOW, SIGNED, TestKey, stanza, xz};

mod apt;
mod files;
mod states;

const DAY: i64 = 24 * 60 * 60;
const MAIN: &str = "dists/trixie/main/binary-amd64/Packages.xz";
const CONTRIB: &str = "contrib/binary-amd64/Packages.xz";
const CONTRIB_DEB: &str = "pool/contrib/extra_1_all.deb";
const UDEBS: &str = "main/debian-installer/binary-amd64/Packages.xz";

/// An archive, its server, and where suites and files are kept.
struct World {
    folder: tempfile::TempDir,
    key: TestKey,
    server: Option<FaultyServer>,
    release: Release,
    keyring: Keyring,
    now: i64,
    said: Mutex<Vec<String>>,
}

/// A mirror in front of it, with what is known of its files.
struct House {
    suites: Suites,
    proxy: Proxy,
    served: mpsc::UnboundedReceiver<Served>,
}

/// The package of which the tests ask.
fn hello(version: &str) -> Deb {
    Deb::new("hello", version).file("usr/bin/hello", &[b'h'; 40_000])
}

/// `trixie`, with a further component beside `main`.
fn trixie() -> MiniArchive {
    let (deb, bytes) = contrib();
    let packages = xz(stanza(&deb, CONTRIB_DEB, &bytes).as_bytes());
    MiniArchive { by_hash: true, ..MiniArchive::new("trixie", "13.7") }
        .image("netboot/linux", b"a kernel")
        .deb(hello("1"))
        .index(CONTRIB, &packages)
        .index("main/i18n/Translation-en.xz", b"some words")
}

fn contrib() -> (Deb, Vec<u8>) {
    let deb = Deb::new("extra", "1").file("usr/bin/extra", b"more");
    let bytes = deb.build();
    (deb, bytes)
}

fn further(name: &str, suite: &str, deb: Deb) -> MiniArchive {
    MiniArchive { suite: suite.to_owned(), by_hash: true, ..MiniArchive::new(name, "13-updates") }.deb(deb)
}

impl World {
    /// With all the suites that an installation uses.
    fn new(archive: &MiniArchive) -> Self {
        let (folder, key) = (tempfile::tempdir().expect("a folder"), TestKey::new(1));
        let root = folder.path().join("archive");
        archive.write(&root.join("debian"), &key).expect("written");
        let updates = further("trixie-updates", "stable-updates", Deb::new("tzdata", "2026"));
        updates.write(&root.join("debian"), &key).expect("written");
        let security = further("trixie-security", "stable-security", Deb::new("openssl", "3"));
        security.write(&root.join("debian-security"), &key).expect("written");
        let path = root.join("debian").join(CONTRIB_DEB);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, contrib().1).expect("written");
        let server = FaultyServer::start(&root);
        let mirrors = ["debian", "debian-security"];
        let mirrors = mirrors.map(|id| Mirror::new(id, &format!("{}/{id}", server.url()).parse().expect("a URL")));
        let distro = Catalogue::embedded().distro("debian").expect("debian");
        let data = distro.release("13").expect("a release").clone();
        let release = Release::new(distro, &data, "standard", Arch::X86_64, mirrors.into()).expect("a release");
        let keyring = Keyring::load(&key.public(), &[]).expect("a keyring");
        Self { folder, key, server: Some(server), release, keyring, now: NOW, said: Mutex::default() }
    }

    fn server(&self) -> &FaultyServer {
        self.server.as_ref().expect("not taken down")
    }

    /// Root of the main archive on the disk.
    fn root(&self) -> PathBuf {
        self.folder.path().join("archive/debian")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("boot/debian13-x86_64/suites")
    }

    async fn try_take(&self, offline: bool) -> anyhow::Result<Suites> {
        let request = SuitesRequest {
            release: &self.release,
            keyring: &self.keyring,
            folder: &self.folder.path().join("boot"),
            client: &impatient_client(),
            offline,
            now: Timestamp::from_second(self.now)?,
        };
        Suites::take(&request, &|line| self.said.lock().expect("one thread").push(line.to_owned())).await
    }

    async fn take(&self) -> Suites {
        self.try_take(false).await.expect("suites")
    }

    async fn failure(&self, offline: bool) -> String {
        match self.try_take(offline).await {
            Ok(_) => panic!("it was taken"),
            Err(error) => format!("{error:#}"),
        }
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().expect("one thread"))
    }

    /// A run with these suites.
    fn house(&self, suites: Suites) -> House {
        let (on_served, served) = recorder();
        let ledger = Arc::new(SuiteLedger::new(suites.clone()));
        let mirrors = self.release.mirrors.clone();
        let folder = self.folder.path().join("mirror");
        House { suites, proxy: open_with(mirrors, ledger, impatient_client(), &folder, false, on_served), served }
    }

    async fn open(&self) -> House {
        let house = self.house(self.take().await);
        self.server().asked();
        house
    }

    /// A file of the main archive as it lies on its server.
    fn archived(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).expect("a file of the archive")
    }
}

impl House {
    async fn get(&self, path: &str) -> Got {
        receive(request(&self.proxy, Method::GET, &format!("debian/{path}"), &[]).await).await
    }

    /// The body of what must be there, and be verified.
    async fn verified(&mut self, path: &str) -> Vec<u8> {
        while self.served.try_recv().is_ok() {}
        let got = self.get(path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        let served = self.served.recv().await.expect("a report");
        assert!(served.verified && served.complete, "{path}: {served:?}");
        got.body.expect("no break")
    }

    async fn is_absent(&self, path: &str) {
        assert_eq!(self.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

/// Where an index is by its digest.
fn by_hash(path: &str, bytes: &[u8]) -> String {
    let (folder, _) = path.rsplit_once('/').expect("a folder");
    format!("{folder}/by-hash/SHA256/{}", crate::fetch::archive::sha256(bytes))
}
