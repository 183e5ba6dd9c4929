use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    entity::{Entity, Head},
    seen::Identity,
};
use crate::model::Sha256Digest;

/// What is being written has this prefix; the mirrors' folders never begin with a dot.
const PART: &str = ".part-";
/// Folder of the sidecars, beside the mirrors' folders and with the same tree below it.
const SIDECARS: &str = ".meta";
/// Longest file name on the usual file systems, less the room for `.json`.
const LONGEST_NAME: usize = 250;
/// Longest key that is kept as a path; `PATH_MAX` is 4096 with the folder's own path in it.
const LONGEST_KEY: usize = 2048;

/// The files on disk: `<folder>/<mirror id>/<path>`, each under its upstream name, and beside them what upstream said.
///
/// A body gets its name by a rename once it is complete and flushed, so a body with a name is a whole one, whatever was
/// killed when. Its sidecar is renamed just before, so that whoever finds the body finds both. In between, or after a crash
/// in between, the sidecar speaks of another body than the one that is there; so it counts only for the body whose length
/// and modification time it names. A body without its sidecar is served without validators and, when it is volatile, fetched
/// again. Hence it does not matter in which order the two renames reach the disk.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    parts: AtomicU64,
}

/// What is known of a body, as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    #[serde(flatten)]
    head: Head,
    /// Bytes of the body it belongs to.
    length: u64,
    /// Modification time of the body it belongs to: when its last byte came from upstream.
    fetched_at: Timestamp,
}

/// A complete file of the store.
#[derive(Debug)]
pub(super) struct Stored {
    /// To be read.
    pub entity: Entity,
    /// Which bytes on the disk it is.
    pub identity: Identity,
}

/// A file that is being written and has no name in the store yet. Dropped unpublished, it is gone.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    named: bool,
    /// For the writer and its readers.
    pub file: Arc<File>,
}

impl Store {
    /// Opens the store and removes what killed runs left half-written.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let opening = || format!("opening the mirror's store {}", folder.display());
        fs::create_dir_all(folder).with_context(opening)?;
        for entry in fs::read_dir(folder).with_context(opening)? {
            let entry = entry.with_context(opening)?;
            if entry.file_name().to_string_lossy().starts_with(PART) {
                remove_leftover(&entry.path()).with_context(opening)?;
            }
        }
        Ok(Self { folder: folder.to_owned(), parts: AtomicU64::new(0) })
    }

    /// The stored file of a key (`<mirror id>/<path>`), if there is one. Blocks.
    pub fn lookup(&self, key: &str) -> io::Result<Option<Stored>> {
        let (body, sidecar) = self.paths(key);
        let file = match File::open(body) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let (length, modified) = (metadata.len(), Timestamp::try_from(metadata.modified()?).ok());
        // A missing, torn or foreign sidecar only costs its validators.
        let sidecar = fs::read(sidecar).ok().and_then(|json| serde_json::from_slice::<Sidecar>(&json).ok());
        let own = sidecar.filter(|sidecar| sidecar.length == length && Some(sidecar.fetched_at) == modified);
        let entity = Entity::stored(file, own.map(|own| own.head).unwrap_or_default(), length);
        Ok(Some(Stored { entity, identity: Identity::of(&metadata) }))
    }

    /// A new file to write to. Blocks.
    pub fn part(&self) -> io::Result<Part> {
        loop {
            let number = self.parts.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{PART}{}-{number}", std::process::id()));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    // Tells another provisioner on this prefix that somebody is at it. Held until the last reader is done.
                    file.lock()?;
                    // One that opened the store just before the lock may have removed it.
                    if file.metadata()?.nlink() > 0 {
                        return Ok(Part { path, named: false, file: Arc::new(file) });
                    }
                }
                // Another process with our number, of another PID namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a complete part its name, in place of what had it before. Blocks until the disk has the bytes.
    pub fn publish(&self, part: Part, key: &str, head: &Head) -> anyhow::Result<Identity> {
        let (body, sidecar) = self.paths(key);
        part.file.sync_all().with_context(|| format!("flushing {key} to disk"))?;
        let metadata = part.file.metadata().with_context(|| format!("reading the size of {key}"))?;
        let fetched_at = metadata.modified().map(Timestamp::try_from).context("reading a modification time")??;
        let content = Sidecar { head: head.clone(), length: metadata.len(), fetched_at };
        let json = serde_json::to_vec_pretty(&content).context("writing a sidecar")?;
        let writing = || format!("writing {}", sidecar.display());
        let new = self.part().with_context(writing)?;
        new.file.write_all_at(&json, 0).with_context(writing)?;
        new.rename(&sidecar)?;
        let file = Arc::clone(&part.file);
        part.rename(&body)?;
        // Only now: the rename is a change of the file too.
        Ok(Identity::of(&file.metadata().with_context(|| format!("looking at {key}"))?))
    }

    /// Where the body and the sidecar of a key are.
    fn paths(&self, key: &str) -> (PathBuf, PathBuf) {
        let name = stored_name(key);
        (self.folder.join(&name), self.folder.join(SIDECARS).join(format!("{name}.json")))
    }
}

impl Part {
    fn rename(mut self, to: &Path) -> anyhow::Result<()> {
        let naming = || format!("naming {}", to.display());
        fs::create_dir_all(to.parent().unwrap_or(Path::new("/"))).with_context(naming)?;
        fs::rename(&self.path, to).with_context(naming)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is removed when the store is opened next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a part, unless a living process holds it.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Another provisioner that starts now was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => fs::remove_file(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The key as a path that the file system takes. Different keys have different paths: a component with `%` in it, the mark of
/// a hashed one, is hashed too.
fn stored_name(key: &str) -> String {
    let name: Vec<_> = key.split('/').map(stored_component).collect();
    let name = name.join("/");
    if name.len() <= LONGEST_KEY {
        return name;
    }
    let (mirror, path) = key.split_once('/').expect("a key is a mirror's id and a path");
    format!("{mirror}/{}", hashed(path))
}

fn stored_component(component: &str) -> String {
    if component.len() > LONGEST_NAME || component.contains('%') { hashed(component) } else { component.to_owned() }
}

fn hashed(text: &str) -> String {
    format!("%{}", Sha256Digest(Sha256::digest(text).into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KEY: &str = "debian/pool/main/h/hello/hello_2.10-3_amd64.deb";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opened");
        (folder, store)
    }

    fn publish(store: &Store, key: &str, body: &[u8], etag: &str) {
        let part = store.part().expect("a part");
        part.file.write_all_at(body, 0).expect("written");
        store.publish(part, key, &head(etag)).expect("published");
    }

    fn head(etag: &str) -> Head {
        Head { etag: Some(etag.into()), ..Head::default() }
    }

    #[test]
    fn what_was_published_is_found_with_what_upstream_said() {
        let (folder, store) = store();
        assert!(store.lookup(KEY).expect("a lookup").is_none());
        publish(&store, KEY, b"hello", "\"1\"");
        let found = Store::open(folder.path()).expect("opened").lookup(KEY).expect("a lookup").expect("found");
        assert_eq!((found.entity.length, &*found.entity.head), (Some(5), &head("\"1\"")));
        assert_eq!(fs::read(folder.path().join(KEY)).expect("under its own name"), b"hello");
        assert!(store.lookup("debian/pool").expect("a lookup").is_none(), "a folder is no file");
        assert!(store.lookup(&format!("{KEY}/below")).expect("a lookup").is_none(), "a file is no folder");
    }

    #[test]
    fn a_sidecar_of_another_body_does_not_count() {
        let (folder, store) = store();
        publish(&store, KEY, b"first", "\"1\"");
        let (body, sidecar) = store.paths(KEY);
        // As if killed between the two renames, or with a sidecar torn by a power cut.
        let cases: [&dyn Fn(); 4] = [
            &|| fs::write(&body, b"other length").expect("written"),
            &|| {
                let file = File::options().write(true).open(&body).expect("opened");
                file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
            },
            &|| fs::write(&sidecar, b"{\"length\":").expect("written"),
            &|| fs::remove_file(&sidecar).expect("removed"),
        ];
        for (number, spoil) in cases.iter().enumerate() {
            publish(&store, KEY, b"first", "\"1\"");
            spoil();
            let found = store.lookup(KEY).expect("a lookup").expect("found");
            assert_eq!(*found.entity.head, Head::default(), "case {number}");
        }
        assert!(folder.path().join(KEY).exists());
    }

    #[test]
    fn leftovers_go_and_what_somebody_writes_stays() {
        let (folder, store) = store();
        publish(&store, KEY, b"hello", "\"1\"");
        publish(&store, "debian/.part-7", b"a file of upstream", "\"2\"");
        let leftover = folder.path().join(".part-1-1");
        fs::write(&leftover, b"half").expect("written");
        let live = store.part().expect("a part");
        let again = Store::open(folder.path()).expect("opened");
        assert!(!leftover.exists() && live.path.exists());
        assert!(again.lookup("debian/.part-7").expect("a lookup").is_some());
        let path = live.path.clone();
        drop(live);
        assert!(!path.exists(), "unpublished is gone");
    }

    #[test]
    fn any_key_has_a_path_of_its_own_that_the_file_system_takes() {
        let (_folder, store) = store();
        let long = "x".repeat(300);
        let keys = [
            format!("debian/{long}"),
            format!("debian/{long}y"),
            format!("debian/{}", hashed(&long)),
            format!("debian/{}end", "folder/".repeat(600)),
            "debian/a%b".to_owned(),
            format!("debian/{}", "y".repeat(LONGEST_NAME)),
        ];
        for (number, key) in keys.iter().enumerate() {
            publish(&store, key, key.as_bytes(), &number.to_string());
        }
        let found: BTreeSet<_> = keys
            .iter()
            .map(|key| store.lookup(key).expect("a lookup").expect("found").entity.head.etag.clone())
            .collect();
        assert_eq!(found.len(), keys.len());
    }
}
