use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{entity::Entity, seen::Identity, store::Stored};

/// Most files that are kept open. A process may have 1024 open on most hosts, of which the connections need most.
const MOST: usize = 256;
/// Files that are longer than this are opened anew each time: it costs nothing beside sending them, and a file that is removed
/// takes up its room on the disk while it is open.
const LONGEST: u64 = 1 << 20;

/// Short files of the store that were asked for lately, open: the next request for one costs no look at the file system's
/// folders, and so no thread that may wait for them.
///
/// What is kept is as good as what a look would find: a file that was written to, replaced or removed since, by whomever, has
/// another `st_ctime` or no name, and each use looks at both.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    files: HashMap<String, Kept>,
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    entity: Entity,
    identity: Identity,
    used: u64,
}

impl Opened {
    /// The stored file of a key, if it is open and still that file. Does not block: attributes of an open file are in memory.
    pub fn get(&self, key: &str) -> Option<Stored> {
        let stored = {
            let mut files = self.lock();
            files.clock += 1;
            let now = files.clock;
            let kept = files.files.get_mut(key)?;
            kept.used = now;
            Stored { entity: kept.entity.clone(), identity: kept.identity }
        };
        let now = stored.entity.file().metadata();
        let unchanged = now.is_ok_and(|now| now.nlink() > 0 && Identity::of(&now) == stored.identity);
        if !unchanged {
            self.forget(key);
        }
        unchanged.then_some(stored)
    }

    /// Keeps a file that was found in the store, in place of the one that was used longest ago.
    pub fn keep(&self, key: &str, stored: &Stored) {
        if stored.entity.length.is_none_or(|length| length > LONGEST) {
            return;
        }
        let mut files = self.lock();
        files.clock += 1;
        let kept = Kept { entity: stored.entity.clone(), identity: stored.identity, used: files.clock };
        files.files.insert(key.to_owned(), kept);
        if files.files.len() > MOST {
            let oldest = files.files.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| files.files.remove(&oldest));
        }
    }

    /// Closes a file, once its readers are done.
    pub fn forget(&self, key: &str) {
        self.lock().files.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // Every change is a single insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
