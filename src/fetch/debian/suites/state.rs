//! What is kept of a state, and what it says.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Index, parent};
use crate::{
    distro,
    fetch::{debian::release_file::ReleaseFile, digest::Expected, manifest::Stamp},
    model::Sha256Digest,
};

/// `state.json`: what was taken last. Its files lie beside it under their digests, and are hashed again before they are used.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// By `<archive>/<suite>`; nothing where the archive did not have it.
    pub suites: BTreeMap<String, Option<Kept>>,
}

/// A suite as it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// When.
    pub taken: Timestamp,
    /// `InRelease`, where the archive has one.
    pub in_release: Option<Sha256Digest>,
    /// `Release` and `Release.gpg`.
    pub release: Option<(Sha256Digest, Sha256Digest)>,
    /// The signed texts: an older one by the same signer is not taken any more.
    pub stamps: Vec<Stamp>,
    /// Lists of packages by their path below the suite's folder.
    pub lists: BTreeMap<String, Sha256Digest>,
}

impl Kept {
    /// All of its files.
    pub fn digests(&self) -> impl Iterator<Item = Sha256Digest> {
        let pair = self.release.into_iter().flat_map(|(release, signature)| [release, signature]);
        self.in_release.into_iter().chain(pair).chain(self.lists.values().copied())
    }
}

impl State {
    /// The state that stands in a file; none if that cannot be understood.
    pub fn of(path: &Path) -> Option<Self> {
        let damaged = |error: &_| tracing::warn!("{} is damaged and ignored: {error}", path.display());
        serde_json::from_slice(&fs::read(path).ok()?).inspect_err(damaged).ok()
    }
}

/// What each listed file has to be. Where two texts differ about one, the text is right whose list of packages the mirror has in
/// the same folder, else `InRelease`.
pub fn chosen(texts: &[ReleaseFile], lists: &BTreeMap<String, Sha256Digest>) -> HashMap<String, Expected> {
    let mut files = HashMap::new();
    for text in texts {
        let has = |path: &str, sha256| text.file(path).is_some_and(|expected| expected.sha256 == sha256);
        let theirs = lists.iter().filter(|(path, sha256)| has(path, **sha256));
        let folders: Vec<_> = theirs.map(|(path, _)| parent(path)).collect();
        for (path, expected) in text.files() {
            if !files.contains_key(path) || folders.contains(&parent(path)) {
                files.insert(path.to_owned(), expected);
            }
        }
    }
    files
}

/// The list of packages at a path below a suite's folder: `<component>/[debian-installer/]binary-<arch>/<name>`.
pub fn index(wanted: &distro::Suite<'_>, path: &str, file: PathBuf) -> Option<Index> {
    let (folder, name) = path.rsplit_once('/')?;
    let (before, arch) = folder.rsplit_once("/binary-")?;
    let (component, installer) = match before.strip_suffix("/debian-installer") {
        Some(component) => (component, true),
        None => (before, false),
    };
    let [suite, component, arch, name] = [&wanted.name, component, arch, name].map(str::to_owned);
    Some(Index { mirror: wanted.mirror.id.clone(), suite, component, arch, installer, name, path: file })
}

/// A suite's name in a [`State`].
pub fn key(wanted: &distro::Suite<'_>) -> String {
    format!("{}/{}", wanted.mirror.id, wanted.name)
}
