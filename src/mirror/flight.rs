use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use reqwest::Response;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    download::Download,
    entity::{Entity, Phase, Progress},
    refusal::Refusal,
    route::Class,
    store::Store,
    upstream::{self, News, Trouble, Wanted},
};

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
    client: reqwest::Client,
    runtime: Handle,
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>>,
    /// Volatile files with a stored copy: when upstream was last asked, and whether it could be.
    checked: Mutex<HashMap<String, Checked>>,
}

#[derive(Debug, Clone, Copy)]
struct Checked {
    at: Instant,
    stale: bool,
}

/// Removes a flight from the list, also if its task panics or its runtime ends.
struct Listing<'a> {
    flights: &'a Flights,
    key: &'a str,
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        lock(&self.flights.under_way).remove(self.key);
    }
}

impl Flights {
    pub fn new(store: Arc<Store>, client: reqwest::Client, runtime: Handle) -> Self {
        Self { store, client, runtime, under_way: Mutex::default(), checked: Mutex::default() }
    }

    /// The stored file, if upstream need not be asked about it.
    pub async fn settled(&self, wanted: &Wanted) -> Result<Option<Entity>, Refusal> {
        match self.settled_as(wanted) {
            Some(stale) => Ok(self.stored(wanted).await?.map(|entity| entity.marked(stale))),
            None => Ok(None),
        }
    }

    /// Whether a stored copy is as good as upstream's answer, and if so whether it is stale.
    fn settled_as(&self, wanted: &Wanted) -> Option<bool> {
        match wanted.class {
            Class::Immutable => Some(false),
            Class::Volatile => {
                let checked = lock(&self.checked).get(&wanted.key).copied()?;
                (checked.at.elapsed() < FRESH).then_some(checked.stale)
            }
        }
    }

    /// The stored file, however old.
    pub async fn stored(&self, wanted: &Wanted) -> Result<Option<Entity>, Refusal> {
        let (store, key) = (Arc::clone(&self.store), wanted.key.clone());
        let found = spawn_blocking(move || store.lookup(&key)).await.context("reading the store");
        let found = found.and_then(|found| found.with_context(|| format!("reading {} in the store", wanted.key)));
        found.map_err(|error| Refusal::store(&error))
    }

    /// Joins the flight for a file, starting it if there is none.
    pub async fn join(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let mut outcome = {
            let mut under_way = lock(&self.under_way);
            under_way.get(&wanted.key).cloned().unwrap_or_else(|| {
                let (announce, outcome) = watch::channel(None);
                under_way.insert(wanted.key.clone(), outcome.clone());
                let flights = Arc::clone(self);
                self.runtime.spawn(async move { flights.fly(&wanted, &announce).await });
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

    async fn fly(&self, wanted: &Wanted, announce: &watch::Sender<Option<Outcome>>) {
        let listing = Listing { flights: self, key: &wanted.key };
        match self.ask(wanted).await {
            Ok(response) => self.bring(wanted, response, announce, listing).await,
            Err(outcome) => {
                announce.send_replace(Some(outcome));
            }
        }
    }

    /// Asks upstream: `Ok` is a body to copy, `Err` the outcome without one.
    async fn ask(&self, wanted: &Wanted) -> Result<Response, Outcome> {
        let Some(stored) = self.stored(wanted).await.map_err(Err)? else {
            return self.open(wanted).await.map_err(|trouble| {
                if !matches!(trouble, Trouble::Gone) {
                    tracing::warn!("fetching {}: {trouble}", wanted.origin());
                }
                Err(Refusal::upstream(wanted, &trouble))
            });
        };
        // Another flight may have landed between the asker's look into the store and this one's start.
        if let Some(stale) = self.settled_as(wanted) {
            return Err(Ok(stored.marked(stale)));
        }
        // No second try here: what is stored is better than a client that waits.
        match upstream::revalidate(&self.client, wanted, &stored.head).await {
            Ok(News::Changed(response)) => Ok(response),
            Ok(News::NotModified) => {
                self.check(wanted, false);
                Err(Ok(stored))
            }
            // Upstream's word that it is gone stands; the copy stays for `--offline`.
            Err(trouble @ Trouble::Gone) => Err(Err(Refusal::upstream(wanted, &trouble))),
            Err(trouble) => {
                tracing::warn!("revalidating {}: {trouble}; the stored copy is served as stale", wanted.origin());
                self.check(wanted, true);
                Err(Ok(stored.marked(true)))
            }
        }
    }

    /// Asks for a file of which there is no copy, with some patience.
    async fn open(&self, wanted: &Wanted) -> Result<Response, Trouble> {
        let mut pauses = upstream::pauses();
        loop {
            match (upstream::open(&self.client, wanted).await, pauses.next()) {
                (Err(Trouble::Broken(_)), Some(pause)) => sleep(pause).await,
                (result, _) => return result,
            }
        }
    }

    /// Copies a body into the store while readers follow, and publishes it.
    async fn bring(
        &self,
        wanted: &Wanted,
        response: Response,
        announce: &watch::Sender<Option<Outcome>>,
        listing: Listing<'_>,
    ) {
        let store = Arc::clone(&self.store);
        let part = spawn_blocking(move || store.part()).await.context("writing to the store");
        let part = match part.and_then(|part| part.context("writing to the store")) {
            Ok(part) => part,
            Err(error) => {
                tracing::error!("fetching {}: {error:#}", wanted.origin());
                announce.send_replace(Some(Err(Refusal::store(&error))));
                return;
            }
        };
        let head = Arc::new(upstream::head(response.headers()));
        let length = upstream::content_length(response.headers());
        let trusted = upstream::is_delimited(response.headers()) || wanted.digest.is_some();
        let (progress, follow) = watch::channel(Progress { readable: 0, phase: Phase::Growing });
        let entity = Entity::growing(Arc::clone(&part.file), Arc::clone(&head), length, follow);
        announce.send_replace(Some(Ok(entity)));

        let file = Arc::clone(&part.file);
        let download = Download::new(&self.client, wanted, Arc::clone(&head), length, file, &progress);
        if let Err(error) = download.run(response).await {
            tracing::error!("fetching {}: {error:#}", wanted.origin());
            drop(listing);
            progress.send_modify(|progress| progress.phase = Phase::Broken);
            return;
        }
        if !trusted {
            tracing::warn!("{} is not kept: upstream did not say where it ends", wanted.origin());
            return;
        }
        let (store, key) = (Arc::clone(&self.store), wanted.key.clone());
        let published = spawn_blocking(move || store.publish(part, &key, &head)).await.context("keeping it");
        match published.and_then(|published| published) {
            Ok(()) if wanted.class == Class::Volatile => self.check(wanted, false),
            Ok(()) => {}
            // Its readers have it, rightly; the next one will fetch it again.
            Err(error) => tracing::error!("keeping {}: {error:#}", wanted.origin()),
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
