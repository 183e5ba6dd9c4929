use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Files, OpenError,
    admission::{self, Admission, admit},
    name,
    options::{Asked, Terms},
    packet::{self, ErrorCode, Packet, ReadRequest},
    session::{End, Session},
    socket,
    source::Source,
};
use crate::net::Place;

/// More than any request: RFC 2347 §2 allows 512 bytes. A datagram that fills it may have been cut.
const RECEIVE: usize = 2048;

/// Failures to receive in a row, [`PAUSE`] apart, after which the server gives up.
const FAILURES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our address, from which all answers leave, and the port for requests (69; 0 takes a free one).
    pub address: SocketAddrV4,
    /// The interface to keep to (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// Bytes of the largest IP packet of that interface; bounds the blocks that are granted.
    pub mtu: usize,
    /// Transfers at a time. Further clients are told that the server is busy.
    pub transfers: usize,
    /// How long a client may be silent, and how long opening a file may take, before the transfer is over.
    pub idle: Duration,
}

impl Config {
    /// Ethernet, 256 transfers, 30 seconds.
    pub fn at(address: SocketAddrV4) -> Self {
        Self { address, interface: None, mtu: 1500, transfers: 256, idle: Duration::from_secs(30) }
    }
}

/// Binds the listening socket in `place`. Must be called within a tokio runtime.
///
/// The address need not exist yet. A missing permission or a taken port is a [`Hinted`](crate::model::Hinted) error.
pub fn bind<F: Files>(place: &Place, config: Config, files: Arc<F>) -> anyhow::Result<Server<F>> {
    // Clients take answers only from the address that they asked; a socket that listens on all cannot promise that.
    ensure!(
        config.address.ip() != &Ipv4Addr::UNSPECIFIED,
        "TFTP needs the address to serve from, not {}",
        config.address
    );
    let listener =
        socket::open(place, &config, config.address.port()).map_err(|error| socket::explain(error, place, &config))?;
    Ok(Server(Arc::new(Shared { listener, place: place.clone(), config, files })))
}

/// A bound server. Dropping the future of [`Server::run`] ends every transfer.
#[derive(Debug)]
pub struct Server<F>(Arc<Shared<F>>);

#[derive(Debug)]
struct Shared<F> {
    listener: UdpSocket,
    place: Place,
    config: Config,
    files: Arc<F>,
}

/// What a port of a client is being served.
struct Live {
    request: Box<[u8]>,
    since: Instant,
    answered: Arc<AtomicBool>,
    task: AbortOnDropHandle<()>,
}

impl<F: Files> Server<F> {
    /// Where requests are received.
    pub fn local_addr(&self) -> std::io::Result<SocketAddrV4> {
        match self.0.listener.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(_) => unreachable!("the socket is made for IPv4"),
        }
    }

    /// Serves until it is dropped. Whatever clients send, this goes on; only a socket that is broken ends it.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut live = HashMap::new();
        let mut datagram = vec![0; RECEIVE];
        let mut failures = 0;
        loop {
            match self.0.listener.recv_from(&mut datagram).await {
                Ok((length, client)) => {
                    failures = 0;
                    self.receive(&datagram[..length], client, &mut live).await;
                }
                Err(error) if failures < FAILURES => {
                    failures += 1;
                    tracing::warn!("receiving a TFTP request: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error).context("receiving TFTP requests"),
            }
        }
    }

    async fn receive(&self, datagram: &[u8], client: SocketAddr, live: &mut HashMap<SocketAddr, Live>) {
        let refusal = match Packet::parse(datagram) {
            _ if datagram.len() == RECEIVE => (ErrorCode::IllegalOperation, "request too long".to_owned()),
            Ok(Packet::Read(request)) => match self.admit(datagram, &request, client, live) {
                Admission::Serve | Admission::Ignore => return,
                // Not code 3: that is the client's quota. A ROM shows the text.
                Admission::Busy => (ErrorCode::NotDefined, "too busy, try again".to_owned()),
            },
            Ok(Packet::Write) => (ErrorCode::AccessViolation, "this server is read-only".to_owned()),
            // Meant for a transfer, which has a port of its own.
            Ok(Packet::Ack(_) | Packet::ServerOnly) => (ErrorCode::UnknownTransfer, "no such transfer".to_owned()),
            // Never an ERROR for an ERROR (RFC 1350 §7): two servers could go on for ever.
            Ok(Packet::Error { .. }) => return,
            Err(malformed) => (ErrorCode::IllegalOperation, malformed.to_string()),
        };
        tracing::debug!(%client, "refused: {}", refusal.1);
        self.0.refuse(client, refusal.0, &refusal.1).await;
    }

    fn admit(
        &self,
        datagram: &[u8],
        request: &ReadRequest<'_>,
        client: SocketAddr,
        live: &mut HashMap<SocketAddr, Live>,
    ) -> Admission {
        live.retain(|_, transfer| !transfer.task.is_finished());
        let before = live.get(&client).map(|transfer| admission::Live {
            identical: *transfer.request == *datagram,
            age: transfer.since.elapsed(),
            answered: transfer.answered.load(Ordering::Relaxed),
        });
        let others = live.len() - usize::from(before.is_some());
        let admission = admit(before, others, self.0.config.transfers);
        if admission == Admission::Serve {
            let replaced = live.remove(&client).map(|transfer| transfer.task);
            let answered = Arc::new(AtomicBool::new(false));
            let work = Arc::clone(&self.0).serve(
                client,
                name::normalise(request.name).ok_or_else(|| request.name.escape_ascii().to_string()),
                Asked::parse(&request.options),
                Arc::clone(&answered),
                replaced,
            );
            let task = AbortOnDropHandle::new(tokio::spawn(work));
            live.insert(client, Live { request: datagram.into(), since: Instant::now(), answered, task });
        }
        admission
    }
}

impl<F: Files> Shared<F> {
    /// Answers one request, to the end. A name that cannot be a file's comes as an error, in a form for the log.
    async fn serve(
        self: Arc<Self>,
        client: SocketAddr,
        name: Result<String, String>,
        asked: Vec<Asked>,
        answered: Arc<AtomicBool>,
        replaced: Option<AbortOnDropHandle<()>>,
    ) {
        if let Some(replaced) = replaced {
            // The client must not hear of the old transfer once the new one begins: a ROM that re-uses its port would take
            // the old option answer for the new one.
            replaced.abort();
            let _ = replaced.await;
        }
        let begin = Instant::now();
        let opened = match &name {
            Ok(name) => tokio::time::timeout(self.config.idle, self.files.open(client.ip(), name))
                .await
                .unwrap_or_else(|_| Err(OpenError::Failed("opening the file took too long".into()))),
            Err(_) => Err(OpenError::NotFound),
        };
        answered.store(true, Ordering::Relaxed);
        let name = name.unwrap_or_else(|raw| raw);
        let content = match opened {
            Ok(content) => content,
            Err(error) => {
                let code = match error {
                    OpenError::NotFound => ErrorCode::NotFound,
                    OpenError::Denied => ErrorCode::AccessViolation,
                    OpenError::Failed(_) => ErrorCode::NotDefined,
                };
                match code {
                    ErrorCode::NotDefined => tracing::warn!(%client, name, "{error}"),
                    _ => tracing::debug!(%client, name, "{error}"),
                }
                return self.refuse(client, code, &error.to_string()).await;
            }
        };
        let source = Source::new(content);
        let terms = Terms::negotiate(&asked, source.size(), self.config.mtu);
        let socket = match self.connect(client).await {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%client, name, "making a socket for a transfer: {error}");
                return self.refuse(client, ErrorCode::NotDefined, "no socket for the transfer").await;
            }
        };
        let (mut session, first) = Session::new(socket, source, &terms, self.config.idle);
        let end = session.run(first).await;
        let (bytes, duration) = (session.delivered(), begin.elapsed());
        match end {
            Ok(()) => tracing::debug!(%client, name, bytes, ?duration, "delivered"),
            Err(End::Unreadable(error)) => tracing::warn!(%client, name, bytes, ?duration, "reading the file: {error}"),
            Err(end) => tracing::debug!(%client, name, bytes, ?duration, "{end}"),
        }
    }

    /// A socket on a fresh port, the transfer id, that hears nobody but `client`.
    async fn connect(&self, client: SocketAddr) -> std::io::Result<UdpSocket> {
        let socket = socket::open(&self.place, &self.config, 0)?;
        socket.connect(client).await?;
        Ok(socket)
    }

    /// Sends an ERROR from the listening port: it belongs to no transfer.
    async fn refuse(&self, client: SocketAddr, code: ErrorCode, message: &str) {
        if let Err(error) = self.listener.send_to(&packet::error(code, message), client).await {
            tracing::debug!(%client, "sending an error: {error}");
        }
    }
}
