use std::{
    net::{SocketAddr, SocketAddrV4, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{
    Desk,
    holders::Holders,
    routes::{Client, Routes, collapse_slashes},
};
use crate::{
    mirror::{Proxy, Wire},
    net::{Place, Port, Protocol, bind_tcp},
};

/// Connections at the same time. A target uses a handful; this is for fifty of them and a bound for everything else.
const MAX_CONNECTIONS: usize = 1024;

/// How long a client may take to send the head of a request. Not for keep-alive: an idle connection ends with it too, and
/// installers open a new one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what is there for it, or not answer at all.
///
/// An installer that unpacks what it reads onto a slow disk takes nothing for minutes, which its kernel tells ours with a window
/// of zero, and must not be cut off. But a window of zero for ever would be a connection for ever (RFC 1122 §4.2.2.17), and the
/// lock on the file that it reads. So it gets as long as Linux tries to reach a machine that answers nothing any more, which lost
/// its power (`tcp_retries2`, a quarter of an hour).
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How often a client is asked whether it is still there while neither side has anything to say, as where upstream is slow.
const PROBES: Duration = Duration::from_secs(60);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our address on the provisioning network, and the port.
    pub address: SocketAddrV4,
    /// Only connections that arrive by this interface; none given: any.
    pub interface: Option<String>,
}

/// A bound HTTP server.
pub struct Server {
    listener: StdListener,
    routes: Routes,
}

/// Binds in `place`. The address need not be on the interface yet.
///
/// A taken port (with its holder) and a missing permission are [`Hinted`](crate::model::Hinted) errors.
pub fn bind(place: &Place, config: &Config, desk: Arc<dyn Desk>, mirror: Proxy) -> anyhow::Result<Server> {
    Ok(Server { listener: listen(place, config)?, routes: Routes::new(desk, mirror) })
}

fn listen(place: &Place, config: &Config) -> anyhow::Result<StdListener> {
    let interface = config.interface.as_deref();
    let listener = place.run(|| bind_tcp(config.address, interface)).map_err(|error| {
        let port = Port { protocol: Protocol::Tcp, number: config.address.port(), service: "HTTP", interface };
        port.explain(error, place, "choose another port with --http-port, or stop that server")
    })?;
    have_patience(&listener, PATIENCE).context("setting the timeouts of HTTP connections")?;
    Ok(listener)
}

/// Has the kernel give up clients in the end: those of all connections that are accepted from now on, which inherit it.
fn have_patience(listener: &StdListener, patience: Duration) -> std::io::Result<()> {
    let listener = SockRef::from(listener);
    listener.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBES).with_interval(PROBES))?;
    // TCP_USER_TIMEOUT, tcp(7): for data that is not acknowledged, for data that finds no window, even if the client answers every
    // probe of it, and in place of the number of keep-alive probes.
    listener.set_tcp_user_timeout(Some(patience))
}

impl Server {
    /// The address it listens on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped. A connection's end, however it comes, is nobody else's.
    pub async fn run(self) -> anyhow::Result<()> {
        let listener = TcpListener::from_std(self.listener).context("taking over the HTTP listener")?;
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (holders, mut connections) = (Holders::default(), JoinSet::new());
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.context("counting HTTP connections")?;
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(held) = holders.admit(peer.ip()) else { continue };
                    let routes = self.routes.clone();
                    connections.spawn(async move {
                        serve(stream, peer, routes).await;
                        drop((held, permit));
                    });
                }
                Err(error) => {
                    // Out of file descriptors, or the client was gone before we took it: both pass.
                    tracing::warn!("accepting an HTTP connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, routes: Routes) {
    // What is written is meant to leave: the end of one body must not wait for the acknowledgement of its middle.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("HTTP connection of {peer}: {error}");
    }
    let wire = Wire::new(stream);
    let client = Client { address: peer.ip(), lane: wire.lane() };
    let service = service_fn(|request| routes.answer(&client, collapse_slashes(request)));
    let served = http1::Builder::new()
        // QUIRK: GRUB compares header names byte by byte; with hyper's lower case it reads files of no length.
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Files leave without being copied only so; see `mirror::Chunk`. apt sends several requests at once and gets the answers
        // in order either way. `pipeline_flush` would put bodies together in memory, however long they are, while a further
        // request waits.
        .writev(true)
        .serve_connection(TokioIo::new(wire), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("HTTP connection of {peer} ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Ipv4Addr, TcpStream as StdStream},
    };

    use super::*;
    use crate::model::Hinted;

    #[test]
    fn a_taken_port_is_an_error_that_names_its_holder_and_the_flag_for_another() {
        let config = |port| Config { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), interface: None };
        let first = listen(&Place::Here, &any_port()).expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let error = listen(&Place::Here, &config(port)).expect_err("the port is taken");
        let Hinted { what, hint } = error.downcast().expect("a remedy");
        assert!(what.starts_with(&format!("TCP port {port} (HTTP) is taken by ")), "{what}");
        assert!(
            what.ends_with(&format!("(pid {})", std::process::id())) && hint.contains("--http-port"),
            "{what}: {hint}"
        );
    }

    fn any_port() -> Config {
        Config { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: None }
    }

    /// A connection: the client's end and ours.
    fn connection(listener: &StdListener) -> (StdStream, StdStream) {
        listener.set_nonblocking(false).expect("set");
        let client = StdStream::connect(listener.local_addr().expect("bound")).expect("connected");
        (client, listener.accept().expect("accepted").0)
    }

    #[test]
    fn a_client_that_answers_but_takes_nothing_is_given_up_in_the_end() {
        let listener = listen(&Place::Here, &any_port()).expect("a free port");
        have_patience(&listener, Duration::from_secs(1)).expect("set");
        let (_idle, mut stream) = connection(&listener);
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn every_connection_is_watched() {
        let (_client, stream) = connection(&listen(&Place::Here, &any_port()).expect("a free port"));
        let stream = SockRef::from(&stream);
        assert!(stream.keepalive().expect("told"));
        assert_eq!(stream.tcp_keepalive_time().expect("told"), PROBES);
        assert_eq!(stream.tcp_user_timeout().expect("told"), Some(PATIENCE));
    }
}
