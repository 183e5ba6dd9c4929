use std::{fs::File, path::PathBuf};

use crate::model::Expected;

/// What is known of a file of an archive before upstream is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is as upstream sends it, and served as unverified, unless its name promises a digest.
    Nothing,
    /// Its content. Nothing else is served, whoever sends it.
    Content(Expected),
    /// Verified bytes on this machine, which are served in place of upstream's: boot files of the install tree, the
    /// `repomd.xml` of this run. The file is replaced by rename only.
    Here(PathBuf),
    /// It is never served, with the reason. A 404 to clients, which is how an installer is told that an archive has no such file.
    ///
    /// SECURITY: nothing vouches for `images/updates.img` and `images/product.img` of an install tree, and Anaconda runs what is
    /// in them as root. A package that its repository's metadata does not list is no package of that repository.
    Refused(&'static str),
}

/// What verified metadata says of the files of the archives.
pub trait Ledger: Send + Sync {
    /// What is known of the file at `path` below the root of an archive; the path is normalised and decoded. Does not block.
    fn look_up(&self, mirror_id: &str, path: &str) -> Known;

    /// Takes from a file, whose content was known and is right, what it says of further ones: a `Packages` of its packages.
    /// Called on a thread that may block, for every such file that a run uses and before a client has all of it.
    fn learn(&self, _mirror_id: &str, _path: &str, _file: &File) {}
}

/// The ledger of archives whose installers check every file themselves, as APT does: nothing is written in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlisted;

impl Ledger for Unlisted {
    fn look_up(&self, _: &str, _: &str) -> Known {
        Known::Nothing
    }
}
