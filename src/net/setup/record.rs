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
        let context = || format!("writing the record of changes {}", path.display());
        let open = || OpenOptions::new().append(true).create_new(true).open(path);
        let file = keep(place, open).with_context(context)?;
        file.try_lock().map_err(io::Error::from).with_context(context)?;
        let mut record = Self { file, path: path.to_owned() };
        record.write(header).with_context(context)?;
        Ok(record)
    }

    /// Adds a change that is about to be made.
    pub(super) fn push(&mut self, change: &Change) -> anyhow::Result<()> {
        self.write(change).with_context(|| format!("writing the record of changes {}", self.path.display()))
    }

    /// One `write` for the whole line: a kill leaves a line complete or absent.
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)
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

/// Reads the record of a process that is gone; `None` when there is none, or when it was killed before its first change.
///
/// # Errors
/// [`Hinted`] when the process lives, or when the record cannot be understood.
pub(super) fn left(place: &Place, path: &Path) -> anyhow::Result<Option<Left>> {
    let context = || format!("reading the record of changes {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
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
        return Err(busy(path, header.ok().flatten()).into());
    }
    let record = Record { file, path: path.to_owned() };
    if !record.is_in_place().with_context(context)? {
        return Ok(None);
    }
    let changes = lines.map(serde_json::from_str).collect::<Result<Vec<Change>, _>>();
    match (header, changes) {
        (Ok(Some(header)), Ok(changes)) => Ok(Some(Left { header, changes, record })),
        (Ok(None), _) => record.remove(place).map(|()| None),
        (Err(error), _) | (_, Err(error)) => Err(Hinted::new(
            format!("the record of changes {} cannot be understood: {error}", path.display()),
            "an earlier run was killed: check the addresses of its interface (ip addr), then remove that file",
        )
        .into()),
    }
}

fn busy(path: &Path, header: Option<Header>) -> Hinted {
    match header {
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
