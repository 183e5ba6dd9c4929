//! What the cache needs of an archive, whichever kind it is.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

use jiff::Timestamp;
use url::Url;

use super::{
    boot_set::Request,
    debian::{DebianArchive, SUITES},
    digest::Expected,
    level::Level,
    manifest::Stamp,
    openpgp::day,
    rpm::InstallTree,
    store::Store,
};
use crate::{
    distro::{Source, address::shown},
    model::Sha256Digest,
};

/// One mirror of an archive during one run: its metadata is fetched and verified once.
pub enum Archive<'a> {
    /// A signed `InRelease` and what it lists.
    Debian(Box<DebianArchive<'a>>),
    /// An install tree and repositories of RPMs.
    Tree(Box<InstallTree<'a>>),
}

/// Where a source is and what it has to be.
#[derive(Debug, Clone)]
pub struct Located {
    /// Its addresses, best first. There is one unless its digest is known.
    pub urls: Vec<Url>,
    /// What lies there.
    pub content: Content,
    /// What lists it.
    pub listing: Listing,
    /// Name for progress messages.
    pub name: String,
    /// Where it comes from, for people.
    pub origin: String,
}

/// What lies at an address.
#[derive(Debug, Clone)]
pub enum Content {
    /// The file that is wanted, which has to be this.
    Listed(Expected),
    /// The file that is wanted; nothing but the address vouches for it.
    Unlisted,
    /// Something that holds the file that is wanted, under this path.
    Inside(Container, Expected, String),
}

/// What holds files. In the order they are fetched: an image is the largest, so what else may be missing is found out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Container {
    /// A package.
    Package,
    /// An installation image.
    Image,
}

/// What lists a source: as long as that is the same, what was fetched is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Its digest.
    pub index_sha256: Sha256Digest,
    /// What vouches for it.
    pub level: Level,
}

/// A file to take out of a container.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Path inside, without the leading slash. Symbolic links of packages are followed.
    pub path: String,
    /// The file that is written.
    pub to: PathBuf,
}

/// Length and digest of each file that was taken out of a container, and where they come from, for people.
pub type Unpacked = (Vec<(u64, Sha256Digest)>, String);

/// The mirror's metadata is older than what was verified here before: it lags behind, or somebody plays an old state back.
#[derive(Debug, thiserror::Error)]
#[error("{what} on {} is of {}, older than that of {} which was verified here before", shown(.mirror), day(.offered), day(.known))]
pub struct Outdated {
    /// `the metadata of trixie`.
    pub what: String,
    /// Where it was found.
    pub mirror: Url,
    /// When that was signed.
    pub offered: Timestamp,
    /// When the one was signed that was verified before.
    pub known: Timestamp,
}

/// Metadata that are older than they say they are good for.
#[derive(Debug, thiserror::Error)]
#[error("{address} was valid until {}: the mirror is not up to date", day(.until))]
pub struct Expired {
    /// Where they were found.
    pub address: String,
    /// `Valid-Until`.
    pub until: Timestamp,
}

impl<'a> Archive<'a> {
    /// The main archive of the release. `known` is its signed metadata as it was last verified.
    pub fn new(
        request: &Request<'a>,
        store: &Store,
        known: BTreeMap<String, Stamp>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Self {
        match &request.release.tree {
            Some(tree) => Self::Tree(Box::new(InstallTree::new(request, tree, known, say))),
            None => {
                let kept = Store::at(request.folder.join(request.release.uid()).join(SUITES));
                Self::Debian(Box::new(DebianArchive::new(request, (store.clone(), kept), known)))
            }
        }
    }

    /// What lists `source`; `None` when this archive does not have it.
    pub async fn listing(&mut self, source: &Source) -> anyhow::Result<Option<Listing>> {
        match self {
            Self::Debian(archive) => archive.listing(source).await,
            Self::Tree(tree) => tree.listing(source).await,
        }
    }

    /// Where `source` is; `None` when this archive does not have it.
    pub async fn locate(&mut self, source: &Source) -> anyhow::Result<Option<Located>> {
        match self {
            Self::Debian(archive) => archive.locate(source).await,
            Self::Tree(tree) => tree.locate(source).await,
        }
    }

    /// Takes files out of a container that was fetched to `path` and is what was listed.
    pub async fn unpack(
        &self,
        container: Container,
        located: &Located,
        path: PathBuf,
        wanted: Vec<Wanted>,
    ) -> anyhow::Result<Unpacked> {
        match self {
            Self::Debian(archive) => archive.unpack(located, path, wanted).await,
            Self::Tree(tree) => tree.unpack(container, located, path, wanted).await,
        }
    }

    /// The signed metadata of this run, for the manifest.
    pub fn stamps(&self) -> BTreeMap<String, Stamp> {
        match self {
            Self::Debian(archive) => archive.stamps(),
            Self::Tree(tree) => tree.stamps(),
        }
    }

    /// Digests of what is worth keeping in the store for the next run.
    pub fn digests(&self) -> HashSet<Sha256Digest> {
        match self {
            Self::Debian(archive) => archive.digests(),
            // Its indexes are small files, and the image would be everything once more.
            Self::Tree(_) => HashSet::new(),
        }
    }

    /// What vouches for the release, for people.
    pub fn provenance(&self) -> String {
        match self {
            Self::Debian(archive) => archive.provenance(),
            Self::Tree(tree) => tree.provenance(),
        }
    }
}
