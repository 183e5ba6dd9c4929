//! A mirror on a folder of its own, in front of an upstream of the test.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode},
};
use futures_util::{Stream, StreamExt, future::BoxFuture};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use provisioner::{
    distro::Mirror,
    fetch::Client,
    http,
    mirror::{Body, Config, Immutable, Ledger, OnServed, Proxy, Served, Unlisted},
    model::Mac,
    net::Place,
};
use tokio::sync::mpsc;

use super::upstream::{Act, Asked, Upstream};

pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
pub const DEB: &str = "debian/pool/main/h/hello/hello_2.10-3_amd64.deb";
pub const IN_RELEASE: &str = "debian/dists/trixie/InRelease";

pub struct Bench {
    pub upstream: Upstream,
    pub folder: tempfile::TempDir,
    pub proxy: Proxy,
    pub served: mpsc::UnboundedReceiver<Served>,
}

/// A response and, unless it broke, its body.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
}

impl Bench {
    pub async fn start(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (upstream, folder) = (Upstream::start(script).await, tempfile::tempdir().expect("a folder"));
        let (on_served, served) = recorder();
        let proxy = open(folder.path(), upstream.address, false, on_served);
        Self { upstream, folder, proxy, served }
    }

    /// A second run of the provisioner on the same folder.
    pub async fn reopen(&mut self, offline: bool) {
        self.proxy.landed().await;
        let (on_served, served) = recorder();
        self.proxy = open(self.folder.path(), self.upstream.address, offline, on_served);
        self.served = served;
    }

    pub async fn get(&self, path: &str) -> Got {
        self.ask(Method::GET, path, &[]).await
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        receive(self.request(method, path, headers).await).await
    }

    pub async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        request(&self.proxy, method, path, headers).await
    }

    /// What the upstream was asked so far, as paths.
    pub fn asked(&self) -> Vec<String> {
        self.upstream.asked().into_iter().map(|asked| asked.path).collect()
    }

    pub fn is_stored(&self, key: &str) -> bool {
        self.folder.path().join(key).exists()
    }
}

pub async fn request(proxy: &Proxy, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let headers = headers.iter().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header name");
        (name, HeaderValue::from_str(value).expect("a header value"))
    });
    proxy.handle(CLIENT, &method, path, &headers.collect(), None).await
}

pub async fn receive(response: Response<Body>) -> Got {
    let (head, body) = response.into_parts();
    Got { status: head.status, headers: head.headers, body: drain(body.into_data_stream()).await }
}

/// The rest of a body, if it ends rather than breaks.
pub async fn drain(mut body: impl Stream<Item = io::Result<Bytes>> + Unpin) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.ok()?);
    }
    Some(bytes)
}

pub fn recorder() -> (OnServed, mpsc::UnboundedReceiver<Served>) {
    let (send, receive) = mpsc::unbounded_channel();
    let on_served = move |client, served: &Served| {
        assert!(client == CLIENT || client == Ipv4Addr::LOCALHOST);
        let _ = send.send(served.clone());
    };
    (Arc::new(on_served), receive)
}

/// Two archives below one upstream. Its silence counts as a stall after two seconds.
pub fn open(folder: &Path, upstream: SocketAddr, offline: bool, on_served: OnServed) -> Proxy {
    let mirrors = ["debian", "debian-security"]
        .map(|id| Mirror::new(id, &format!("http://{upstream}/{id}").parse().expect("a URL")));
    open_on(mirrors.into(), impatient_client(), folder, offline, on_served)
}

pub fn open_on(
    mirrors: Vec<Mirror>,
    client: impl Into<Client>,
    folder: &Path,
    offline: bool,
    on_served: OnServed,
) -> Proxy {
    open_with(mirrors, Arc::new(Unlisted), client, folder, offline, on_served)
}

/// One archive below an upstream, of which so many bytes are kept.
pub fn open_limited(folder: &Path, upstream: SocketAddr, limit: u64) -> Proxy {
    let mirrors = vec![Mirror::new("debian", &format!("http://{upstream}/debian").parse().expect("a URL"))];
    let (client, on_served) = (impatient_client(), recorder().0);
    let config = config(mirrors, Arc::new(Unlisted), client, folder, false, on_served);
    Proxy::open(Config { limit: Some(limit), ..config }).expect("opened")
}

pub fn open_with(
    mirrors: Vec<Mirror>,
    ledger: Arc<dyn Ledger>,
    client: impl Into<Client>,
    folder: &Path,
    offline: bool,
    on_served: OnServed,
) -> Proxy {
    Proxy::open(config(mirrors, ledger, client, folder, offline, on_served)).expect("opened")
}

fn config(
    mirrors: Vec<Mirror>,
    ledger: Arc<dyn Ledger>,
    client: impl Into<Client>,
    folder: &Path,
    offline: bool,
    on_served: OnServed,
) -> Config {
    let (folder, upstream) = (folder.to_owned(), tokio::runtime::Handle::current());
    let immutable = Immutable {
        package_suffixes: [".deb", ".rpm"].map(str::to_owned).into(),
        folders: ["pool", "by-hash"].map(str::to_owned).into(),
    };
    let client = client.into();
    Config { mirrors, ledger, immutable, folder, limit: None, client, offline, upstream, on_served }
}

/// Two seconds of silence are an error.
pub fn impatient_client() -> Client {
    client(Duration::from_secs(2)).into()
}

/// An error is only a longer silence than this one.
pub fn client(silence: Duration) -> reqwest::Client {
    client_builder(silence).build().expect("a client")
}

/// The same, to be told more.
pub fn client_builder(silence: Duration) -> reqwest::ClientBuilder {
    // For the TLS provider that reqwest wants to find; who came first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Every upstream here is plain http, and this machine's certificates take a while to read.
    reqwest::Client::builder().tls_certs_only([]).no_proxy().read_timeout(silence)
}

/// Allows this process as many connections as it may have, both ends of which are its own here.
pub fn room_for_connections() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("set");
}

/// Puts a mirror on a port of loopback, below `/mirror/`, as the provisioner does.
pub fn listen(proxy: Proxy) -> SocketAddr {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let config = http::Config { address, interface: None };
    let server = http::bind(&Place::Here, &config, Arc::new(EmptyDesk), proxy).expect("a port");
    let address = server.local_addr().expect("bound");
    tokio::spawn(server.run());
    address
}

/// There is nothing but the mirror.
struct EmptyDesk;

impl http::Desk for EmptyDesk {
    fn boot_file(&self, _: IpAddr, _: &str, _: bool) -> Option<http::Content> {
        None
    }

    fn answers(&self, _: Mac, _: &str, _: &str) -> Option<http::Content> {
        None
    }

    fn callback(&self, _: Mac, _: &str, _: &str, _: &str) -> http::Heard {
        http::Heard::Unknown
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Bytes of which no two places look alike.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).take(length).collect()
}
