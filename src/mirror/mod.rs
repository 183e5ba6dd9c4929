//! The caching mirror: the archives of the plan, below `/mirror/<id>/…`, fetched once and kept.
//!
//! A request becomes a `Route` (pure: which archive, which file, can it change). What cannot change and is stored is served
//! without asking anybody. Everything else is a *flight*: one task per file that talks to upstream, however many clients want
//! that file. It writes to a file without a name and says how far it is; every client reads that file at an own pace, from
//! the page cache, waiting where the bytes end. A client that leaves ends nothing, a slow one holds nobody up. So many are fetched
//! at a time; what has to wait and is wanted by nobody any more is not begun.
//!
//! Bytes leave as cheaply as the platform allows: a [`Body`] is a row of [`Chunk`]s, most of which stand for a stretch of a file
//! that the kernel sends by itself, once it is in the page cache; a [`Wire`] tells it to. Short files that are asked for again
//! are open already. No thread of the runtime waits for a disk.
//!
//! What holds at every moment:
//!
//! - One file, one key: the archive's id and the full path below its root.
//! - A stored body is a whole one: it gets its name after its length (and its digest, where it is known) was found
//!   right and the disk has it.
//! - A client never takes a piece for the whole. The last byte, or the end of a body without a length, is given out after the
//!   verdict; when a fetch fails, the connections of its readers break.
//! - Where verified metadata says what a file is (the [`Ledger`], or a digest in its name), nothing else is served as it: its
//!   digest is compared after every fetch and on the first use of a stored copy, and whatever is wrong with a mirror, the next
//!   of the archive's mirrors is asked, in the middle of a file too.
//! - A stored file is served as what it was when it was stored: where nothing else says what it is, its sidecar does, which it
//!   is compared with on its first use in a run.
//! - What somebody reads is not evicted, by whichever process.
//! - Only upstream's own 404 becomes a 404, and the ledger's refusals do.
//!
//! Where nothing says what a file is, it is as the archive's own mirror sent it, and served as unverified: APT checks it by the
//! archive's signature.

mod answer;
mod body;
mod chunk;
mod download;
mod entity;
mod evict;
mod flight;
mod health;
mod held;
mod here;
mod immutable;
mod knowledge;
mod layout;
mod ledger;
mod multipart;
mod opened;
mod pages;
mod prefetch;
mod receipt;
mod refusal;
mod room;
mod rotation;
mod route;
mod seen;
mod sidecar;
mod stock;
mod store;
mod under_way;
mod upstream;
mod wire;
#[cfg(test)]
mod wire_tests;

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, ensure};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use self::{
    answer::Answer,
    body::Piece,
    entity::Entity,
    flight::{Flights, Outcome},
    knowledge::Knowledge,
    receipt::Receipt,
    refusal::Refusal,
    route::{Route, route},
    store::Store,
    upstream::Wanted,
};
pub use self::{
    body::Body,
    chunk::{Chunk, Lane},
    immutable::Immutable,
    ledger::{Known, Ledger, Unlisted},
    prefetch::{Brought, NotBrought},
    stock::{Stock, StockFile},
    wire::Wire,
};
use crate::{distro::Mirror, fetch::Client, model::Expected};

/// Told of every response, once, when its body ended or broke.
pub type OnServed = Arc<dyn Fn(IpAddr, &Served) + Send + Sync>;

/// What a client was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Id of the archive; empty if the request was for none.
    pub mirror: String,
    /// Path below its root, normalised; as it came if there is no such archive or it is no path.
    pub path: String,
    /// Bytes of the body that were handed to the connection.
    pub bytes: u64,
    /// Whether that was all of the body. The last bytes may still be on their way.
    pub complete: bool,
    /// Whether the file's content is known, and this is it. Never of a file that the ledger knows nothing of, unless its name
    /// promises a digest.
    pub verified: bool,
    /// HTTP status.
    pub status: u16,
}

/// What a mirror needs.
pub struct Config {
    /// The archives. Nothing else is fetched.
    pub mirrors: Vec<Mirror>,
    /// What verified metadata says of their files.
    pub ledger: Arc<dyn Ledger>,
    /// Which of their files never change.
    pub immutable: Immutable,
    /// Where files are kept; made if missing.
    pub folder: PathBuf,
    /// Most bytes to keep there. What was used least recently gives way, unless it is in use.
    pub limit: Option<u64>,
    /// Talks to upstream.
    pub client: Client,
    /// Never ask upstream.
    pub offline: bool,
    /// Tasks that talk to upstream run here: it may be in another network namespace than the clients.
    pub upstream: tokio::runtime::Handle,
    /// Told of every response.
    pub on_served: OnServed,
}

/// The caching mirror. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Shared>);

struct Shared {
    mirrors: Vec<Mirror>,
    immutable: Immutable,
    flights: Arc<Flights>,
    on_served: OnServed,
    stale: AtomicU64,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("mirrors", &self.0.mirrors).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Opens the store and removes what killed runs left half-written.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let Config { mirrors, ledger, immutable, folder, limit, client, offline, upstream, on_served } = config;
        for Mirror { id, .. } in &mirrors {
            // The store keeps its own files beside the mirrors' folders, with names that begin with a dot.
            let plain = !id.is_empty() && !id.starts_with('.') && !id.contains(['/', '%', '\\']);
            ensure!(plain, "the mirror id {id:?} is not a plain file name");
        }
        let store = Arc::new(Store::open(&folder, limit)?);
        // The limit may be a new one. Nobody waits for it.
        let room = Arc::clone(store.room());
        upstream.spawn_blocking(move || room.trim());
        let flights = Arc::new(Flights::new(store, ledger, client, upstream, offline));
        let stale = AtomicU64::new(0);
        Ok(Self(Arc::new(Shared { mirrors, immutable, flights, on_served, stale })))
    }

    /// From now on this is known of the archives' files. What is being sent ends as it began.
    pub fn go_by(&self, ledger: Arc<dyn Ledger>) {
        self.0.flights.go_by(ledger);
    }

    /// How many requests were answered with a stored copy because upstream could not be asked about it.
    pub fn stale_answers(&self) -> u64 {
        self.0.stale.load(Ordering::Relaxed)
    }

    /// How many times a mirror has sent another file than the one that is known, or begun to.
    pub fn contradictions(&self) -> u64 {
        self.0.flights.contradictions()
    }

    /// Waits until everything that is being fetched is in the store, or given up: for an orderly end. What is still under way
    /// when the program ends is fetched again by the next run.
    pub async fn landed(&self) {
        self.0.flights.landed().await;
    }

    /// Answers a request for `path`: what follows `/mirror/`, still percent-encoded, without a query.
    ///
    /// It is ready as soon as upstream has answered; the body follows while it arrives, over the wire of `lane` if there is one.
    /// The body of a `HEAD` is empty and its `Content-Length` is the file's.
    pub async fn handle(
        &self,
        client: IpAddr,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        lane: Option<&Lane>,
    ) -> Response<Body> {
        let (mut served, outcome) = match route(&self.0.mirrors, &self.0.immutable, path) {
            Err(reject) => (Served::of("", path), Err(reject.into())),
            Ok(route) => {
                let mirror = &self.0.mirrors[route.mirror];
                let outcome = self.find(method, mirror, &route).await;
                (Served::of(&mirror.id, &route.path), outcome)
            }
        };
        served.verified = outcome.as_ref().is_ok_and(|entity| entity.verified);
        let receipt = Receipt::new(Arc::clone(&self.0.on_served), client, served);
        match outcome {
            Ok(entity) => self.give(method, headers, entity, lane, receipt),
            Err(refusal) => refuse(method, refusal, receipt),
        }
    }

    /// The file, from wherever it has to come.
    async fn find(&self, method: &Method, mirror: &Mirror, route: &Route) -> Outcome {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refusal::method());
        }
        match self.place(mirror, route)? {
            Place::Here(file) => self.open_here(file, route.path.clone()).await,
            Place::Upstream(known, content) => {
                let key = format!("{}/{}", mirror.id, route.path);
                match self.0.flights.at_hand(&known, &key, route.class, content) {
                    Some(entity) => Ok(entity),
                    None => self.0.flights.find(Wanted::new(mirror, route, known, content)).await,
                }
            }
        }
    }

    /// Where the file is or comes from, by what is known of it.
    fn place(&self, mirror: &Mirror, route: &Route) -> Result<Place, Refusal> {
        let known = self.0.flights.knowledge();
        let content = match known.look_up(&mirror.id, &route.path) {
            Known::Nothing => route.promised.map(|sha256| Expected { size: None, sha256 }),
            Known::Content(content) => Some(content),
            Known::Here(file) => return Ok(Place::Here(file)),
            Known::Refused(reason) => return Err(Refusal::unlisted(&mirror.id, &route.path, reason)),
        };
        Ok(Place::Upstream(known, content))
    }

    async fn open_here(&self, file: PathBuf, name: String) -> Outcome {
        let opened = spawn_blocking(move || here::open(&file, &name)).await.context("opening a boot file");
        opened.and_then(|opened| opened).map_err(|error| Refusal::store(&error))
    }

    fn give(
        &self,
        method: &Method,
        request: &HeaderMap,
        entity: Entity,
        lane: Option<&Lane>,
        receipt: Receipt,
    ) -> Response<Body> {
        if entity.stale {
            self.0.stale.fetch_add(1, Ordering::Relaxed);
        }
        let answer = answer::decide(method, request, &entity.head, entity.length);
        let name = receipt.path();
        let (status, headers) = answer::headers(&answer, &entity.head, entity.length, name);
        let pieces: Vec<_> = match answer {
            Answer::Whole if method == Method::GET => vec![Piece::Whole],
            Answer::Part(part) => vec![Piece::Part(part)],
            Answer::Parts(parts) => {
                let total = entity.length.expect("parts are of a known length");
                answer::multipart(&parts, &entity.head, total, name).pieces().collect()
            }
            Answer::Whole | Answer::NotModified | Answer::Unsatisfiable => Vec::new(),
        };
        let receipt = receipt.with(status);
        let body = match pieces.is_empty() {
            true => Body::text(Bytes::new(), receipt),
            false => Body::of(entity, pieces, lane, receipt),
        };
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        response
    }
}

impl Served {
    fn of(mirror: &str, path: &str) -> Self {
        Self { mirror: mirror.to_owned(), path: path.to_owned(), bytes: 0, complete: false, verified: false, status: 0 }
    }
}

/// Where a file is or comes from.
enum Place {
    /// It is a verified one of this machine.
    Here(PathBuf),
    /// It comes from upstream; what is known of files, and of its content.
    Upstream(Arc<Knowledge>, Option<Expected>),
}

fn refuse(method: &Method, Refusal { status, text }: Refusal, receipt: Receipt) -> Response<Body> {
    let text = Bytes::from(format!("{text}\n"));
    let length = HeaderValue::from(text.len());
    let text = if method == Method::HEAD { Bytes::new() } else { text };
    let mut response = Response::new(Body::text(text, receipt.with(status)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
