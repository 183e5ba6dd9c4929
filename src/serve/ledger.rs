//! What the mirror is told of the archives' files: what is served from this machine, what upstream has to send, what is never
//! served.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    fetch::{BootSet, Snapshot},
    mirror::{Known, Ledger},
};

mod suites;

pub use suites::SuiteLedger;

/// The files of an install tree and its repositories, as they were taken together.
pub struct RunLedger {
    /// Id of the main archive: of the others nothing is known.
    archive: String,
    /// The install tree below it.
    tree: String,
    /// Verified files of the tree, by path below the archive.
    files: BTreeMap<String, PathBuf>,
    /// Whose files these are: as long as it lives, so do they.
    _set: Option<BootSet>,
    /// Repositories as they were when they were last looked at, by their folder below the archive.
    repos: Vec<(String, Snapshot)>,
}

/// SECURITY: dracut and Anaconda look for `images/updates.img` and `images/product.img` and run what is in them as root.
const OUTSIDE: &str = "nothing vouches for this file of the install tree";
const UNLISTED: &str = "the repository's metadata of this run does not list it";

impl RunLedger {
    /// An empty ledger for the install tree at `tree` of an archive.
    pub fn new(archive: &str, tree: &str) -> Self {
        Self {
            archive: archive.to_owned(),
            tree: tree.to_owned(),
            files: BTreeMap::new(),
            _set: None,
            repos: Vec::new(),
        }
    }

    /// Verified bytes for a path below the archive.
    pub fn add_file(&mut self, path: String, file: PathBuf) {
        self.files.insert(path, file);
    }

    /// The files that were added are of this set.
    pub fn hold(&mut self, set: BootSet) {
        self._set = Some(set);
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
            Some((rest, repo)) => match repo.here(rest) {
                Some(file) => Known::Here(file.to_owned()),
                None => repo.find(rest).map_or(Known::Refused(UNLISTED), Known::Content),
            },
            None if below(path, &self.tree).is_some() => Known::Refused(OUTSIDE),
            None => Known::Nothing,
        }
    }
}

/// `path` below `folder`, if it is. Everything is below the empty folder, the root.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_tree_is_what_was_verified_and_nothing_else() {
        let mut ledger = RunLedger::new("fedora", "releases/44/Server/x86_64/os");
        let install = "releases/44/Server/x86_64/os/images/install.img";
        ledger.add_file(install.to_owned(), PathBuf::from("/cache/install.img"));
        assert_eq!(ledger.look_up("fedora", install), Known::Here("/cache/install.img".into()));
        for path in ["images/updates.img", "images/product.img", "images/evil.img", ".treeinfo"] {
            let path = format!("releases/44/Server/x86_64/os/{path}");
            assert_eq!(ledger.look_up("fedora", &path), Known::Refused(OUTSIDE), "{path}");
        }
        // Another folder whose name begins the same, another part of the archive, another archive.
        for (archive, path) in
            [("fedora", "releases/44/Server/x86_64/oscar/x"), ("fedora", "updates/x"), ("debian", install)]
        {
            assert_eq!(ledger.look_up(archive, path), Known::Nothing, "{archive}/{path}");
        }
    }

    #[test]
    fn of_a_disc_all_is_install_tree() {
        let mut ledger = RunLedger::new("fedora", "");
        ledger.add_file("images/install.img".to_owned(), PathBuf::from("/cache/install.img"));
        assert_eq!(ledger.look_up("fedora", "images/install.img"), Known::Here("/cache/install.img".into()));
        for path in ["images/updates.img", "media.repo", "Packages/x.rpm"] {
            assert_eq!(ledger.look_up("fedora", path), Known::Refused(OUTSIDE), "{path}");
        }
    }
}
