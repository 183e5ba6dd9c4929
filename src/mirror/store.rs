use std::{
    fs::{self, File},
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

use super::{
    entity::{Entity, Head},
    evict::remove_part,
    layout::{Layout, PART, stored_name},
    opened::Opened,
    room::Room,
    seen::Identity,
    sidecar::Sidecar,
};
use crate::model::{Hinted, Intent, Sha256Digest};

/// The files on disk: `<folder>/<mirror id>/<path>`, each under its upstream name, and beside them what upstream said.
///
/// A body gets its name by a rename once it is complete and flushed, so a body with a name is a whole one, whatever was
/// killed when. Its sidecar is renamed just before, so that whoever finds the body finds both. In between, or after a crash
/// in between, the sidecar speaks of another body than the one that is there; so its validators count only for the body whose
/// length and modification time it names. A body without its sidecar is served without validators and, when it is volatile,
/// fetched again. Hence it does not matter in which order the two renames reach the disk. The digest in a sidecar counts
/// always: a body that is not what it says is damaged, or about to be replaced.
///
/// Several provisioners may share a store. Whoever reads a body holds a shared lock on it, so that none evicts what another
/// one serves; a reader would not even notice, but the disk would get no room from it.
#[derive(Debug)]
pub(super) struct Store {
    layout: Layout,
    parts: AtomicU64,
    room: Arc<Room>,
    opened: Arc<Opened>,
}

/// A complete file of the store.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// To be read.
    pub entity: Entity,
    /// Which bytes on the disk it is.
    pub identity: Identity,
    /// What it was when it was stored, if that is known.
    pub sha256: Option<Sha256Digest>,
}

/// A file that is being written and has no name in the store yet. Dropped unpublished, it is gone.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    named: bool,
    /// For the writer and its readers.
    pub sink: Sink,
}

/// What a part is written through. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    /// For its readers.
    pub file: Arc<File>,
    room: Arc<Room>,
}

/// What is to be remembered of a body.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// What upstream said about it.
    pub head: &'a Head,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Whether that was known beforehand.
    pub verified: bool,
}

impl Store {
    /// Opens the store and removes what killed runs left half-written. Complete files are to stay below `limit` bytes; parts
    /// come on top.
    pub fn open(folder: &Path, limit: Option<u64>) -> anyhow::Result<Self> {
        let opening = || format!("opening the mirror's store {}", folder.display());
        let unusable = |error: io::Error| {
            let hint = "its folder must be one that this user may write to; or choose another one with --prefix";
            Hinted::new(format!("{}: {error}", opening()), hint)
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let layout = Layout { folder: folder.to_owned() };
        for part in layout.parts().with_context(opening)? {
            remove_part(&part, Intent::Remove).with_context(opening)?;
        }
        // Made now, since a full disk would refuse it when it is needed most.
        layout.lock().map_err(unusable)?;
        let opened = Arc::<Opened>::default();
        let room = Arc::new(Room::new(layout.clone(), Arc::clone(&opened), limit));
        Ok(Self { layout, parts: AtomicU64::new(0), room, opened })
    }

    /// Its limit, and who keeps it.
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// The files that are open for the next reader.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The stored file of a key (`<mirror id>/<path>`), if there is one. Blocks.
    pub fn lookup(&self, key: &str) -> io::Result<Option<Stored>> {
        let name = stored_name(key);
        let body = self.layout.body(&name);
        loop {
            let file = match File::open(&body) {
                Ok(file) => file,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            // Waits for moments only: for one who removes it, or has just named it. Without locks (some network file systems)
            // it can be evicted while it is read, which costs the room that was to be won.
            let _ = file.lock_shared();
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Ok(None);
            }
            if metadata.nlink() == 0 {
                continue;
            }
            let length = metadata.len();
            let sidecar = Sidecar::read_for_use(&self.layout.sidecar(&name));
            let sha256 = sidecar.as_ref().and_then(|sidecar| sidecar.sha256);
            let own = sidecar.filter(|sidecar| sidecar.is_of(&metadata));
            let entity = Entity::stored(file, own.map(|own| own.head).unwrap_or_default(), length);
            return Ok(Some(Stored { entity, identity: Identity::of(&metadata), sha256 }));
        }
    }

    /// A new file to write to. Blocks.
    pub fn part(&self) -> io::Result<Part> {
        loop {
            let number = self.parts.fetch_add(1, Ordering::Relaxed);
            let path = self.layout.folder.join(format!("{PART}{}-{number}", std::process::id()));
            let create = || File::options().read(true).write(true).create_new(true).open(&path);
            match self.room.with(create) {
                Ok(file) => {
                    // Tells another provisioner on this prefix that somebody is at it.
                    file.lock()?;
                    // One that opened the store just before the lock may have removed it.
                    if file.metadata()?.nlink() > 0 {
                        let sink = Sink { file: Arc::new(file), room: Arc::clone(&self.room) };
                        return Ok(Part { path, named: false, sink });
                    }
                }
                // Another process with our number, of another PID namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a complete part its name, in place of what had it before. Blocks until the disk has the bytes.
    pub fn publish(&self, part: Part, key: &str, record: &Record<'_>) -> anyhow::Result<Identity> {
        let name = stored_name(key);
        let (body, sidecar) = (self.layout.body(&name), self.layout.sidecar(&name));
        let file = Arc::clone(&part.sink.file);
        file.sync_all().with_context(|| format!("flushing {key} to disk"))?;
        let metadata = file.metadata().with_context(|| format!("reading the size of {key}"))?;
        let fetched_at = metadata.modified().map(Timestamp::try_from).context("reading a modification time")??;
        let &Record { head, sha256, verified } = record;
        let (head, sha256) = (head.clone(), Some(sha256));
        let content = Sidecar { head, length: metadata.len(), fetched_at, sha256, verified };
        let json = serde_json::to_vec_pretty(&content).context("writing a sidecar")?;
        let writing = || format!("writing {}", sidecar.display());
        let new = self.part().with_context(writing)?;
        new.sink.write_all_at(&json, 0).with_context(writing)?;

        let naming = self.layout.lock().and_then(|lock| lock.lock_shared().map(|()| lock));
        let naming = naming.with_context(|| format!("locking {}", self.layout.folder.display()))?;
        new.rename(&sidecar)?;
        part.rename(&body)?;
        // Readers share it from now on, those of the part among them. Nobody can take it in between: it would take our other lock.
        file.lock_shared().with_context(|| format!("sharing {key}"))?;
        drop(naming);
        self.room.note(metadata.len());
        // Only now: the rename is a change of the file too.
        Ok(Identity::of(&file.metadata().with_context(|| format!("looking at {key}"))?))
    }
}

impl Sink {
    /// Writes, evicting what is needed for it.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // What was written of it before the disk was full is written again.
        self.room.with(|| self.file.write_all_at(bytes, offset))
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

#[cfg(test)]
mod tests;
