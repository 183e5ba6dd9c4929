use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use super::layout::{Body, Layout};
use crate::model::{Intent, Removal};

impl Layout {
    /// Removes a body that nobody uses, and its sidecar. Blocks for moments.
    ///
    /// Whoever reads a body holds a shared lock on it as long as it is open, so that one who gets it alone is alone.
    pub fn evict(&self, body: &Body, intent: Intent) -> io::Result<Removal> {
        self.alone(body, |path| {
            // To be written to, which is never done: over NFS only such a file can be locked for oneself.
            let file = File::options().read(true).write(true).open(path)?;
            match file.try_lock() {
                Ok(()) if intent == Intent::Remove => self.remove(body).map(|()| Removal::Done),
                Ok(()) => Ok(Removal::Done),
                Err(TryLockError::WouldBlock) => Ok(Removal::InUse),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })
    }

    /// Removes a body whoever reads it, and its sidecar: it is damaged. Its readers keep what they have opened.
    pub fn discard(&self, body: &Body) -> io::Result<Removal> {
        self.alone(body, |_| self.remove(body).map(|()| Removal::Done))
    }

    /// Acts on a body while nothing in the store gets a name, if it still has its own.
    fn alone(&self, body: &Body, act: impl FnOnce(&Path) -> io::Result<Removal>) -> io::Result<Removal> {
        let lock = self.lock()?;
        lock.lock()?;
        let path = self.body(&body.name);
        match path.symlink_metadata() {
            Ok(metadata) if body.is(&metadata) => act(&path),
            Ok(_) => Ok(Removal::Gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::Gone),
            Err(error) => Err(error),
        }
    }

    /// The body first: a sidecar alone is nothing, a body alone would be served without being compared.
    fn remove(&self, body: &Body) -> io::Result<()> {
        let (path, sidecar) = (self.body(&body.name), self.sidecar(&body.name));
        fs::remove_file(&path)?;
        // There may be none.
        let _ = fs::remove_file(&sidecar);
        self.remove_empty_above(&path);
        self.remove_empty_above(&sidecar);
        Ok(())
    }

    /// Folders that are not empty refuse.
    fn remove_empty_above(&self, path: &Path) {
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// Removes what no living process is about to finish; returns how many files that were.
    pub fn remove_leftovers(&self, intent: Intent) -> io::Result<usize> {
        let mut count = 0;
        for part in self.parts()? {
            count += usize::from(remove_part(&part, intent)?);
        }
        let lock = self.lock()?;
        lock.lock()?;
        for widow in self.widows()? {
            if intent == Intent::Remove {
                fs::remove_file(&widow)?;
                self.remove_empty_above(&widow);
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Whether there was one.
fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        // Another provisioner that starts now was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a part, unless a living process holds it.
pub(super) fn remove_part(path: &Path, intent: Intent) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Another provisioner that starts now was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) if intent == Intent::Remove => remove_if_there(path),
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
