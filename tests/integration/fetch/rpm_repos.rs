//! Fedora's kind of archive: discovery, the choice of a mirror, and verified states of repositories.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use jiff::Timestamp;
use provisioner::{
    distro::{Distro, Mirror, Repo},
    fetch::{Client, Expected, Keyring, Question, Snapshot, SnapshotRequest, Sources, client, discover},
    model::{Arch, Hinted},
};

use super::archive::{Fault, FaultyServer, NOW, TestKey};

#[path = "../../fixtures/rpm/mod.rs"]
pub mod upstream;

use upstream::{Rpm, Written, add_group, image, metalink, put, repository, sha256};

mod discovery;
mod installation;
mod real_repository;
mod snapshots;

const MAIN: &str = "releases/44/Everything/x86_64/os";
const RELEASES: &str = "/releases.json";

const SHIM: Rpm = Rpm { name: "shim-x64", version: "16.1", bytes: b"a shim" };
const OLD_SHIM: Rpm = Rpm { name: "shim-x64", version: "15.8", bytes: b"an old shim" };
const GRUB: Rpm = Rpm { name: "grub2-efi-x64", version: "2.12", bytes: b"a grub" };

/// Servers of a family, all of them one: the master, its list of releases, its mirror manager, and three mirrors.
struct World {
    folder: tempfile::TempDir,
    server: FaultyServer,
    distro: Arc<Distro>,
    keyring: Keyring,
    client: Client,
    main: Written,
    said: Mutex<Vec<String>>,
}

impl World {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("www");
        let images = [image("45 Beta", "1.2"), image("44", "1.7"), image("43", "1.6")];
        put(&root.join("releases.json"), format!("[{}]", images.join(",")).as_bytes());
        let mut main = None;
        for mirror in ["master", "one", "two"] {
            main = Some(repository(&root.join(mirror).join(MAIN), &[OLD_SHIM, SHIM, GRUB]));
        }
        let main = main.context("written")?;
        repository(&root.join("stale").join(MAIN), &[OLD_SHIM]);
        let server = FaultyServer::start(&root);
        let distro = upstream::distro(&server.url());
        let keyring = Keyring::load(&TestKey::new(1).public(), &[])?;
        let world = Self { folder, server, distro, keyring, client: client()?, main, said: Mutex::default() };
        world.names(&[&world.main.repomd], &["stale", "one", "two"]);
        Ok(world)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("www")
    }

    fn prefix(&self) -> PathBuf {
        self.folder.path().join("prefix")
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.server.url())
    }

    /// Lets the metalink name these states and mirrors.
    fn names(&self, states: &[&(usize, String)], mirrors: &[&str]) {
        let urls: Vec<_> =
            mirrors.iter().map(|mirror| self.url(&format!("{mirror}/{MAIN}/repodata/repomd.xml"))).collect();
        put(&self.root().join("metalink/testora-44-x86_64"), metalink(states, &urls).as_bytes());
    }

    async fn discover(&self, version: Option<&str>) -> anyhow::Result<Sources> {
        self.ask(version, None, false).await
    }

    async fn ask(&self, version: Option<&str>, mirror: Option<&str>, offline: bool) -> anyhow::Result<Sources> {
        let question = Question {
            distro: &self.distro,
            mirror: mirror.map(str::parse).transpose()?,
            version,
            flavour: "Workstation",
            arch: Arch::X86_64,
            prefix: &self.prefix(),
            remember: true,
            offline,
            now: Timestamp::from_second(NOW)?,
        };
        discover(&question, &self.keyring, &self.client).await
    }

    /// The main archive, at these mirrors; the last are alternates.
    fn mirror(&self, mirrors: &[&str]) -> anyhow::Result<Mirror> {
        let urls = mirrors.iter().map(|mirror| Ok(self.url(mirror).parse()?));
        let mut urls = urls.collect::<anyhow::Result<Vec<_>>>()?;
        let mut mirror = Mirror::new("testora", &urls.remove(0));
        mirror.alternates = urls;
        Ok(mirror)
    }

    fn repo(&self) -> anyhow::Result<Repo> {
        let metalink = Some(self.url("metalink/testora-44-x86_64").parse()?);
        Ok(Repo { id: "testora".into(), path: MAIN.into(), public_path: MAIN.into(), metalink })
    }

    async fn take(&self, repo: &Repo, mirrors: &[&str], offline: bool) -> anyhow::Result<Snapshot> {
        self.take_from(repo, &self.mirror(mirrors)?, offline).await
    }

    async fn take_from(&self, repo: &Repo, mirror: &Mirror, offline: bool) -> anyhow::Result<Snapshot> {
        let request = SnapshotRequest {
            repo,
            mirror,
            master: &self.distro.archive.mirror,
            folder: &self.folder.path().join("repos"),
            client: &self.client,
            offline,
            now: Timestamp::from_second(NOW)?,
        };
        Snapshot::take(&request, &|line| self.said.lock().expect("one thread").push(line.to_owned())).await
    }

    async fn snapshot(&self, mirrors: &[&str]) -> anyhow::Result<Snapshot> {
        self.take(&self.repo()?, mirrors, false).await
    }

    /// Makes the state that is kept one that came over https: these servers have no certificate.
    fn as_over_https(&self) -> anyhow::Result<()> {
        let state = self.folder.path().join("repos/testora/state.json");
        let trusted = std::fs::read_to_string(&state)?.replace("\"nobody\"", "\"metalink\"");
        Ok(std::fs::write(&state, trusted)?)
    }

    /// The error of [`World::snapshot`], as a user reads it.
    async fn failure(&self, mirrors: &[&str]) -> anyhow::Result<String> {
        let error = self.snapshot(mirrors).await.err().context("it must be refused")?;
        Ok(format!("{error:#}"))
    }

    /// What was said, but for what is being fetched.
    fn said(&self) -> Vec<String> {
        let said = std::mem::take(&mut *self.said.lock().expect("one thread"));
        said.into_iter().filter(|line| !line.starts_with("fetching ")).collect()
    }
}

fn expected(rpm: &Rpm) -> Option<Expected> {
    let sha256 = sha256(rpm.bytes).parse().expect("a digest");
    Some(Expected { size: Some(rpm.bytes.len() as u64), sha256 })
}

/// Changes the last byte of a file.
fn flip(path: &Path) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path)?;
    *bytes.last_mut().context("an empty file")? ^= 1;
    Ok(std::fs::write(path, bytes)?)
}
