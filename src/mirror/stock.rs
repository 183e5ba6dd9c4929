use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::Timestamp;

use super::{
    layout::{Body, Layout},
    route::promised,
    seen,
    sidecar::Sidecar,
};
use crate::model::{Condition, Intent, Removal, Sha256Digest};

/// A mirror's store as its keeper sees it, while mirrors run on it or not. Looking needs no right to write.
#[derive(Debug)]
pub struct Stock(Layout);

/// A file in it.
#[derive(Debug)]
pub struct StockFile {
    /// The archive it is of.
    pub archive: String,
    /// Path below the archive's root; parts of it that no file system takes are digests of themselves.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it was last used, to the hour.
    pub used: Timestamp,
    /// Its digest when it was stored, or the one that its name promises; otherwise unknown of files that were stored before
    /// digests were kept.
    pub sha256: Option<Sha256Digest>,
    /// Whether verified metadata said what it has to be, when it was fetched.
    pub verified: bool,
    body: Body,
}

impl Stock {
    /// The stock in a mirror's folder. There may be none.
    pub fn at(folder: &Path) -> Self {
        Self(Layout { folder: folder.to_owned() })
    }

    /// Every file, the least recently used first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files(&self) -> anyhow::Result<Vec<StockFile>> {
        let bodies = self.0.bodies().with_context(|| format!("reading {}", self.0.folder.display()))?;
        let mut files: Vec<_> = bodies.into_iter().map(|body| self.file(body)).collect();
        files.sort_by(|a, b| (a.used, &a.body.name).cmp(&(b.used, &b.body.name)));
        Ok(files)
    }

    fn file(&self, body: Body) -> StockFile {
        let sidecar = Sidecar::read(&self.0.sidecar(&body.name));
        let (archive, path) = body.place();
        let promised = promised(&path.split('/').collect::<Vec<_>>());
        StockFile {
            archive,
            path,
            size: body.length,
            used: Timestamp::try_from(body.used).unwrap_or_default(),
            sha256: promised.or(sidecar.as_ref().and_then(|sidecar| sidecar.sha256)),
            // Without it nothing was kept under such a name.
            verified: promised.is_some() || sidecar.is_some_and(|sidecar| sidecar.verified),
            body,
        }
    }

    /// Where the file is.
    pub fn place(&self, file: &StockFile) -> PathBuf {
        self.0.body(&file.body.name)
    }

    /// Compares a file with its digest. Blocks as long as reading it takes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn check(&self, file: &StockFile) -> anyhow::Result<Condition> {
        let path = self.place(file);
        let reading = || format!("reading {}", path.display());
        let opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Condition::Gone),
            Err(error) => return Err(error).with_context(reading),
        };
        // Waits for moments at most; without it the file is only evicted while it is read.
        let _ = opened.lock_shared();
        let Some(expected) = file.sha256 else { return Ok(Condition::Undigested) };
        if !file.body.is(&opened.metadata().with_context(reading)?) {
            return Ok(Condition::Gone);
        }
        let found = seen::hash(&opened).with_context(reading)?;
        if found == expected {
            return Ok(Condition::Right);
        }
        // Its sidecar may be that of a successor which was just getting its name. Nobody does while this is held.
        let _alone = self.0.lock().and_then(|lock| lock.lock().map(|()| lock));
        let still = self.0.find(&file.body.name).map(|body| self.file(body));
        let still = still.is_some_and(|now| now.body == file.body && now.sha256 == file.sha256);
        Ok(if still { Condition::Damaged { expected, found } } else { Condition::Gone })
    }

    /// Removes a file that nobody uses.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn remove(&self, file: &StockFile, intent: Intent) -> io::Result<Removal> {
        self.0.evict(&file.body, intent)
    }

    /// Removes a damaged file, whoever uses it: they keep what they have opened.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn discard(&self, file: &StockFile) -> io::Result<Removal> {
        self.0.discard(&file.body)
    }

    /// Removes what killed runs have left: unfinished files, and what was remembered of files that are gone. Returns how many
    /// there were.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn remove_leftovers(&self, intent: Intent) -> io::Result<usize> {
        if self.0.folder.is_dir() { self.0.remove_leftovers(intent) } else { Ok(0) }
    }
}
