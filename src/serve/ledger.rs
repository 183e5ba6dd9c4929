//! What the mirror is told of this run's files: what is served from this machine, what upstream has to send, what is never
//! served.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    fetch::Snapshot,
    mirror::{Known, Ledger},
};

/// The files of one run's main archive.
#[derive(Debug, Default)]
pub struct RunLedger {
    /// Id of the main archive: of the others nothing is known.
    archive: String,
    /// The install tree below it.
    tree: Option<String>,
    /// Verified files of the tree, by path below the archive.
    files: BTreeMap<String, PathBuf>,
    /// Repositories by folder below the archive, as they were when this run began.
    repos: BTreeMap<String, Snapshot>,
}

impl Ledger for RunLedger {
    fn look_up(&self, mirror: &str, path: &str) -> Known {
        if mirror != self.archive {
            return Known::Nothing;
        }
        if let Some(file) = self.files.get(path) {
            return Known::Here(file.clone());
        }
        let repo = self.repos.iter().filter_map(|(folder, repo)| Some((below(path, folder)?, repo)));
        if let Some((rest, repo)) = repo.min_by_key(|(rest, _)| rest.len()) {
            return in_repo(rest, repo, self.tree.as_deref().is_some_and(|tree| below(path, tree).is_some()));
        }
        match &self.tree {
            Some(tree) if below(path, tree).is_some() => Known::Refused(OUTSIDE),
            _ => Known::Nothing,
        }
    }
}

/// SECURITY: dracut and Anaconda look for `images/updates.img` and `images/product.img` and run what is in them.
const OUTSIDE: &str = "nothing vouches for this file of the install tree";
const UNLISTED: &str = "the repository's metadata of this run does not list it";

fn in_repo(path: &str, repo: &Snapshot, in_tree: bool) -> Known {
    if path == "repodata/repomd.xml" {
        return Known::Here(repo.repomd().to_owned());
    }
    match repo.find(path) {
        Some(expected) => Known::Content(expected),
        None if path.starts_with("repodata/") || path.ends_with(".rpm") => Known::Refused(UNLISTED),
        None if in_tree => Known::Refused(OUTSIDE),
        None => Known::Nothing,
    }
}

/// `path` below `folder`, if it is.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}
