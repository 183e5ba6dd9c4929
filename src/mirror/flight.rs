use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use anyhow::Context;
use reqwest::Response;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking, time::Instant};

use super::{
    download::{Download, Failure, Mirrors, teach},
    entity::{Entity, Phase, Progress},
    ledger::Ledger,
    opened::Opened,
    refusal::Refusal,
    route::Class,
    seen::{self, Seen},
    store::{Store, Stored},
    upstream::{self, News, Trouble, Wanted},
};
use crate::model::{Expected, Sha256Digest};

/// A volatile file is not asked about again for this long. APT asks for the same `InRelease` several times in a row, and
/// with many machines at once every answer would otherwise cost a round trip.
const FRESH: Duration = Duration::from_secs(5);

/// What whoever asked for a file gets.
pub(super) type Outcome = Result<Entity, Refusal>;

/// The conversations with upstream: at most one per file at any time, shared by all who want that file.
///
/// A flight is a task of its own, so a client that hangs up ends nothing. It stays in the list until its file is in the
/// store, so that there is no moment in which a newcomer finds neither; a failed one leaves the list before its readers
/// learn of it, so that whoever asks again gets a new flight.
pub(super) struct Flights {
    store: Arc<Store>,
    ledger: Arc<dyn Ledger>,
    client: reqwest::Client,
    runtime: Handle,
    offline: bool,
    mirrors: Mirrors,
    under_way: Mutex<HashMap<Name, watch::Receiver<Option<Outcome>>>>,
    /// Volatile files with a stored copy: when upstream was last asked, and whether it could be.
    checked: Mutex<HashMap<String, Checked>>,
    /// Files whose content is known: what their stored copies are.
    seen: Seen,
    opened: Opened,
}

/// What a flight brings: a file, and which one where that is known. A file that changes while it is fetched is two flights.
type Name = (String, Option<Sha256Digest>);

#[derive(Debug, Clone, Copy)]
struct Checked {
    at: Instant,
    stale: bool,
}

/// Removes a flight from the list, also if its task panics or its runtime ends.
struct Listing<'a> {
    flights: &'a Flights,
    name: Name,
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        lock(&self.flights.under_way).remove(&self.name);
    }
}

impl Flights {
    pub fn new(
        store: Arc<Store>,
        ledger: Arc<dyn Ledger>,
        client: reqwest::Client,
        runtime: Handle,
        offline: bool,
    ) -> Self {
        let (mirrors, under_way, checked, seen, opened) = Default::default();
        Self { store, ledger, client, runtime, offline, mirrors, under_way, checked, seen, opened }
    }

    /// How many times a mirror has sent another file than the one that is known.
    pub fn contradictions(&self) -> u64 {
        self.mirrors.contradictions.load(Ordering::Relaxed)
    }

    /// The file, if nobody need be asked about it and nothing be waited for: neither upstream nor a disk.
    pub fn at_hand(&self, key: &str, class: Class, content: Option<Expected>) -> Option<Entity> {
        let stored = self.opened.get(key)?;
        self.as_settled(key, class, content, stored)
    }

    /// The file, from the store if nobody need be asked about it.
    pub async fn find(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let content = wanted.content;
        if wanted.content.is_some() || self.settled_as(&wanted.key, wanted.class).is_some() {
            let stored = self.stored(&wanted).await?;
            let settled = stored.and_then(|stored| self.as_settled(&wanted.key, wanted.class, content, stored));
            if let Some(entity) = settled {
                return Ok(entity);
            }
        }
        let entity = self.join(wanted).await?;
        Ok(match content {
            Some(content) => entity.vouched(content.sha256),
            None => entity,
        })
    }

    /// A stored file, if neither upstream need be asked about it nor its bytes be looked at.
    fn as_settled(&self, key: &str, class: Class, content: Option<Expected>, stored: Stored) -> Option<Entity> {
        match content {
            Some(content) => {
                let seen = self.seen.digest(key, &stored.identity) == Some(content.sha256);
                seen.then(|| stored.entity.vouched(content.sha256))
            }
            None => self.settled_as(key, class).map(|stale| stored.entity.marked(stale)),
        }
    }

    /// Whether a stored copy of unknown content is as good as upstream's answer, and if so whether it is stale.
    fn settled_as(&self, key: &str, class: Class) -> Option<bool> {
        match class {
            _ if self.offline => Some(false),
            Class::Immutable => Some(false),
            Class::Volatile => {
                let checked = lock(&self.checked).get(key).copied()?;
                (checked.at.elapsed() < FRESH).then_some(checked.stale)
            }
        }
    }

    /// The stored file, however old.
    async fn stored(&self, wanted: &Wanted) -> Result<Option<Stored>, Refusal> {
        let (store, key) = (Arc::clone(&self.store), wanted.key.clone());
        let found = spawn_blocking(move || store.lookup(&key)).await.context("reading the store");
        let found = found.and_then(|found| found.with_context(|| format!("reading {} in the store", wanted.key)));
        let found = found.map_err(|error| Refusal::store(&error))?;
        if let Some(stored) = &found {
            self.opened.keep(&wanted.key, stored);
        }
        Ok(found)
    }

    /// Joins the flight for a file, starting it if there is none.
    async fn join(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let mut outcome = {
            let name = (wanted.key.clone(), wanted.content.map(|content| content.sha256));
            let mut under_way = lock(&self.under_way);
            under_way.get(&name).cloned().unwrap_or_else(|| {
                let (announce, outcome) = watch::channel(None);
                under_way.insert(name.clone(), outcome.clone());
                let flights = Arc::clone(self);
                self.runtime.spawn(async move { flights.fly(name, &wanted, &announce).await });
                outcome
            })
        };
        match outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(Refusal::abandoned()),
        }
    }

    /// Waits until no flight is under way.
    pub async fn landed(&self) {
        loop {
            let next = lock(&self.under_way).values().next().cloned();
            let Some(mut flight) = next else { return };
            // Its end closes the channel, after it left the list.
            while flight.changed().await.is_ok() {}
        }
    }

    async fn fly(&self, name: Name, wanted: &Wanted, announce: &watch::Sender<Option<Outcome>>) {
        let listing = Listing { flights: self, name };
        match self.ask(wanted).await {
            Ok(first) => self.bring(wanted, first, announce, listing).await,
            Err(outcome) => {
                announce.send_replace(Some(outcome));
            }
        }
    }

    /// Looks whether the file has to be brought: `Ok` if so, with upstream's answer where it has been asked; `Err` is the outcome
    /// without one.
    async fn ask(&self, wanted: &Wanted) -> Result<Option<Response>, Outcome> {
        let stored = self.stored(wanted).await.map_err(Err)?;
        let to_bring = || if self.offline { Err(Err(Refusal::offline(wanted))) } else { Ok(None) };
        if let Some(content) = wanted.content {
            let Some(stored) = stored else { return to_bring() };
            let right = self.compared(wanted, content, stored).await.map_err(Err)?;
            return right.map_or_else(to_bring, |right| Err(Ok(right)));
        }
        let Some(Stored { entity: stored, .. }) = stored else { return to_bring() };
        // Another flight may have landed between the asker's look into the store and this one's start.
        if let Some(stale) = self.settled_as(&wanted.key, wanted.class) {
            return Err(Ok(stored.marked(stale)));
        }
        // No second try here: what is stored is better than a client that waits.
        match upstream::revalidate(&self.client, &wanted.sources[0], &stored.head).await {
            Ok(News::Changed(response)) => Ok(Some(response)),
            Ok(News::NotModified) => {
                self.check(wanted, false);
                Err(Ok(stored))
            }
            // Upstream's word that it is gone stands; the copy stays for `--offline`.
            Err(trouble @ Trouble::Gone) => Err(Err(Refusal::upstream(&Failure { origin: wanted.origin(0), trouble }))),
            Err(trouble) => {
                tracing::warn!("revalidating {}: {trouble}; the stored copy is served as stale", wanted.origin(0));
                self.check(wanted, true);
                Err(Ok(stored.marked(true)))
            }
        }
    }

    /// The stored file, if it is the one that is known. It is hashed once in a run.
    async fn compared(&self, wanted: &Wanted, right: Expected, stored: Stored) -> Result<Option<Entity>, Refusal> {
        let Stored { entity, identity } = stored;
        let Wanted { key, .. } = wanted;
        if right.size.is_some_and(|size| entity.length != Some(size)) {
            tracing::info!("{key} is stored with another length than the file that is known");
            return Ok(None);
        }
        let digest = match self.seen.digest(key, &identity) {
            Some(digest) => digest,
            None => {
                let file = Arc::clone(entity.file());
                let hashed = spawn_blocking(move || seen::hash(&file)).await.context("reading the store");
                let hashed = hashed.and_then(|hashed| hashed.with_context(|| format!("reading {key} in the store")));
                hashed.map_err(|error| Refusal::store(&error))?
            }
        };
        if digest != right.sha256 {
            self.seen.note(key, identity, digest);
            tracing::warn!("{key} is stored with SHA-256 {digest}, but the file that is known has {}", right.sha256);
            return Ok(None);
        }
        let learnt = teach(&self.ledger, wanted, entity.file()).await;
        learnt.map_err(|error| Refusal::store(&error))?;
        // Only now: whoever finds it seen is given it without a flight, and the ledger has to have learnt from it.
        self.seen.note(key, identity, digest);
        Ok(Some(entity))
    }

    /// Copies a body into the store while readers follow, and publishes it.
    async fn bring(
        &self,
        wanted: &Wanted,
        first: Option<Response>,
        announce: &watch::Sender<Option<Outcome>>,
        listing: Listing<'_>,
    ) {
        let store = Arc::clone(&self.store);
        let part = spawn_blocking(move || store.part()).await.context("writing to the store");
        let part = match part.and_then(|part| part.context("writing to the store")) {
            Ok(part) => part,
            Err(error) => {
                tracing::error!("fetching {}: {error:#}", wanted.key);
                announce.send_replace(Some(Err(Refusal::store(&error))));
                return;
            }
        };
        let progress = watch::channel(Progress { readable: 0, phase: Phase::Growing }).0;
        let file = Arc::clone(&part.file);
        let download = Download::new(&self.client, wanted, &self.mirrors, &self.ledger, file, &progress, announce);
        let body = match download.run(first).await {
            Ok(body) => body,
            Err(failure) => {
                if !matches!(failure.trouble, Trouble::Gone) {
                    tracing::error!("fetching {failure}");
                }
                drop(listing);
                // Those who read it already are cut off; those who still wait are told why.
                progress.send_modify(|progress| progress.phase = Phase::Broken);
                announce.send_if_modified(|outcome| {
                    let unanswered = outcome.is_none();
                    outcome.get_or_insert_with(|| Err(Refusal::upstream(&failure)));
                    unanswered
                });
                return;
            }
        };
        if !body.delimited {
            tracing::warn!("{} is not kept: upstream did not say where it ends", wanted.origin(0));
            return;
        }
        let (store, key, head) = (Arc::clone(&self.store), wanted.key.clone(), Arc::clone(&body.head));
        let published = spawn_blocking(move || store.publish(part, &key, &head)).await.context("keeping it");
        self.opened.forget(&wanted.key);
        match (published.and_then(|published| published), wanted.content) {
            (Ok(identity), Some(content)) => self.seen.note(&wanted.key, identity, content.sha256),
            (Ok(_), None) if wanted.class == Class::Volatile => self.check(wanted, false),
            (Ok(_), None) => {}
            // Its readers have it, rightly; the next one will fetch it again.
            (Err(error), _) => tracing::error!("keeping {}: {error:#}", wanted.key),
        }
    }

    fn check(&self, wanted: &Wanted, stale: bool) {
        lock(&self.checked).insert(wanted.key.clone(), Checked { at: Instant::now(), stale });
    }
}

/// Every change under these locks is a single insertion or removal: a panic elsewhere leaves nothing half-done in them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
