use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use axum::http::StatusCode;
use bytes::{Buf, Bytes};
use reqwest::Response;
use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    entity::{Entity, Head, Phase, Progress},
    flight::Outcome,
    health::Health,
    held::readable,
    rotation::Rotation,
    store::Sink,
    upstream::{self, Begun, Trouble, Wanted},
};
use crate::{fetch::Client, model::Sha256Digest};

/// A body that brings nothing for this long is broken and asked for again. librepo gives up on us after 30 s. An answer is
/// waited for as long, where another mirror could be asked.
const STALL: Duration = Duration::from_secs(20);

/// What all downloads know of the mirrors.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    pub health: Mutex<Health>,
    /// How many times a mirror has sent another file than the one that is known.
    pub contradictions: AtomicU64,
}

/// Copies one file from upstream, telling readers how far it is.
///
/// A body that breaks is continued where it stopped. A file whose content is known is continued from the next mirror at once;
/// whose bytes they are does not matter, since the whole is compared.
pub(super) struct Download<'a> {
    client: &'a Client,
    wanted: &'a Wanted,
    mirrors: &'a Mirrors,
    sink: Sink,
    progress: &'a watch::Sender<Progress>,
    announce: &'a watch::Sender<Option<Outcome>>,
    announced: bool,
    rotation: Rotation,
    body: Option<Body>,
    failure: Option<Failure>,
}

/// A whole file.
pub(super) struct Whole {
    /// What the first mirror said about it.
    pub head: Arc<Head>,
    /// Whether its end is certain.
    pub delimited: bool,
    /// Its bytes.
    pub written: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
}

/// A file of which upstream has sent a part, or all.
struct Body {
    /// What the first mirror said about it.
    head: Arc<Head>,
    /// Whether its end is certain.
    delimited: bool,
    /// Over what is written; taken while a chunk is.
    hasher: Option<Sha256>,
    length: Option<u64>,
    written: u64,
    /// Those it has bytes of.
    senders: Vec<usize>,
}

/// Why a file could not be had, and from whom. Of several mirrors, the one whose answer tells most.
#[derive(Debug)]
pub(super) struct Failure {
    pub origin: String,
    pub trouble: Trouble,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.trouble)
    }
}

impl<'a> Download<'a> {
    pub fn new(
        client: &'a Client,
        wanted: &'a Wanted,
        mirrors: &'a Mirrors,
        sink: Sink,
        progress: &'a watch::Sender<Progress>,
        announce: &'a watch::Sender<Option<Outcome>>,
    ) -> Self {
        let health = mirrors.health.lock().unwrap_or_else(PoisonError::into_inner);
        let rotation = Rotation::new(health.order(&wanted.sources, Instant::now()));
        drop(health);
        let (announced, body, failure) = (false, None, None);
        Self { client, wanted, mirrors, sink, progress, announce, announced, rotation, body, failure }
    }

    /// Runs to the verdict, beginning with upstream's first answer if there is one already. `Ok` means that the file is whole
    /// and, where its content is known, right.
    pub async fn run(mut self, mut first: Option<Response>) -> Result<Whole, Failure> {
        loop {
            let before = self.written();
            let result = match first.take() {
                Some(response) => self.begin(response).await,
                None => self.proceed().await,
            };
            let verdict = match result {
                Ok(()) => self.verify().await,
                Err(trouble) => Err(trouble),
            };
            let trouble = match verdict {
                Ok(whole) => return Ok(whole),
                Err(trouble) => trouble,
            };
            if self.written() > before {
                self.rotation.progressed();
            }
            sleep(self.recover(trouble)?).await;
        }
    }

    fn written(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.written)
    }

    /// Asks the mirror whose turn it is for the file, or for what is missing of it.
    async fn proceed(&mut self) -> Result<(), Trouble> {
        let (source, patient) = (self.rotation.current(), !self.rotation.has_another());
        let url = &self.wanted.sources[source];
        let Some(body) = &mut self.body else {
            let response = in_time(patient, upstream::open(self.client, url)).await?;
            return self.begin(response).await;
        };
        tracing::debug!("resuming {} at byte {}", self.wanted.origin(source), body.written);
        let head = self.wanted.content.is_none().then_some(&*body.head);
        let begun = Begun { head, class: self.wanted.class, length: body.length, offset: body.written };
        let (response, known) = in_time(patient, upstream::resume(self.client, url, begun)).await?;
        upstream::plain(self.wanted, &response)?;
        if !body.senders.contains(&source) {
            body.senders.push(source);
        }
        self.copy(response, known).await
    }

    /// Starts the file with a mirror's answer.
    async fn begin(&mut self, response: Response) -> Result<(), Trouble> {
        upstream::plain(self.wanted, &response)?;
        let length = upstream::content_length(response.headers());
        let size = self.wanted.content.and_then(|content| content.size);
        if let (Some(length), Some(size)) = (length, size)
            && length != size
        {
            return Err(Trouble::Wrong(anyhow!(
                "upstream announced {length} bytes, but the file that is known has {size}"
            )));
        }
        let file = Arc::clone(&self.sink.file);
        in_store(move || file.set_len(0)).await?;
        self.body = Some(Body {
            head: Arc::new(upstream::head(response.headers())),
            delimited: upstream::is_delimited(response.headers()) || self.wanted.content.is_some(),
            hasher: Some(Sha256::new()),
            length: size.or(length),
            written: 0,
            senders: vec![self.rotation.current()],
        });
        if self.wanted.content.is_none() {
            self.announce();
        }
        self.copy(response, 0).await
    }

    /// Appends a body, less its first `known` bytes.
    async fn copy(&mut self, mut response: Response, mut known: u64) -> Result<(), Trouble> {
        // Its end is that of the mirror's file, not of a connection or of a part.
        let whole = response.status() == StatusCode::OK && upstream::is_delimited(response.headers());
        loop {
            let body = self.body.as_ref().expect("a body is begun before it is copied");
            let (length, written) = (body.length, body.written);
            if length == Some(written) {
                return Ok(());
            }
            let news = timeout(STALL, response.chunk()).await;
            let news = news.map_err(|_| Trouble::Broken(anyhow!("upstream fell silent at byte {written}")))?;
            let news = news.map_err(reqwest::Error::without_url).context("reading from upstream");
            let Some(mut chunk) = news.map_err(Trouble::Broken)? else {
                return match length {
                    None if known == 0 => Ok(()),
                    // As in chunks, which announce no length: an error page, say. Nothing of it has been given out yet.
                    Some(length)
                        if whole && self.wanted.content.is_some() && !self.announced && body.senders.len() == 1 =>
                    {
                        Err(Trouble::Wrong(anyhow!(
                            "upstream has {written} bytes, but the file that is known has {length}"
                        )))
                    }
                    _ => Err(Trouble::Broken(anyhow!("upstream ended at byte {written}"))),
                };
            };
            let skipped = chunk.len().min(usize::try_from(known).unwrap_or(usize::MAX));
            chunk.advance(skipped);
            known -= skipped as u64;
            self.append(chunk).await?;
        }
    }

    async fn append(&mut self, chunk: Bytes) -> Result<(), Trouble> {
        let body = self.body.as_mut().expect("a body is begun before it is appended to");
        let (offset, sink) = (body.written, self.sink.clone());
        let end = offset + chunk.len() as u64;
        if let Some(length) = body.length.filter(|length| end > *length) {
            let error = anyhow!("upstream sent more than the {length} bytes there are");
            return Err(if self.wanted.content.is_some() { Trouble::Wrong(error) } else { Trouble::Final(error) });
        }
        let mut hasher = body.hasher.take().expect("no fetch goes on after the store refused a chunk");
        // A file system may block, and a worker thread of the runtime must not.
        let hasher = in_store(move || {
            hasher.update(&chunk);
            sink.write_all_at(&chunk, offset).map(|()| hasher)
        });
        body.hasher = Some(hasher.await?);
        body.written = end;
        let readable = readable(end, body.length, self.wanted.content.is_some());
        self.progress.send_replace(Progress { readable, phase: Phase::Growing });
        if readable > 0 {
            self.announce();
        }
        Ok(())
    }

    async fn verify(&mut self) -> Result<Whole, Trouble> {
        let Body { head, delimited, hasher, written, senders, .. } =
            self.body.as_ref().expect("a body is begun before it is judged");
        let hasher = hasher.clone().expect("no fetch goes on after the store refused a chunk");
        let sha256 = Sha256Digest(hasher.finalize().into());
        let whole = Whole { head: Arc::clone(head), delimited: *delimited, written: *written, sha256 };
        if let Some(right) = self.wanted.content.map(|content| content.sha256) {
            if sha256 != right {
                let who = if senders.len() == 1 { "upstream" } else { "several mirrors together" };
                return Err(Trouble::Wrong(anyhow!(
                    "{who} sent SHA-256 {sha256}, but the file that is known has {right}"
                )));
            }
            let learnt = self.wanted.known.teach(self.wanted.place(), &self.sink.file).await;
            learnt.map_err(Trouble::Store)?;
        }
        self.progress.send_replace(Progress { readable: whole.written, phase: Phase::Complete });
        self.announce();
        Ok(whole)
    }

    /// Gives the file to those who wait for it. From here on nothing that they may have read can be taken back.
    fn announce(&mut self) {
        let Some(body) = self.body.as_ref().filter(|_| !self.announced) else { return };
        self.announced = true;
        let follow = self.progress.subscribe();
        let entity = Entity::growing(Arc::clone(&self.sink.file), Arc::clone(&body.head), body.length, follow);
        self.announce.send_replace(Some(Ok(entity)));
    }

    /// Decides whose turn it is after a failure; returns how long to wait before it.
    fn recover(&mut self, trouble: Trouble) -> Result<Duration, Failure> {
        let source = self.rotation.current();
        let origin = self.wanted.origin(source);
        match trouble {
            Trouble::Broken(_) | Trouble::Final(_) | Trouble::Wrong(_) if self.wanted.sources.len() > 1 => {
                tracing::warn!("fetching {origin}: {trouble}");
            }
            // One mirror's last word is an error of the whole fetch, and logged as such.
            _ => tracing::debug!("fetching {origin}: {trouble}"),
        }
        let turn = match &trouble {
            Trouble::Store(_) => return Err(Failure { origin, trouble }),
            Trouble::Gone => self.rotation.strike(),
            Trouble::Final(_) => {
                self.blame(source);
                self.rotation.strike()
            }
            Trouble::Broken(_) => {
                self.blame(source);
                self.rotation.pass()
            }
            Trouble::Wrong(_) => {
                self.mirrors.contradictions.fetch_add(1, Ordering::Relaxed);
                self.disprove(source).filter(|_| !self.announced)
            }
        };
        if self.wanted.content.is_some() && !self.announced && self.written() == 0 {
            // Nothing to continue: the next mirror's word on the length counts.
            self.body = None;
        }
        if self.failure.as_ref().is_none_or(|known| weight(&known.trouble) <= weight(&trouble)) {
            self.failure = Some(Failure { origin, trouble });
        }
        turn.ok_or_else(|| self.failure.take().expect("there is one, of now or before"))
    }

    /// Drops a body that is not the file that is known, and strikes out who sent it.
    fn disprove(&mut self, source: usize) -> Option<Duration> {
        let senders = self.body.take().map(|body| body.senders).unwrap_or_default();
        if senders.len() < 2 {
            self.blame(source);
            return self.rotation.strike();
        }
        // Whose bytes are wrong cannot be told. The others broke off, so the one that did not is asked for all of it.
        self.rotation.strike_others(&senders);
        Some(Duration::ZERO)
    }

    fn blame(&self, source: usize) {
        let mut health = self.mirrors.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.note(&self.wanted.sources[source], Instant::now());
    }
}

/// How much a failure tells: that one mirror lacks a file is no news while another one may have it.
fn weight(trouble: &Trouble) -> u8 {
    match trouble {
        Trouble::Gone => 0,
        Trouble::Broken(_) | Trouble::Final(_) => 1,
        Trouble::Wrong(_) | Trouble::Store(_) => 2,
    }
}

/// An answer, if it comes in time where there is another way.
pub(super) async fn in_time<T>(patient: bool, answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    if patient {
        return answer.await;
    }
    let silent = || Trouble::Final(anyhow!("upstream did not answer within {} s", STALL.as_secs()));
    timeout(STALL, answer).await.map_err(|_| silent())?
}

/// Runs what blocks on the store's file system.
async fn in_store<T: Send + 'static>(
    write: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let written = spawn_blocking(write).await.context("writing to the store");
    written.and_then(|written| written.context("writing to the store")).map_err(Trouble::Store)
}
