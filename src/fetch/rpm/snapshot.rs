//! One state of a repository, verified.
//!
//! Repositories of updates change while machines install from them: what `repomd.xml` named an hour ago is gone. A run takes
//! one state and serves that, whatever its upstream does since, until it takes another one.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

pub use super::primary::RpmEntry;
use super::{primary::Primary, repomd::Listed};
use crate::{
    distro::{Mirror, Repo, address::shown},
    fetch::{Client, digest::Expected, download::DownloadError, openpgp::day},
    model::{Hinted, Sha256Digest},
};

mod taking;

use taking::{Behind, Taking};

/// What is to be taken, from where.
pub struct SnapshotRequest<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The archive it is in; its alternates are asked for what it does not have.
    pub mirror: &'a Mirror,
    /// The distributor's own server, as [`crate::distro::Release::public_mirrors`] has it: what vouches for a state where there
    /// is no metalink.
    pub master: &'a Url,
    /// Where repositories are kept, such as `<prefix>/boot/<uid>/repos`. Processes take turns at each.
    pub folder: &'a Path,
    /// The client to fetch with.
    pub client: &'a Client,
    /// Use what was taken last, and ask nobody.
    pub offline: bool,
    /// Now.
    pub now: Timestamp,
}

/// What says that a state is the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Voucher {
    /// The mirror manager's metalink, over https.
    Metalink(Url),
    /// The distributor's own server, over https.
    Master(Url),
    /// The directory that the operator named.
    Directory(Url),
    /// Nothing but the mirror itself, or the way it came.
    Nobody(Url),
}

impl Voucher {
    /// Whether somebody besides the mirror said so, over a way that TLS protects, or nobody could have come between.
    pub fn is_trusted(&self) -> bool {
        !matches!(self, Self::Nobody(_))
    }

    /// SECURITY: what came over plain http is worth nobody's word, whoever was asked.
    fn over(url: &Url, trusted: fn(Url) -> Self) -> Self {
        if url.scheme() == "https" { trusted(url.clone()) } else { Self::Nobody(url.clone()) }
    }
}

impl fmt::Display for Voucher {
    /// Follows "vouched for by".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metalink(url) => write!(f, "the metalink {url}"),
            Self::Master(url) => write!(f, "{url}"),
            Self::Directory(url) => write!(f, "the directory {} that you named", shown(url)),
            Self::Nobody(url) => write!(f, "nobody: {url} is not vouched for over https"),
        }
    }
}

/// A verified state of a repository. Clones are the same one.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    state: State,
    repomd: PathBuf,
    /// Held shared as long as machines may ask for it: a later state, taken by another process, does not remove it.
    _in_use: Option<File>,
    metadata: HashMap<String, Expected>,
    /// Paths of those that machines read.
    read: Vec<String>,
    primary: Primary,
    /// What there is to resolve an installation with: files on the disk, and what `repomd.xml` says of them.
    primary_file: (PathBuf, Listed),
    groups_file: Option<(PathBuf, Listed)>,
}

/// `state.json`: what was taken last. Its files lie beside it under their digests, and are hashed again before they are used.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    taken: Timestamp,
    voucher: Voucher,
    repomd: Sha256Digest,
    primary: Sha256Digest,
    /// The list of groups, where the repository has one. States taken by earlier versions lack it.
    #[serde(default)]
    groups: Option<Sha256Digest>,
}

impl State {
    fn files(&self) -> impl Iterator<Item = Sha256Digest> {
        [self.repomd, self.primary].into_iter().chain(self.groups)
    }
}

impl Snapshot {
    /// Takes the state that is right today; `say` is given one line at a time.
    ///
    /// When nobody can say what is right, or nobody has it, the state that was taken last is used again. So it is when mirrors
    /// have another one than the right one, if it was vouched for: then they lag behind, as a rule.
    ///
    /// # Errors
    /// Whatever does not verify; servers that cannot be reached or lag behind (or `offline`) when none was taken before.
    pub async fn take(request: &SnapshotRequest<'_>, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let taking = Taking::new(request, say).await?;
        let id = &request.repo.id;
        if request.offline {
            return taking.kept().await.with_context(|| format!("reading the kept state of {id}"))?.ok_or_else(|| {
                let what = format!("no state of the repository {id} was kept in {}", taking.folder.display());
                Hinted::new(what, "run once without --offline to fetch it").into()
            });
        }
        let error = match taking.fresh().await {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => error,
        };
        let what = format!("taking the state of the repository {id}");
        let passing =
            matches!(error.downcast_ref(), Some(DownloadError::Unreachable { .. } | DownloadError::Gone { .. }));
        let behind = error.is::<Behind>();
        match taking.kept().await {
            Ok(Some(kept)) if passing || (behind && kept.vouched().is_trusted()) => {
                let why = if behind { "the mirror is behind, or altered: " } else { "" };
                say(&format!("using the state of {id} of {}: {why}{what}: {error:#}", day(&kept.taken())));
                Ok(kept)
            }
            _ if behind => {
                let hint =
                    "most likely the mirror is behind: wait until it is synchronized, or take another one (--mirror)";
                Err(error.context(Hinted::new(what, hint)))
            }
            _ => Err(error.context(what)),
        }
    }

    /// What a file of the repository has to be: metadata that `repomd.xml` lists, packages that `primary.xml` lists.
    pub fn find(&self, path_below_repo: &str) -> Option<Expected> {
        let package = || self.0.primary.find(path_below_repo).map(|entry| entry.expected);
        self.0.metadata.get(path_below_repo).copied().or_else(package)
    }

    /// The newest version of a package.
    pub fn package(&self, name: &str, arch: &str) -> Option<&RpmEntry> {
        self.0.primary.newest(name, arch)
    }

    /// All packages, in the order of their paths.
    pub fn packages(&self) -> &[RpmEntry] {
        self.0.primary.entries()
    }

    /// Metadata that lie here, verified, by their path below the repository.
    pub fn here(&self, path_below_repo: &str) -> Option<&Path> {
        if path_below_repo == "repodata/repomd.xml" {
            return Some(&self.0.repomd);
        }
        let lists = std::iter::once(&self.0.primary_file).chain(&self.0.groups_file);
        lists
            .map(|(path, listed)| (path.as_path(), listed))
            .find_map(|(path, listed)| (listed.path == path_below_repo).then_some(path))
    }

    /// Paths below the repository of the metadata that machines read: upstream drops them when it moves on, so they have to be
    /// here before that.
    pub fn read_by_machines(&self) -> &[String] {
        &self.0.read
    }

    /// The verified `primary.xml` on the disk, and what it is listed as.
    pub(super) fn primary_file(&self) -> (&Path, &Listed) {
        let (path, listed) = &self.0.primary_file;
        (path, listed)
    }

    /// The verified list of groups on the disk, and what it is listed as; `None` where the repository has none.
    pub(super) fn groups_file(&self) -> Option<(&Path, &Listed)> {
        self.0.groups_file.as_ref().map(|(path, listed)| (path.as_path(), listed))
    }

    /// Who says that this state is right: what is not verified has to be named to the operator.
    pub fn vouched(&self) -> &Voucher {
        &self.0.state.voucher
    }

    /// When it was taken.
    pub fn taken(&self) -> Timestamp {
        self.0.state.taken
    }
}
