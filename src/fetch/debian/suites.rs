//! The suites that an installation takes packages from, as one verified, dated set.
//!
//! A suite's metadata changes while machines install from it: several times a day for updates, at each point release for the
//! release itself. A run takes one state and serves that, whatever its mirror does since, until it takes another one.
//!
//! ```text
//! keyring ─ signature ─▶ InRelease            ─ sha256 ─▶ Packages, Translation, … ─ sha256 ─▶ .deb, .udeb
//! keyring ─ signature ─▶ Release, Release.gpg ─┘
//! ```
//!
//! debian-installer reads `Release` and its detached signature, debootstrap and APT read `InRelease`. The two are one text on
//! Debian's own mirrors. Where another trusted key signed the one than the other, each vouches for files of its own, and a
//! path has the content that the mirror has there when the run begins.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{packages, release_file::ReleaseFile, sums, table::Table};
use crate::{
    distro::Release,
    fetch::{Client, digest::Expected, keyring::Keyring, openpgp::Signed},
    model::Sha256Digest,
};

mod signed;
mod state;
mod taking;

use taking::{Taken, Taking};

/// What is to be taken, from where, and who is believed.
#[derive(Clone, Copy)]
pub struct SuitesRequest<'a> {
    /// The release whose suites are wanted.
    pub release: &'a Release,
    /// Who may sign their metadata.
    pub keyring: &'a Keyring,
    /// `<prefix>/boot`: they are kept in `<uid>/suites` below it. Processes take turns.
    pub folder: &'a Path,
    /// The client to fetch with.
    pub client: &'a Client,
    /// Use what was taken last, and ask nobody.
    pub offline: bool,
    /// Now: what keys, signatures and metadata are judged by.
    pub now: Timestamp,
}

/// A list of packages that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Id of the archive.
    pub mirror: String,
    /// The suite, by its folder below `dists/`: `trixie-updates`.
    pub suite: String,
    /// `main`.
    pub component: String,
    /// Debian's name of the architecture: `amd64`, or `all` where packages for all of them are listed apart.
    pub arch: String,
    /// It lists packages of the installer (udebs).
    pub installer: bool,
    /// Its name, whose end tells the compression: `Packages.xz`.
    pub name: String,
    /// Where it lies, as it was fetched, under the name of its digest.
    pub path: PathBuf,
}

/// What is known of a file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unknown,
    /// It has to be this.
    Content(Expected),
    /// It lies here, verified.
    Here(PathBuf),
    /// Its suite has no such file.
    Absent,
}

/// The suites of a run. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Suites(Arc<Inner>);

#[derive(Default)]
struct Inner {
    suites: Vec<Suite>,
    indexes: Vec<Index>,
    /// Packages by the archive they are in, in the order they became known.
    tables: RwLock<Vec<(String, Table)>>,
    /// The folders whose list of packages was read.
    ///
    /// Held while one is read, so that whoever asks for a list in another of its forms waits until its packages are known.
    read: Mutex<HashSet<String>>,
}

/// One suite, as its verified metadata has it.
struct Suite {
    /// Id of the archive.
    mirror: String,
    /// Its folder below `dists/`.
    name: String,
    /// Its other name: `stable`. Archives have a link of this name.
    alias: String,
    /// When its signed texts were fetched.
    taken: Timestamp,
    /// What was signed, `InRelease` first.
    texts: Vec<ReleaseFile>,
    /// The verdict over the first of them.
    signed: Option<Signed>,
    /// What each of its files has to be, by path below its folder. The signed files are among them.
    files: HashMap<String, Expected>,
    /// Files that lie here.
    here: HashMap<Sha256Digest, PathBuf>,
    /// Those, held as long as machines may ask for them: a later state, taken by another process, does not remove them.
    _in_use: Vec<File>,
}

impl Suites {
    /// Takes the state that is right today; `say` is given one line at a time.
    ///
    /// When the mirror cannot be reached, or is older than what was taken last, that is used again. Only the release's own suite
    /// has to be there: what nobody has, nothing is known of.
    ///
    /// # Errors
    /// Whatever does not verify; a mirror that cannot be reached (or `offline`) when no state was taken before.
    pub async fn take(request: &SuitesRequest<'_>, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let wanted = request.release.suites().context("naming the suites")?;
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let taking = Taking::new(request, say).await?;
        let each = wanted.iter().enumerate().map(|(number, suite)| taking.suite(suite, number == 0));
        let taken = try_join_all(each).await?;
        taking.keep(wanted.iter().zip(&taken))?;
        let (mut suites, mut indexes, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        for Taken { suite, lists, .. } in taken.into_iter().flatten() {
            for (index, table) in lists {
                tables.push((index.mirror.clone(), table));
                indexes.push(index);
            }
            suites.push(suite);
        }
        let read = indexes.iter().map(|index| place(&index.mirror, &index.suite, &index.folder())).collect();
        Ok(Self(Arc::new(Inner { suites, indexes, tables: RwLock::new(tables), read: Mutex::new(read) })))
    }

    /// The lists of packages that were read when the run began.
    pub fn indexes(&self) -> impl Iterator<Item = &Index> {
        self.0.indexes.iter()
    }

    /// What a suite's archive had signed at a moment, if it was taken at that moment and not before.
    pub(super) fn text(&self, mirror_id: &str, name: &str, now: Timestamp) -> Option<(ReleaseFile, Signed)> {
        let mut suites = self.0.suites.iter();
        let suite = suites.find(|suite| suite.mirror == mirror_id && suite.name == name && suite.taken == now)?;
        Some((suite.texts.first()?.clone(), suite.signed.clone()?))
    }

    /// Those that were taken before, because nothing newer could be learnt at this moment: their names, and when that was.
    pub fn older_than(&self, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        self.0.suites.iter().filter(move |suite| suite.taken < now).map(|suite| (suite.name.as_str(), suite.taken))
    }

    /// When the first of them stops being good, by what was signed: APT refuses it from then on.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.0.suites.iter().flat_map(|suite| &suite.texts).filter_map(|text| text.valid_until).min()
    }

    /// What the file at a path below an archive's root has to be, if that is known.
    pub fn find(&self, mirror_id: &str, path: &str) -> Option<Expected> {
        match self.0.place(mirror_id, path) {
            Some((suite, rest)) => suite.find(rest).or_else(|| self.0.packages(mirror_id, &suite.own(rest))),
            None => self.0.packages(mirror_id, path),
        }
    }

    /// What is known of the file at a path below an archive's root.
    pub fn look_up(&self, mirror_id: &str, path: &str) -> Standing {
        let content = |found: Option<Expected>| found.map_or(Standing::Unknown, Standing::Content);
        let Some((suite, rest)) = self.0.place(mirror_id, path) else {
            return content(self.0.packages(mirror_id, path));
        };
        match suite.find(rest) {
            Some(expected) => match suite.here.get(&expected.sha256) {
                Some(path) => Standing::Here(path.clone()),
                None => Standing::Content(expected),
            },
            // An index of an earlier state, which a machine wants that began before this run: its name vouches for it.
            None if by_hash(rest).is_some() => Standing::Unknown,
            // Listed by a SHA256SUMS that is listed.
            None if rest.split('/').any(|part| part.starts_with("installer-")) => {
                content(self.0.packages(mirror_id, &suite.own(rest)))
            }
            None => Standing::Absent,
        }
    }

    /// Takes from a list of packages or of the installer's images, which is right, what it says of their files. Blocks.
    ///
    /// Other files, and lists that were read before, are let alone.
    pub fn learn(&self, mirror_id: &str, path: &str, file: &File) {
        let Some((suite, rest)) = self.0.place(mirror_id, path) else { return };
        let Some((folder, name)) = suite.list(rest) else { return };
        let place = place(&suite.mirror, &suite.name, folder);
        let mut read = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.contains(&place) {
            return;
        }
        match list(&mut FromStart { file, at: 0 }, name, &suite.own(folder)) {
            Ok(table) => {
                tracing::debug!("{path} lists {} files", table.len());
                self.0.tables.write().unwrap_or_else(PoisonError::into_inner).push((suite.mirror.clone(), table));
                read.insert(place);
            }
            // The archive signed it all the same; what it lists stays unverified.
            Err(error) => tracing::warn!("reading {mirror_id}/{path}: {error:#}"),
        }
    }
}

/// Reads a list of this name, from the folder below the archive's root that it is in.
fn list(file: &mut dyn Read, name: &str, folder: &str) -> anyhow::Result<Table> {
    if name != SUMS {
        return packages::table(file, name);
    }
    let mut text = String::new();
    file.take(SUMS_LIMIT).read_to_string(&mut text)?;
    sums::table(&text, folder)
}

/// The list of the installer's images.
const SUMS: &str = "SHA256SUMS";
/// Debian's largest has 0.1 MB.
const SUMS_LIMIT: u64 = 8 << 20;

impl Inner {
    /// The suite that a path below an archive's root is in, and the path below the suite's folder.
    fn place<'p>(&self, mirror: &str, path: &'p str) -> Option<(&Suite, &'p str)> {
        let below = path.strip_prefix("dists/")?;
        let mut own = self.suites.iter().filter(|suite| suite.mirror == mirror);
        own.find_map(|suite| {
            let names = [&suite.name, &suite.alias];
            let rest = names.iter().find_map(|name| below.strip_prefix(name.as_str())?.strip_prefix('/'))?;
            Some((suite, rest))
        })
    }

    /// What a listed package has to be. Should two lists differ about one, the first that was read is right.
    fn packages(&self, mirror: &str, path: &str) -> Option<Expected> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.iter().filter(|(archive, _)| archive == mirror).find_map(|(_, table)| table.find(path))
    }
}

impl Suite {
    /// What a file of the suite has to be; `rest` is its path below the suite's folder.
    fn find(&self, rest: &str) -> Option<Expected> {
        let Some((folder, sha256)) = by_hash(rest) else { return self.files.get(rest).copied() };
        let listed = |text: &ReleaseFile| {
            let mut of_digest = text.files().filter(|(_, expected)| expected.sha256 == sha256);
            of_digest.find(|(path, _)| parent(path) == folder).map(|(_, expected)| expected)
        };
        self.texts.iter().find_map(listed)
    }

    /// Folder and name of the list of packages or images that a path below the suite's folder is, by name or by digest.
    fn list<'p>(&self, rest: &'p str) -> Option<(&'p str, &'static str)> {
        let names = || LISTS.iter().copied();
        let Some((folder, sha256)) = by_hash(rest) else {
            let (folder, name) = rest.rsplit_once('/')?;
            return names().find(|known| *known == name).map(|name| (folder, name));
        };
        let is = |name: &&str| {
            let path = format!("{folder}/{name}");
            self.texts.iter().any(|text| text.file(&path).is_some_and(|expected| expected.sha256 == sha256))
        };
        names().find(is).map(|name| (folder, name))
    }

    /// A path below the archive's root, whichever of the suite's names it was asked for by.
    fn own(&self, rest: &str) -> String {
        format!("dists/{}/{rest}", self.name)
    }
}

/// Lists whose files become known when they pass.
const LISTS: [&str; 5] = ["Packages.xz", "Packages.zst", "Packages.gz", "Packages", SUMS];

/// `<folder>/by-hash/SHA256/<digest>`, as APT's `Acquire-By-Hash` has it.
fn by_hash(rest: &str) -> Option<(&str, Sha256Digest)> {
    let (folder, digest) = rest.split_once("/by-hash/SHA256/")?;
    Some((folder, digest.parse().ok()?))
}

/// Names the folder of a list.
fn place(mirror: &str, suite: &str, folder: &str) -> String {
    format!("{mirror}/{suite}/{folder}")
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Index {
    /// Its folder below the suite's: `main/debian-installer/binary-amd64`.
    fn folder(&self) -> String {
        let Self { component, arch, installer, .. } = self;
        format!("{component}/{}binary-{arch}", if *installer { "debian-installer/" } else { "" })
    }
}

/// A file from its beginning, wherever its cursor is: others read it too.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
