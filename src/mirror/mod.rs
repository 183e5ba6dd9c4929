//! The caching mirror: the archives of the plan, below `/mirror/<id>/…`, fetched once and kept.
//!
//! A request becomes a `Route` (pure: which archive, which file, can it change). What cannot change and is stored is served
//! without asking anybody. Everything else is a *flight*: one task per file that talks to upstream, however many clients want
//! that file. It writes to a file without a name and says how far it is; every client reads that file at an own pace, from
//! the page cache, waiting where the bytes end. A client that leaves ends nothing, a slow one holds nobody up.
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
mod download;
mod entity;
mod evict;
mod flight;
mod health;
mod here;
mod immutable;
mod layout;
mod ledger;
mod multipart;
mod prefetch;
mod refusal;
mod room;
mod rotation;
mod route;
mod seen;
mod sidecar;
mod stock;
mod store;
mod upstream;

use std::{
    collections::VecDeque,
    fmt, io,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, ensure};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use tokio::task::spawn_blocking;

use self::{
    answer::Answer,
    entity::{Entity, Reader},
    flight::{Flights, Outcome},
    multipart::{Multipart, Piece},
    refusal::Refusal,
    route::{Route, route},
    store::Store,
    upstream::Wanted,
};
pub use self::{
    immutable::Immutable,
    ledger::{Known, Ledger, Unlisted},
    prefetch::{Brought, NotBrought},
    stock::{Stock, StockFile},
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
    ledger: Arc<dyn Ledger>,
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
        let flights = Arc::new(Flights::new(store, Arc::clone(&ledger), client, upstream, offline));
        let stale = AtomicU64::new(0);
        Ok(Self(Arc::new(Shared { mirrors, ledger, immutable, flights, on_served, stale })))
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
    /// It is ready as soon as upstream has answered; the body follows while it arrives. A body that errs must break the
    /// connection, as hyper does. The body of a `HEAD` is empty and its `Content-Length` is the file's.
    pub async fn handle(&self, client: IpAddr, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let (mut served, outcome) = match route(&self.0.mirrors, &self.0.immutable, path) {
            Err(reject) => (Served::of("", path), Err(reject.into())),
            Ok(route) => {
                let mirror = &self.0.mirrors[route.mirror];
                (Served::of(&mirror.id, &route.path), self.find(method, mirror, &route).await)
            }
        };
        served.verified = outcome.as_ref().is_ok_and(|entity| entity.verified);
        let receipt = Receipt { proxy: self.clone(), client, served };
        match outcome {
            Ok(entity) => self.give(method, headers, &entity, receipt),
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
            Place::Upstream(wanted) => self.0.flights.find(wanted).await,
        }
    }

    /// Where the file is or comes from, by what is known of it.
    fn place(&self, mirror: &Mirror, route: &Route) -> Result<Place, Refusal> {
        let content = match self.0.ledger.look_up(&mirror.id, &route.path) {
            Known::Nothing => route.promised.map(|sha256| Expected { size: None, sha256 }),
            Known::Content(content) => Some(content),
            Known::Here(file) => return Ok(Place::Here(file)),
            Known::Refused(reason) => return Err(Refusal::unlisted(&mirror.id, &route.path, reason)),
        };
        Ok(Place::Upstream(Wanted::new(mirror, route, content)))
    }

    async fn open_here(&self, file: PathBuf, name: String) -> Outcome {
        let opened = spawn_blocking(move || here::open(&file, &name)).await.context("opening a boot file");
        opened.and_then(|opened| opened).map_err(|error| Refusal::store(&error))
    }

    fn give(&self, method: &Method, request: &HeaderMap, entity: &Entity, receipt: Receipt) -> Response {
        if entity.stale {
            self.0.stale.fetch_add(1, Ordering::Relaxed);
        }
        let answer = answer::decide(method, request, &entity.head, entity.length);
        let name = &receipt.served.path;
        let (status, headers) = answer::headers(&answer, &entity.head, entity.length, name);
        let body = match answer {
            Answer::Whole if method == Method::GET => follow(entity.reader(None), receipt.with(status)),
            Answer::Part(part) => follow(entity.reader(Some(part)), receipt.with(status)),
            Answer::Parts(parts) => {
                let total = entity.length.expect("parts are of a known length");
                let multipart = answer::multipart(&parts, &entity.head, total, name);
                follow(Parts::new(entity.clone(), multipart), receipt.with(status))
            }
            Answer::Whole | Answer::NotModified | Answer::Unsatisfiable => whole(Bytes::new(), receipt.with(status)),
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
    Here(PathBuf),
    Upstream(Wanted),
}

/// Reports a response when it is dropped: whatever ends a body, hyper drops it.
struct Receipt {
    proxy: Proxy,
    client: IpAddr,
    served: Served,
}

impl Receipt {
    fn with(mut self, status: StatusCode) -> Self {
        self.served.status = status.as_u16();
        self
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        (self.proxy.0.on_served)(self.client, &self.served);
    }
}

/// Gives out a body, a piece at a time.
trait Source: Send + 'static {
    /// The next bytes; `None` at the end. An error means that the rest will not come.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;

    /// Whether all of it was given out.
    fn finished(&self) -> bool;
}

impl Source for Reader {
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send {
        Reader::next(self)
    }

    fn finished(&self) -> bool {
        Reader::finished(self)
    }
}

/// Several parts of a file, one after the other.
struct Parts {
    entity: Entity,
    left: VecDeque<Piece>,
    reader: Option<Reader>,
}

impl Parts {
    fn new(entity: Entity, multipart: Multipart) -> Self {
        Self { entity, left: multipart.pieces().collect(), reader: None }
    }
}

impl Source for Parts {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(bytes) = reader.next().await? {
                    return Ok(Some(bytes));
                }
                self.reader = None;
            }
            match self.left.pop_front() {
                Some(Piece::Text(text)) => return Ok(Some(text)),
                Some(Piece::File(part)) => self.reader = Some(self.entity.reader(Some(part))),
                None => return Ok(None),
            }
        }
    }

    fn finished(&self) -> bool {
        self.left.is_empty()
    }
}

/// A body that follows its source.
fn follow(source: impl Source, receipt: Receipt) -> Body {
    Body::from_stream(stream::unfold((source, receipt), |(mut source, mut receipt)| async move {
        let news = source.next().await.transpose();
        match &news {
            Some(Ok(chunk)) => {
                receipt.served.bytes += chunk.len() as u64;
                // hyper drops a body with a length after its last byte, without asking for the end.
                receipt.served.complete = source.finished();
            }
            None => receipt.served.complete = true,
            Some(Err(_)) => {}
        }
        Some((news?, (source, receipt)))
    }))
}

/// A body that is there.
fn whole(body: Bytes, mut receipt: Receipt) -> Body {
    (receipt.served.bytes, receipt.served.complete) = (body.len() as u64, true);
    body.into()
}

fn refuse(method: &Method, Refusal { status, text }: Refusal, receipt: Receipt) -> Response {
    let text = Bytes::from(format!("{text}\n"));
    let length = HeaderValue::from(text.len());
    let text = if method == Method::HEAD { Bytes::new() } else { text };
    let mut response = Response::new(whole(text, receipt.with(status)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
