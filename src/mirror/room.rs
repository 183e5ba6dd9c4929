//! Room on the disk for the store: its size stays below what the operator allows, and a full disk is met by evicting what was
//! used least recently. What is in use stays.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;

use super::{layout::Layout, opened::Opened};
use crate::model::{Bytes, Intent, Removal};

/// What a sweep for a full disk frees at least, where there is as much: a large file must not cost a sweep for each chunk.
const SPARE: u64 = 64 << 20;
/// Above the limit, this fraction of it is freed beyond what is above, so that not every further file costs a sweep. As much may
/// come unseen from another provisioner on this prefix before the store is looked at again.
const SLACK: u64 = 64;
/// The operator is told this often that the disk is full.
const TOLD: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    layout: Layout,
    /// Files that are open for the next reader, which looks as if they were in use.
    opened: Arc<Opened>,
    limit: Option<u64>,
    tally: Mutex<Tally>,
    /// Held by whoever sweeps.
    sweeping: Mutex<()>,
    /// How many sweeps have freed something.
    sweeps: AtomicU64,
    told: Mutex<Option<Instant>>,
}

/// How much the store holds, as far as this process knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    /// Bytes that the last sweep left; `None` before the first.
    swept: Option<u64>,
    /// Bytes that this process has published since.
    since: u64,
}

/// The disk is full, and evicting does not help.
#[derive(Debug, thiserror::Error)]
#[error(
    "the disk of {} is full, with {} free, and nothing more can be evicted: make room on it, for instance with \
     `provisioner cache prune`, or take another one with --prefix",
    folder.display(),
    Bytes(*free)
)]
struct Full {
    folder: PathBuf,
    free: u64,
}

impl Room {
    pub fn new(layout: Layout, opened: Arc<Opened>, limit: Option<u64>) -> Self {
        let (tally, sweeping, sweeps, told) = Default::default();
        Self { layout, opened, limit, tally, sweeping, sweeps, told }
    }

    /// Whether a file of this length can be kept at all.
    pub fn fits(&self, length: u64) -> bool {
        self.limit.is_none_or(|limit| length <= limit)
    }

    /// As many bytes have been published.
    pub fn note(&self, length: u64) {
        lock(&self.tally).since += length;
    }

    /// Brings the store below its limit. Blocks as long as a walk through it takes, or not at all if there is no need, or
    /// somebody is at it.
    pub fn trim(&self) {
        let Some(limit) = self.limit else { return };
        let before = *lock(&self.tally);
        if !before.is_due(limit) {
            return;
        }
        let _one_at_a_time = match self.sweeping.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let excess = |total: u64| if total > limit { total - limit + limit / SLACK } else { 0 };
        match self.sweep(excess) {
            Ok(Swept { left, .. }) => {
                let mut tally = lock(&self.tally);
                *tally = Tally { swept: Some(left), since: tally.since.saturating_sub(before.since) };
                if left > limit {
                    tracing::warn!(
                        "the mirror's store has {}, more than --cache-size allows: the rest is in use",
                        Bytes(left)
                    );
                }
            }
            Err(error) => tracing::warn!("evicting from {}: {error}", self.layout.folder.display()),
        }
    }

    /// Does what needs room, evicting as long as there is none and something can be evicted. Blocks.
    ///
    /// # Errors
    /// Those of `act`; that the disk is full says so in the operator's words.
    pub fn with<T>(&self, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            let before = self.sweeps.load(Ordering::Acquire);
            match act() {
                Err(error) if is_full(&error) => {
                    if !self.make(before)? {
                        return Err(self.full(&error));
                    }
                }
                done => return done,
            }
        }
    }

    /// Frees something; whether that succeeded, or somebody else has done it meanwhile.
    fn make(&self, before: u64) -> io::Result<bool> {
        let _one_at_a_time = lock(&self.sweeping);
        if self.sweeps.load(Ordering::Acquire) != before {
            return Ok(true);
        }
        let Swept { freed, files, .. } = self.sweep(|_| SPARE)?;
        if files == 0 {
            return Ok(false);
        }
        let folder = self.layout.folder.display();
        self.tell(format_args!("the disk of {folder} is full: evicted {files} files ({})", Bytes(freed)));
        Ok(true)
    }

    /// Evicts what was used least recently and is not in use, as many bytes as `excess` says of all there are.
    fn sweep(&self, excess: impl FnOnce(u64) -> u64) -> io::Result<Swept> {
        self.opened.forget_all();
        let mut bodies = self.layout.bodies()?;
        let total = bodies.iter().map(|body| body.length).sum();
        let wanted = excess(total);
        bodies.sort_by_key(|body| body.used);
        let (mut freed, mut files) = (0, 0);
        for body in bodies {
            if freed >= wanted {
                break;
            }
            let name = body.name.display();
            match self.layout.evict(&body, Intent::Remove) {
                Ok(Removal::Done) => {
                    tracing::debug!("evicted {name}");
                    (freed, files) = (freed + body.length, files + 1);
                }
                Ok(Removal::InUse | Removal::Gone) => {}
                // Somebody else's, for instance. There are others.
                Err(error) => tracing::debug!("evicting {name}: {error}"),
            }
        }
        if files > 0 {
            self.sweeps.fetch_add(1, Ordering::Release);
        }
        Ok(Swept { left: total - freed, freed, files })
    }

    fn full(&self, error: &io::Error) -> io::Error {
        let folder = self.layout.folder.clone();
        io::Error::new(error.kind(), Full { free: free(&folder), folder })
    }

    /// Reports an error of the store: any at once, a full disk once a minute, since every file that is fetched meets it.
    pub fn report(&self, doing: impl fmt::Display, error: &anyhow::Error) {
        let full = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().is_some_and(is_full);
        if error.chain().any(full) {
            self.tell(format_args!("{doing}: {error:#}"));
        } else {
            tracing::error!("{doing}: {error:#}");
        }
    }

    fn tell(&self, text: fmt::Arguments<'_>) {
        let mut told = lock(&self.told);
        if told.is_some_and(|told| told.elapsed() < TOLD) {
            tracing::debug!("{text}");
        } else {
            *told = Some(Instant::now());
            tracing::error!("{text}");
        }
    }
}

/// What a sweep did.
struct Swept {
    /// Bytes that are there still.
    left: u64,
    /// Bytes that are not.
    freed: u64,
    /// Files that are not.
    files: usize,
}

impl Tally {
    /// Whether the store is to be looked at: it is above its limit or may be, by what others have published. After a sweep that
    /// could not help, not before something worth it was added.
    fn is_due(self, limit: u64) -> bool {
        match self.swept {
            None => true,
            Some(swept) => self.since > limit / SLACK || (swept <= limit && swept + self.since > limit),
        }
    }
}

/// No space, or none for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that this user may still write.
fn free(folder: &Path) -> u64 {
    statvfs(folder).map_or(0, |disk| disk.blocks_available() * disk.fragment_size())
}

/// Every change under these locks is a single assignment: a panic elsewhere leaves nothing half-done in them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_looked_at_when_it_may_be_above_its_limit() {
        for (swept, since, due) in [
            (None, 0, true),
            (Some(0), 0, false),
            (Some(6400), 0, false),
            (Some(6400), 1, true),
            (Some(6300), 100, false),
            (Some(6300), 101, true),
            // Others may have added as much.
            (Some(0), 101, true),
            // In use when it was swept.
            (Some(9000), 0, false),
            (Some(9000), 100, false),
            (Some(9000), 101, true),
        ] {
            assert_eq!(Tally { swept, since }.is_due(6400), due, "{swept:?} and {since}");
        }
    }
}
