use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Change;
use crate::{
    model::Hinted,
    net::{Place, probe::Interface},
    sudo,
};

/// The list of changes that a living process has made; locked until it ends.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
    path: PathBuf,
}

/// What is at the path of a record.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// A record whose writer lives, with what the operator can do about it.
    Held(Hinted),
    /// A file whose writer was killed before its first line: it had changed nothing yet. Locked by us now.
    Empty(Record),
    Left(Left),
}

/// What a process that is gone has left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) header: Header,
    pub(super) changes: Vec<Change>,
    /// Locked by us now.
    pub(super) record: Record,
}

/// The first line of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Which boot of this machine. After another one nothing is left to undo.
    pub(super) boot: String,
    /// Inode of the network namespace: interface numbers mean something only inside it.
    pub(super) namespace: u64,
    /// For the message only; whether it lives is told by the lock.
    pub(super) pid: u32,
    /// The interface's name.
    pub(super) interface: String,
    /// The interface's number.
    pub(super) index: u32,
}

impl Header {
    /// What this process writes.
    pub(super) fn new(place: &Place, interface: &Interface) -> io::Result<Self> {
        Ok(Self {
            boot: boot()?,
            namespace: namespace(place)?,
            pid: std::process::id(),
            interface: interface.name.clone(),
            index: interface.index,
        })
    }

    /// Whether what it describes can still be there, seen from `place`.
    pub(super) fn is_current(&self, place: &Place) -> io::Result<bool> {
        Ok(self.boot == boot()? && self.namespace == namespace(place)?)
    }

    /// Whether it describes another network namespace than `place`, where it may still be there.
    pub(super) fn is_elsewhere(&self, place: &Place) -> io::Result<bool> {
        Ok(self.boot == boot()? && self.namespace != namespace(place)?)
    }
}

/// See `random(4)`: drawn at each start of the kernel.
fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn namespace(place: &Place) -> io::Result<u64> {
    place.run(|| Ok(fs::metadata("/proc/thread-self/ns/net")?.ino()))
}

impl Record {
    /// Starts a record. An existing one is an error: it must be recovered from first.
    pub(super) fn create(place: &Place, path: &Path, header: &Header) -> anyhow::Result<Self> {
        let mut record = Self::lock_new(place, path).with_context(|| writing(path))?;
        record.write(header).with_context(|| writing(path))?;
        Ok(record)
    }

    /// A run that looks for records holds the lock for a moment, and removes a file that is still empty: then again.
    fn lock_new(place: &Place, path: &Path) -> io::Result<Self> {
        loop {
            let open = || OpenOptions::new().append(true).create_new(true).open(path);
            let record = Self { file: keep(place, open)?, path: path.to_owned() };
            record.file.lock()?;
            if record.is_in_place()? {
                return Ok(record);
            }
        }
    }

    /// Adds a change that is about to be made.
    pub(super) fn push(&mut self, change: &Change) -> anyhow::Result<()> {
        self.write(change).with_context(|| writing(&self.path))
    }

    /// One `write` for the whole line: a kill leaves a line complete or absent.
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the record: everything in it has been undone. Still locked while it is removed.
    pub(super) fn remove(self, place: &Place) -> anyhow::Result<()> {
        match keep(place, || fs::remove_file(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing the record of changes {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the path still leads to the file that we have locked.
    fn is_in_place(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(there) => Ok(there.ino() == self.file.metadata()?.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Makes or removes a record. That of this host's own network lies where root alone may write, whoever the files of a run
/// belong to: it tells the next run what to undo.
fn keep<T: Send>(place: &Place, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    match place {
        Place::Here => sudo::with_own_files(work),
        Place::Namespace(_) => work(),
    }
}

fn writing(path: &Path) -> String {
    format!("writing the record of changes {}", path.display())
}

/// Looks for a record, and locks it if its writer is gone.
///
/// # Errors
/// [`Hinted`] when the record cannot be understood.
pub(super) fn find(place: &Place, path: &Path) -> anyhow::Result<Found> {
    let context = || format!("reading the record of changes {}", path.display());
    let mut file = match keep(place, || File::open(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        opened => opened.with_context(context)?,
    };
    let locked = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(context)?;
    let mut lines = text.lines();
    let header = lines.next().map(serde_json::from_str::<Header>).transpose();
    if !locked {
        return Ok(Found::Held(busy(path, header.ok().flatten())));
    }
    let record = Record { file, path: path.to_owned() };
    if !record.is_in_place().with_context(context)? {
        return Ok(Found::Nothing);
    }
    let changes = lines.map(serde_json::from_str).collect::<Result<Vec<Change>, _>>();
    match (header, changes) {
        (Ok(Some(header)), Ok(changes)) => Ok(Found::Left(Left { header, changes, record })),
        (Ok(None), _) => Ok(Found::Empty(record)),
        (Err(error), _) | (_, Err(error)) => Err(Hinted::new(
            format!("the record of changes {} cannot be understood: {error}", path.display()),
            "an earlier run was killed: check the addresses of its interface (ip addr), then remove that file",
        )
        .into()),
    }
}

fn busy(path: &Path, header: Option<Header>) -> Hinted {
    // The writer of a record that a run is just putting back is gone, and its number may be anybody's soon.
    match header.filter(|header| Path::new("/proc").join(header.pid.to_string()).exists()) {
        Some(Header { pid, interface, .. }) => Hinted::new(
            format!("another provisioner (pid {pid}) uses interface {interface}"),
            format!("end it first with: kill {pid}"),
        ),
        None => Hinted::new(
            format!("another provisioner is just starting (it has locked {})", path.display()),
            "wait for it, or end it first",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_record_is_in_place_whoever_looks_at_it_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("provisioner-eth0.changes");
        let header = Header {
            boot: boot().expect("a boot"),
            namespace: namespace(&Place::Here).expect("a namespace"),
            pid: std::process::id(),
            interface: "eth0".to_owned(),
            index: 2,
        };
        let made = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !made.load(Ordering::Relaxed) {
                    if let Found::Empty(record) = find(&Place::Here, &path).expect("it can be read") {
                        record.remove(&Place::Here).expect("it can be removed");
                    }
                }
            });
            for _ in 0..500 {
                let record = Record::create(&Place::Here, &path, &header);
                let in_place = record.as_ref().is_ok_and(|record| record.is_in_place().is_ok_and(|there| there));
                made.store(!in_place, Ordering::Relaxed);
                record.expect("made").remove(&Place::Here).expect("it can be removed");
                assert!(in_place);
            }
            made.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_lock_tells_whether_the_writer_or_another_reader_lives() {
        let header = |pid| Header { boot: String::new(), namespace: 0, pid, interface: "eth0".to_owned(), index: 2 };
        let path = Path::new("/run/provisioner-eth0.changes");
        let ours = std::process::id();
        let alive = format!("another provisioner (pid {ours}) uses interface eth0");
        assert_eq!(busy(path, Some(header(ours))).what, alive);
        // No process has this number: PID_MAX_LIMIT is 2^22.
        for header in [Some(header(u32::MAX)), None] {
            let starting = "another provisioner is just starting (it has locked /run/provisioner-eth0.changes)";
            assert_eq!(busy(path, header).what, starting);
        }
    }
}
