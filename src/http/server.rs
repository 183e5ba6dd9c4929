use std::{
    net::{SocketAddr, SocketAddrV4, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use super::{
    Desk,
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
    place.run(|| bind_tcp(config.address, interface)).map_err(|error| {
        let port = Port { protocol: Protocol::Tcp, number: config.address.port(), service: "HTTP", interface };
        port.explain(error, place, "choose another port with --http-port, or stop that server")
    })
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
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.context("counting HTTP connections")?;
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let routes = self.routes.clone();
                    connections.spawn(async move {
                        serve(stream, peer, routes).await;
                        drop(permit);
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
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Hinted;

    #[test]
    fn a_taken_port_is_an_error_that_names_its_holder_and_the_flag_for_another() {
        let config = |port| Config { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), interface: None };
        let first = listen(&Place::Here, &config(0)).expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let error = listen(&Place::Here, &config(port)).expect_err("the port is taken");
        let Hinted { what, hint } = error.downcast().expect("a remedy");
        assert!(what.starts_with(&format!("TCP port {port} (HTTP) is taken by ")), "{what}");
        assert!(
            what.ends_with(&format!("(pid {})", std::process::id())) && hint.contains("--http-port"),
            "{what}: {hint}"
        );
    }
}
