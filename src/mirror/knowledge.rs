use std::{fmt, fs::File, sync::Arc};

use anyhow::Context;
use tokio::task::spawn_blocking;

use super::{
    ledger::{Known, Ledger},
    seen::{self, Identity, Seen},
    store::Stored,
};
use crate::model::Sha256Digest;

/// What is known of files: by verified metadata, and by having looked at their stored copies, each of which was shown to the
/// ledger.
///
/// A run that goes on takes a new one now and then. Whoever wants a file holds on to the one that said what it is: what is right
/// by an old ledger must not be taught to a new one, which would take it for its own.
pub(super) struct Knowledge {
    ledger: Arc<dyn Ledger>,
    seen: Seen,
    /// How many came before.
    number: u64,
}

impl Knowledge {
    /// What the first ledger says.
    pub fn of(ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger, seen: Seen::default(), number: 0 }
    }

    /// What another ledger says. It has seen nothing yet, so that it learns from the stored files what there is to learn.
    pub fn succeeded_by(&self, ledger: Arc<dyn Ledger>) -> Self {
        Self { number: self.number + 1, ..Self::of(ledger) }
    }

    /// Like no other's of this run.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the ledger says of the file at `path` below the root of an archive.
    pub fn look_up(&self, mirror_id: &str, path: &str) -> Known {
        self.ledger.look_up(mirror_id, path)
    }

    /// Whether these stored bytes have been hashed, and have this digest.
    pub fn has_seen(&self, key: &str, identity: &Identity, digest: Sha256Digest) -> bool {
        self.seen.digest(key, identity) == Some(digest)
    }

    /// These stored bytes have been hashed.
    pub fn note(&self, key: &str, identity: Identity, digest: Sha256Digest) {
        self.seen.note(key, identity, digest);
    }

    /// The digest of a stored file. Whoever asks notes it: it is hashed once in a run.
    pub async fn digest(&self, key: &str, stored: &Stored) -> anyhow::Result<Sha256Digest> {
        if let Some(digest) = self.seen.digest(key, &stored.identity) {
            return Ok(digest);
        }
        let file = Arc::clone(stored.entity.file());
        let hashed = spawn_blocking(move || seen::hash(&file)).await.context("reading the store")?;
        hashed.with_context(|| format!("reading {key} in the store"))
    }

    /// Tells the ledger of a file that is what it says of it.
    pub async fn teach(&self, (mirror_id, path): (&str, &str), file: &Arc<File>) -> anyhow::Result<()> {
        let (ledger, file) = (Arc::clone(&self.ledger), Arc::clone(file));
        let (mirror_id, path) = (mirror_id.to_owned(), path.to_owned());
        spawn_blocking(move || ledger.learn(&mirror_id, &path, &file)).await.context("reading what was fetched")
    }
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knowledge").field("number", &self.number).finish_non_exhaustive()
    }
}
