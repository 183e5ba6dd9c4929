use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{seen::Identity, store::Stored};

/// Most files that are kept open. A process may have 1024 open on most hosts, of which the connections need most.
const MOST: usize = 256;
/// Files that are longer than this are opened anew each time: it costs nothing beside sending them, and a file that is removed
/// takes up its room on the disk while it is open.
const LONGEST: u64 = 1 << 20;
/// After this long a file is looked for in the store again, where its use is noted: what is asked for most must not look as if
/// nobody had wanted it for long, and be evicted by another process.
const FOUND: Duration = Duration::from_secs(1800);

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
    stored: Stored,
    used: u64,
    /// When it was found in the store, which notes that it is in use.
    found: Instant,
}

impl Opened {
    /// The stored file of a key, if it is open and still that file. Does not block: attributes of an open file are in memory.
    pub fn get(&self, key: &str) -> Option<Stored> {
        let stored = {
            let mut files = self.lock();
            files.clock += 1;
            let now = files.clock;
            let kept = files.files.get_mut(key).filter(|kept| kept.found.elapsed() < FOUND)?;
            kept.used = now;
            kept.stored.clone()
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
        let kept = Kept { stored: stored.clone(), used: files.clock, found: Instant::now() };
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

    /// Closes all of them, once their readers are done: room is needed, and an open file keeps its own.
    pub fn forget_all(&self) {
        self.lock().files.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // Every change is a single insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt, path::Path};

    use super::*;
    use crate::{
        mirror::{
            entity::Head,
            store::{Record, Store},
        },
        model::Sha256Digest,
    };

    const KEY: &str = "debian/pool/main/h/hello/hello_2.10-3_amd64.deb";

    fn publish(store: &Store, key: &str, body: &[u8]) {
        let part = store.part().expect("a part");
        part.sink.file.write_all_at(body, 0).expect("written");
        let record = Record { head: &Head::default(), sha256: Sha256Digest([0; 32]), verified: false };
        store.publish(part, key, &record).expect("published");
    }

    /// What is done to a stored file.
    type Change = fn(&Store, &Path);

    #[test]
    fn what_was_changed_removed_or_replaced_is_not_what_was_opened() {
        let changes: [Change; 4] = [
            |_, path| fs::remove_file(path).expect("removed"),
            |_, path| fs::rename(path, path.with_extension("old")).expect("renamed"),
            |_, path| fs::write(path, "other").expect("written"),
            |store, _| publish(store, KEY, b"first"),
        ];
        for change in changes {
            let folder = tempfile::tempdir().expect("a folder");
            let (store, opened) = (Store::open(folder.path(), None).expect("opened"), Opened::default());
            publish(&store, KEY, b"first");
            let stored = store.lookup(KEY).expect("readable").expect("stored");
            assert!(opened.get(KEY).is_none());
            opened.keep(KEY, &stored);
            assert_eq!(opened.get(KEY).map(|kept| kept.identity), Some(stored.identity));
            // A change within the same tick of the kernel's clock as the last one would leave the same time.
            let changed = |file: &fs::File| file.metadata().map(|now| (now.ctime(), now.ctime_nsec())).expect("a time");
            while changed(&tempfile::tempfile().expect("a file")) == changed(stored.entity.file()) {}
            change(&store, &folder.path().join(KEY));
            assert!(opened.get(KEY).is_none() && opened.lock().files.is_empty());
        }
    }

    #[test]
    fn few_and_short_files_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, opened) = (Store::open(folder.path(), None).expect("opened"), Opened::default());
        publish(&store, KEY, &vec![0; LONGEST as usize + 1]);
        opened.keep(KEY, &store.lookup(KEY).expect("readable").expect("stored"));
        assert!(opened.get(KEY).is_none());
        publish(&store, KEY, b"short");
        let stored = store.lookup(KEY).expect("readable").expect("stored");
        let key = |number: usize| format!("debian/{number}");
        for number in 0..MOST {
            opened.keep(&key(number), &stored);
        }
        assert!(opened.get(&key(0)).is_some());
        opened.keep(KEY, &stored);
        assert!(opened.get(&key(1)).is_none() && opened.get(&key(0)).is_some() && opened.get(KEY).is_some());
        assert_eq!(opened.lock().files.len(), MOST);
    }
}
