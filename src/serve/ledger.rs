//! What the mirror is told of this run's files: what is served from this machine, what upstream has to send, what is never
//! served.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    fetch::Snapshot,
    mirror::{Known, Ledger},
};

/// The files of one run's install tree and repositories.
pub struct RunLedger {
    /// Id of the main archive: of the others nothing is known.
    archive: String,
    /// The install tree below it.
    tree: String,
    /// Verified files of the tree, by path below the archive.
    files: BTreeMap<String, PathBuf>,
    /// Repositories as they were when this run began, by their folder below the archive.
    repos: Vec<(String, Snapshot)>,
}

/// SECURITY: dracut and Anaconda look for `images/updates.img` and `images/product.img` and run what is in them as root.
const OUTSIDE: &str = "nothing vouches for this file of the install tree";
const UNLISTED: &str = "the repository's metadata of this run does not list it";

impl RunLedger {
    /// An empty ledger for the install tree at `tree` of an archive.
    pub fn new(archive: &str, tree: &str) -> Self {
        Self { archive: archive.to_owned(), tree: tree.to_owned(), files: BTreeMap::new(), repos: Vec::new() }
    }

    /// Verified bytes for a path below the archive.
    pub fn add_file(&mut self, path: String, file: PathBuf) {
        self.files.insert(path, file);
    }

    /// The state of the repository in a folder below the archive.
    pub fn add_repo(&mut self, folder: &str, snapshot: Snapshot) {
        self.repos.push((folder.to_owned(), snapshot));
    }
}

impl Ledger for RunLedger {
    fn look_up(&self, mirror: &str, path: &str) -> Known {
        if mirror != self.archive {
            return Known::Nothing;
        }
        if let Some(file) = self.files.get(path) {
            return Known::Here(file.clone());
        }
        // A repository may lie below another one's folder.
        let repos = self.repos.iter().filter_map(|(folder, repo)| Some((below(path, folder)?, repo)));
        match repos.min_by_key(|(rest, _)| rest.len()) {
            Some(("repodata/repomd.xml", repo)) => Known::Here(repo.repomd().to_owned()),
            Some((rest, repo)) => repo.find(rest).map_or(Known::Refused(UNLISTED), Known::Content),
            None if below(path, &self.tree).is_some() => Known::Refused(OUTSIDE),
            None => Known::Nothing,
        }
    }
}

/// `path` below `folder`, if it is.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}
