use std::{
    convert::Infallible,
    net::{SocketAddr, SocketAddrV4, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::Request, response::Response};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower::ServiceExt;

use super::{
    Desk,
    routes::{Client, House, collapse_slashes, table},
};
use crate::{
    mirror::Proxy,
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
    routes: Router,
}

/// Binds in `place`. The address need not be on the interface yet.
///
/// A taken port (with its holder) and a missing permission are [`Hinted`](crate::model::Hinted) errors.
pub fn bind(place: &Place, config: &Config, desk: Arc<dyn Desk>, mirror: Proxy) -> anyhow::Result<Server> {
    Ok(Server { listener: listen(place, config)?, routes: table(House { desk, mirror }) })
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

async fn serve(stream: TcpStream, peer: SocketAddr, routes: Router) {
    // Headers and body leave in separate writes; without this the second waits for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("HTTP connection of {peer}: {error}");
    }
    let service = tower::service_fn(move |request: axum::http::Request<hyper::body::Incoming>| {
        let mut request: Request = collapse_slashes(request.map(axum::body::Body::new));
        request.extensions_mut().insert(Client(peer.ip()));
        answer(request, peer, routes.clone())
    });
    let served = http1::Builder::new()
        // QUIRK: GRUB compares header names byte by byte; with hyper's lower case it reads files of no length.
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // apt sends several requests at once and wants the answers in order.
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!("HTTP connection of {peer} ended: {error}");
    }
}

async fn answer(request: Request, peer: SocketAddr, routes: Router) -> Result<Response, Infallible> {
    let what = format!("{} {}", request.method(), without_token(request.uri().path()));
    let response = routes.oneshot(request).await?;
    tracing::debug!("HTTP {peer} {what}: {}", response.status().as_u16());
    Ok(response)
}

/// SECURITY: a machine's token lets whoever reads it have that machine's answers and report in its name. Logs are sent around.
fn without_token(path: &str) -> String {
    let mut parts: Vec<_> = path.split('/').collect();
    if let ["", "answers" | "callback", _, token, ..] = parts.as_mut_slice() {
        *token = "…";
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Hinted;

    #[test]
    fn a_token_is_never_logged() {
        let token = "0123456789abcdef0123456789abcdef";
        for (path, shown) in [
            (format!("/answers/52:54:00:00:00:01/{token}/preseed.cfg"), "/answers/52:54:00:00:00:01/…/preseed.cfg"),
            (format!("/callback/52:54:00:00:00:01/{token}/failed"), "/callback/52:54:00:00:00:01/…/failed"),
            (format!("/answers/x/{token}"), "/answers/x/…"),
            ("/mirror/debian/dists/x".to_owned(), "/mirror/debian/dists/x"),
            ("/".to_owned(), "/"),
        ] {
            assert_eq!(without_token(&path), shown);
        }
    }

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
