use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::Ordering},
    time::Duration,
};

use anyhow::Context;
use reqwest::Response;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking, time::Instant};

use super::{
    download::{Download, Failure, Mirrors, in_time},
    entity::{Entity, Phase, Progress},
    knowledge::Knowledge,
    ledger::Ledger,
    refusal::Refusal,
    route::Class,
    store::{Record, Store, Stored},
    under_way::{Listing, Name, UnderWay},
    upstream::{self, News, Trouble, Wanted},
};
use crate::{fetch::Client, model::Expected};

/// A volatile file is not asked about again for this long. APT asks for the same `InRelease` several times in a row, and
/// with many machines at once every answer would otherwise cost a round trip.
const FRESH: Duration = Duration::from_secs(5);

/// What whoever asked for a file gets.
pub(super) type Outcome = Result<Entity, Refusal>;

/// The conversations with upstream: at most one per file at any time, shared by all who want that file.
///
/// A flight is a task of its own, so a client that hangs up ends nothing that has begun. It stays in the list until its file is in the
/// store, so that there is no moment in which a newcomer finds neither; a failed one leaves the list before its readers
/// learn of it, so that whoever asks again gets a new flight.
pub(super) struct Flights {
    store: Arc<Store>,
    knowledge: RwLock<Arc<Knowledge>>,
    client: Client,
    runtime: Handle,
    offline: bool,
    mirrors: Mirrors,
    under_way: UnderWay,
    /// Volatile files with a stored copy: when upstream was last asked, and whether it could be.
    checked: Mutex<HashMap<String, Checked>>,
}

/// A file that is in the store.
pub(super) struct Kept {
    pub file: Arc<File>,
    pub length: u64,
    /// Whether these bytes were there before they were asked for.
    pub was_here: bool,
}

#[derive(Debug, Clone, Copy)]
struct Checked {
    at: Instant,
    stale: bool,
}

/// What a flight does once it is known what there is.
enum Next {
    /// Nothing: the file is in the store.
    Give(Entity),
    /// It fetches the file, beginning with upstream's answer where it has been asked.
    Bring(Option<Response>),
}

impl Flights {
    pub fn new(store: Arc<Store>, ledger: Arc<dyn Ledger>, client: Client, runtime: Handle, offline: bool) -> Self {
        let (mirrors, under_way, checked) = (Mirrors::default(), UnderWay::none(), Mutex::default());
        let knowledge = RwLock::new(Arc::new(Knowledge::of(ledger)));
        Self { store, knowledge, client, runtime, offline, mirrors, under_way, checked }
    }

    /// What is known of files now.
    pub fn knowledge(&self) -> Arc<Knowledge> {
        Arc::clone(&self.knowledge.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is known of files. What is wanted already is brought by what was known of it then.
    pub fn go_by(&self, ledger: Arc<dyn Ledger>) {
        let mut knowledge = self.knowledge.write().unwrap_or_else(PoisonError::into_inner);
        *knowledge = Arc::new(knowledge.succeeded_by(ledger));
        drop(knowledge);
        lock(&self.checked).clear();
    }

    /// How many times a mirror has sent another file than the one that is known.
    pub fn contradictions(&self) -> u64 {
        self.mirrors.contradictions.load(Ordering::Relaxed)
    }

    /// The file, if nobody need be asked about it and nothing be waited for: neither upstream nor a disk.
    pub fn at_hand(&self, known: &Knowledge, key: &str, class: Class, content: Option<Expected>) -> Option<Entity> {
        let stored = self.store.opened().get(key)?;
        self.as_settled(known, key, class, content, stored)
    }

    /// The file, from the store if nobody need be asked about it.
    pub async fn find(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let content = wanted.content;
        if wanted.content.is_some() || self.settled_as(&wanted.key, wanted.class).is_some() {
            let stored = self.stored(&wanted).await?;
            let Wanted { known, key, class, .. } = &wanted;
            let settled = stored.and_then(|stored| self.as_settled(known, key, *class, content, stored));
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

    /// Sees to it that the file is in the store, and waits until it is.
    pub async fn keep(self: &Arc<Self>, wanted: Wanted) -> Result<Kept, Refusal> {
        let before = self.stored(&wanted).await?.map(|stored| stored.identity);
        self.find(wanted.clone()).await?;
        if let Some(mut flight) = self.under_way.get(&name(&wanted)) {
            // Its end comes after the verdict.
            while flight.changed().await.is_ok() {}
        }
        let right = |stored: &Stored| {
            wanted.content.is_none_or(|right| wanted.known.has_seen(&wanted.key, &stored.identity, right.sha256))
        };
        match self.stored(&wanted).await?.filter(right) {
            Some(Stored { entity, identity, .. }) => Ok(Kept {
                file: Arc::clone(entity.file()),
                length: entity.length.unwrap_or_default(),
                was_here: before == Some(identity),
            }),
            None => Err(Refusal::unkept(&wanted)),
        }
    }

    /// Whether the file is in the store, as far as its length tells.
    pub async fn has(&self, wanted: &Wanted) -> Result<bool, Refusal> {
        let size = wanted.content.and_then(|content| content.size);
        let stored = self.stored(wanted).await?;
        Ok(stored.is_some_and(|stored| size.is_none() || stored.entity.length == size))
    }

    /// A stored file, if neither upstream need be asked about it nor its bytes be looked at.
    fn as_settled(
        &self,
        known: &Knowledge,
        key: &str,
        class: Class,
        content: Option<Expected>,
        stored: Stored,
    ) -> Option<Entity> {
        let stale = match content {
            Some(_) => false,
            None => self.settled_as(key, class)?,
        };
        let right = content.map(|content| content.sha256).or(stored.sha256);
        let seen = right.is_none_or(|right| known.has_seen(key, &stored.identity, right));
        let entity = seen.then_some(stored.entity)?.marked(stale);
        Some(match content {
            Some(content) => entity.vouched(content.sha256),
            None => entity,
        })
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
            self.store.opened().keep(&wanted.key, stored);
        }
        Ok(found)
    }

    /// Joins the flight for a file, starting it if there is none.
    async fn join(self: &Arc<Self>, wanted: Wanted) -> Outcome {
        let mut outcome = self.under_way.join(name(&wanted), |announce, listing| {
            let flights = Arc::clone(self);
            self.runtime.spawn(async move { flights.fly(&wanted, &announce, listing).await });
        });
        match outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(Refusal::abandoned()),
        }
    }

    /// Waits until no flight is under way.
    pub async fn landed(&self) {
        self.under_way.landed().await;
    }

    async fn fly(&self, wanted: &Wanted, announce: &watch::Sender<Option<Outcome>>, mut listing: Listing) {
        let outcome = match self.look(wanted).await {
            Ok(Next::Bring(first)) => {
                // No clock of upstream's runs meanwhile. Where it has begun to answer, it may break that off, and is asked for the
                // rest. Who has a turn waits for upstream and the disk only, never for another flight.
                let Some(_turn) = listing.turn(announce).await else { return };
                return self.bring(wanted, first, announce, listing).await;
            }
            Ok(Next::Give(entity)) => Ok(entity),
            Err(refusal) => Err(refusal),
        };
        announce.send_replace(Some(outcome));
    }

    /// Looks whether the file has to be fetched: into the store, and asks upstream about a stored copy that may be old.
    async fn look(&self, wanted: &Wanted) -> Result<Next, Refusal> {
        let Some(stored) = self.stored(wanted).await? else { return self.to_bring(wanted, Refusal::offline) };
        if let Some(content) = wanted.content {
            return match self.compared(wanted, content, stored).await? {
                Some(right) => Ok(Next::Give(right)),
                None => self.to_bring(wanted, Refusal::offline),
            };
        }
        if self.is_damaged(wanted, &stored).await? {
            return self.to_bring(wanted, Refusal::damaged);
        }
        let stored = stored.entity;
        // Another flight may have landed between the asker's look into the store and this one's start.
        if let Some(stale) = self.settled_as(&wanted.key, wanted.class) {
            return Ok(Next::Give(stored.marked(stale)));
        }
        // No second try here and no long silence: what is stored is better than a client that waits. APT does for 30 s.
        let news = upstream::revalidate(&self.client, &wanted.sources[0], &stored.head);
        match in_time(false, news).await {
            Ok(News::Changed(response)) => Ok(Next::Bring(Some(response))),
            Ok(News::NotModified) => {
                self.check(wanted, false);
                Ok(Next::Give(stored))
            }
            // Upstream's word that it is gone stands; the copy stays for `--offline`.
            Err(trouble @ Trouble::Gone) => Err(Refusal::upstream(&Failure { origin: wanted.origin(0), trouble })),
            Err(trouble) => {
                tracing::warn!("revalidating {}: {trouble}; the stored copy is served as stale", wanted.origin(0));
                self.check(wanted, true);
                Ok(Next::Give(stored.marked(true)))
            }
        }
    }

    /// The file has to be fetched, or refused where nobody may be asked for it.
    fn to_bring(&self, wanted: &Wanted, refusal: fn(&Wanted) -> Refusal) -> Result<Next, Refusal> {
        if self.offline { Err(refusal(wanted)) } else { Ok(Next::Bring(None)) }
    }

    /// The stored file, if it is the one that is known. It is hashed once in a run.
    async fn compared(&self, wanted: &Wanted, right: Expected, stored: Stored) -> Result<Option<Entity>, Refusal> {
        let Wanted { key, known, .. } = wanted;
        if right.size.is_some_and(|size| stored.entity.length != Some(size)) {
            tracing::info!("{key} is stored with another length than the file that is known");
            return Ok(None);
        }
        let digest = known.digest(key, &stored).await.map_err(|error| Refusal::store(&error))?;
        if digest != right.sha256 {
            known.note(key, stored.identity, digest);
            tracing::warn!("{key} is stored with SHA-256 {digest}, but the file that is known has {}", right.sha256);
            return Ok(None);
        }
        let learnt = known.teach(wanted.place(), stored.entity.file()).await;
        learnt.map_err(|error| Refusal::store(&error))?;
        // Only now: whoever finds it seen is given it without a flight, and the ledger has to have learnt from it.
        known.note(key, stored.identity, digest);
        Ok(Some(stored.entity))
    }

    /// Whether a stored file of unknown content is not what it was when it was stored.
    async fn is_damaged(&self, wanted: &Wanted, stored: &Stored) -> Result<bool, Refusal> {
        let Some(right) = stored.sha256 else { return Ok(false) };
        let Wanted { key, known, .. } = wanted;
        let digest = known.digest(key, stored).await.map_err(|error| Refusal::store(&error))?;
        known.note(key, stored.identity, digest);
        if digest != right {
            tracing::warn!("{key} is damaged: it has SHA-256 {digest}, and had {right} when it was stored");
        }
        Ok(digest != right)
    }

    /// Copies a body into the store while readers follow, and publishes it.
    async fn bring(
        &self,
        wanted: &Wanted,
        first: Option<Response>,
        announce: &watch::Sender<Option<Outcome>>,
        listing: Listing,
    ) {
        let store = Arc::clone(&self.store);
        let part = spawn_blocking(move || store.part()).await.context("writing to the store");
        let part = match part.and_then(|part| part.context("writing to the store")) {
            Ok(part) => part,
            Err(error) => {
                self.store.room().report(format_args!("fetching {}", wanted.key), &error);
                announce.send_replace(Some(Err(Refusal::store(&error))));
                return;
            }
        };
        let progress = watch::channel(Progress { readable: 0, phase: Phase::Growing }).0;
        let sink = part.sink.clone();
        let download = Download::new(&self.client, wanted, &self.mirrors, sink, &progress, announce);
        let body = match download.run(first).await {
            Ok(body) => body,
            Err(failure) => {
                match &failure.trouble {
                    Trouble::Gone => {}
                    Trouble::Store(error) => {
                        self.store.room().report(format_args!("fetching {}", failure.origin), error);
                    }
                    _ => tracing::error!("fetching {failure}"),
                }
                // Whoever learns of the failure finds nothing of it.
                drop(part);
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
        if !self.store.room().fits(body.written) {
            tracing::warn!("{} is not kept: it is larger than --cache-size", wanted.origin(0));
            return;
        }
        let (store, key, verified) = (Arc::clone(&self.store), wanted.key.clone(), wanted.content.is_some());
        let publish = move || {
            let record = Record { head: &body.head, sha256: body.sha256, verified };
            store.publish(part, &key, &record).map(|identity| (identity, body.sha256))
        };
        let published = spawn_blocking(publish).await.context("keeping it");
        self.store.opened().forget(&wanted.key);
        match published.and_then(|published| published) {
            Ok((identity, sha256)) => {
                wanted.known.note(&wanted.key, identity, sha256);
                if !verified && wanted.class == Class::Volatile {
                    self.check(wanted, false);
                }
            }
            // Its readers have it, rightly; the next one will fetch it again.
            Err(error) => self.store.room().report(format_args!("keeping {}", wanted.key), &error),
        }
        let room = Arc::clone(self.store.room());
        // Whoever wanted the file has it, and whoever wants it meanwhile finds this flight.
        let _ = spawn_blocking(move || room.trim()).await;
    }

    fn check(&self, wanted: &Wanted, stale: bool) {
        lock(&self.checked).insert(wanted.key.clone(), Checked { at: Instant::now(), stale });
    }
}

fn name(wanted: &Wanted) -> Name {
    (wanted.key.clone(), wanted.content.map(|content| (content.sha256, wanted.known.number())))
}

/// Every change under it is a single insertion or removal: a panic elsewhere leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
