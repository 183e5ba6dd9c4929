//! Boot sets as the keeper of a cache sees them, while provisioners run on it or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::Timestamp;

use super::{
    boot_set::own_folder::OWN_FOLDERS,
    digest,
    lock::is_in_use,
    manifest::{Manifest, Stamp},
};
use crate::model::{Condition, Intent, Removal, Sha256Digest};

/// The boot files of a release, and what was fetched for them: `<prefix>/boot/<uid>/`.
#[derive(Debug)]
pub struct KeptSet {
    /// The release.
    pub uid: String,
    /// When the archive last confirmed all of it; `None` when it was never complete.
    pub verified_at: Option<Timestamp>,
    /// What vouched for it, for people; empty when nothing is known.
    pub vouched: String,
    /// When a run last made use of it.
    pub used: Timestamp,
    /// Its files, by name.
    pub files: Vec<KeptFile>,
    folder: PathBuf,
}

/// A file of a boot set.
#[derive(Debug)]
pub struct KeptFile {
    /// Path below the set's folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What it has to be: by the manifest, or by its own name.
    pub sha256: Option<Sha256Digest>,
}

/// Every boot set below `<prefix>/boot`, by release.
///
/// # Errors
/// When the folder cannot be read.
pub fn kept_sets(boot: &Path) -> anyhow::Result<Vec<KeptSet>> {
    let reading = || format!("reading {}", boot.display());
    let entries = match fs::read_dir(boot) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut sets = Vec::new();
    for entry in entries {
        let entry = entry.with_context(reading)?;
        if entry.file_type().with_context(reading)?.is_dir() {
            sets.push(read(entry.path()).with_context(reading)?);
        }
    }
    sets.sort_by(|a, b| a.uid.cmp(&b.uid));
    Ok(sets)
}

fn read(folder: PathBuf) -> io::Result<KeptSet> {
    let manifest = Manifest::read(&folder.join("manifest.json"))?;
    let mut files = Vec::new();
    walk(&folder, "", manifest.as_ref(), &mut files)?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let uid = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let modified = |path: &Path| Timestamp::try_from(path.metadata()?.modified()?).map_err(io::Error::other);
    let verified_at = manifest.as_ref().map(|manifest| manifest.verified_at);
    let used = modified(&lock_of(&folder)).or_else(|_| modified(&folder))?;
    Ok(KeptSet {
        verified_at,
        vouched: manifest.as_ref().map(vouched).unwrap_or_default(),
        // Runs of before that was noted have left no other trace.
        used: verified_at.map_or(used, |verified| used.max(verified)),
        uid,
        files,
        folder,
    })
}

fn walk(folder: &Path, below: &str, manifest: Option<&Manifest>, files: &mut Vec<KeptFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let plain = entry.file_name().to_string_lossy().into_owned();
        let name = if below.is_empty() { plain.clone() } else { format!("{below}/{plain}") };
        // Links to the same files, or to what they replaced: not the set's, and gone with the run whose they are.
        if name == OWN_FOLDERS {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(folder, &name, manifest, files)?;
        } else {
            let listed = manifest.and_then(|manifest| manifest.files.get(&name)).map(|entry| entry.sha256);
            files.push(KeptFile { size: entry.metadata()?.len(), sha256: listed.or_else(|| plain.parse().ok()), name });
        }
    }
    Ok(())
}

/// `signed by B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8 (bookworm 12.15, trixie 13.7)`
fn vouched(manifest: &Manifest) -> String {
    let level = manifest.files.values().map(|entry| entry.level).min();
    let level = level.map_or_else(|| "empty".to_owned(), |level| level.to_string());
    let mut suites: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (suite, Stamp { version, signer, .. }) in &manifest.stamps {
        suites.entry(signer).or_default().push(format!("{suite} {version}"));
    }
    let by = suites.iter().map(|(signer, suites)| format!("{signer} ({})", suites.join(", ")));
    let by: BTreeSet<_> = by.collect();
    if by.is_empty() { level } else { format!("{level} by {}", by.into_iter().collect::<Vec<_>>().join(" and ")) }
}

fn lock_of(folder: &Path) -> PathBuf {
    let mut path = folder.to_owned().into_os_string();
    path.push(".lock");
    path.into()
}

impl KeptSet {
    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Where a file of it is.
    pub fn place(&self, file: &KeptFile) -> PathBuf {
        self.folder.join(&file.name)
    }

    /// The set as it is now, held as long as the file lives so that nobody changes it; `None` when another provisioner is
    /// filling it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn held(&self) -> anyhow::Result<Option<(Self, Option<File>)>> {
        let reading = || format!("reading {}", self.folder.display());
        let lock = match File::open(lock_of(&self.folder)) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(reading),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock_shared) {
            Ok(()) => Ok(Some((read(self.folder.clone()).with_context(reading)?, lock))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(reading),
        }
    }

    /// Compares a file with its digest. Blocks as long as reading it takes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn check(&self, file: &KeptFile) -> anyhow::Result<Condition> {
        let Some(expected) = file.sha256 else { return Ok(Condition::Undigested) };
        let path = self.place(file);
        match digest::of_file(&path) {
            Ok((_, found)) if found == expected => Ok(Condition::Right),
            Ok((_, found)) => Ok(Condition::Damaged { expected, found }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Condition::Gone),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Removes a damaged file, which the next run fetches again.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn discard(&self, file: &KeptFile) -> io::Result<()> {
        fs::remove_file(self.place(file))
    }

    /// Removes the set, if nobody uses it.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn remove(&self, intent: Intent) -> io::Result<Removal> {
        // The file stays: of two that wait for a lock on it, one could otherwise get that of its successor.
        let lock = File::options().create(true).truncate(false).write(true).open(lock_of(&self.folder))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Removal::InUse),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if !self.folder.is_dir() {
            return Ok(Removal::Gone);
        }
        if is_in_use(&self.folder)? {
            return Ok(Removal::InUse);
        }
        if intent == Intent::Remove {
            fs::remove_dir_all(&self.folder)?;
        }
        Ok(Removal::Done)
    }
}
