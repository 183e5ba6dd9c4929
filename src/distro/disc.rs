use std::collections::{BTreeMap, BTreeSet};

use super::{Loader, Release, Repo, Source};

/// An installation disc of Fedora's family: the install tree is its root, and it has some of the repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disc {
    /// The folders of its repositories, by their ids; the root is the empty one.
    pub repos: BTreeMap<String, String>,
    /// Packages with boot loaders that it does not have: the repository's id and the name.
    pub lacks: BTreeSet<(String, String)>,
}

impl Loader {
    /// Whether a disc has none of the sources of one of its files.
    pub fn is_lacking(&self, disc: &Disc) -> bool {
        let lacks = |source: &Source| match source {
            Source::Rpm { repo, package, .. } => disc.lacks.contains(&(repo.clone(), package.clone())),
            _ => false,
        };
        self.files.iter().any(|file| file.sources.iter().all(lacks))
    }
}

impl Release {
    /// The release as a disc has it: without a signed list of images, with the repositories and boot loaders that are there.
    pub(super) fn on_disc(mut self, disc: &Disc) -> Self {
        self.loaders.retain(|loader| !loader.is_lacking(disc));
        let found = |repo: Repo| disc.repos.get(&repo.id).map(|path| Repo { path: path.clone(), ..repo });
        let repos = self.repos.into_iter().filter_map(found).collect();
        Self { tree: self.tree.map(|_| String::new()), checksum: None, repos, ..self }
    }
}
