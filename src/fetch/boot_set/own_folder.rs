use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::fetch::lock;

/// What the folders of all runs are in, below a set's folder.
pub const OWN_FOLDERS: &str = ".in-use";

/// A folder in which one run has the files of its set, as hard links: whoever brings the set up to date gives its names to other
/// files, and a machine that has loaded the kernel still gets the initrd that belongs to it. Gone when dropped.
#[derive(Debug)]
pub struct OwnFolder {
    path: PathBuf,
    /// Nobody removes it while this is locked.
    _in_use: Option<File>,
}

impl OwnFolder {
    /// Makes one in the folder of a set, which nobody else changes meanwhile. Those that killed runs have left are removed.
    pub fn make(set: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let all = set.join(OWN_FOLDERS);
        fs::create_dir_all(&all)?;
        for entry in fs::read_dir(&all)? {
            let path = entry?.path();
            if !lock::is_in_use(&path)? {
                fs::remove_dir_all(&path)?;
            }
        }
        loop {
            let path = all.join(format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { _in_use: lock::in_use(&path), path }),
                // Another process with our number, of another PID namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a file a name in it too.
    pub fn link(&self, file: &Path, name: &str) -> io::Result<PathBuf> {
        let own = self.path.join(name);
        fs::hard_link(file, &own)?;
        Ok(own)
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_what_it_was_until_its_run_ends() {
        let set = tempfile::tempdir().expect("a folder");
        let (kernel, next) = (set.path().join("linux"), set.path().join("linux.part"));
        fs::write(&kernel, "first").expect("written");
        let first = OwnFolder::make(set.path()).expect("a folder");
        let own = first.link(&kernel, "linux").expect("linked");
        fs::write(&next, "second").expect("written");
        fs::rename(&next, &kernel).expect("replaced");
        let second = OwnFolder::make(set.path()).expect("a folder");
        let newer = second.link(&kernel, "linux").expect("linked");
        let content = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!((content(&own), content(&newer)), ("first".to_owned(), "second".to_owned()));
        drop(first);
        assert!(!own.exists() && newer.exists() && kernel.exists());
    }

    #[test]
    fn what_a_killed_run_has_left_is_removed() {
        let set = tempfile::tempdir().expect("a folder");
        let left = set.path().join(OWN_FOLDERS).join("1-0");
        fs::create_dir_all(&left).expect("a folder");
        fs::write(left.join("linux"), "old").expect("written");
        let _own = OwnFolder::make(set.path()).expect("a folder");
        assert!(!left.exists());
    }
}
