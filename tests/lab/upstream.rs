//! An upstream mirror on loopback that remembers what it was asked for.

use std::{env, fs, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use url::Url;

/// Passes every request on to the real mirror. It ends when dropped.
pub struct Upstream {
    address: SocketAddr,
    asked: watch::Receiver<Vec<String>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Relay {
    client: provisioner::fetch::Client,
    base: String,
    asked: watch::Sender<Vec<String>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let (asked, heard) = watch::channel(Vec::new());
        let client = provisioner::fetch::client().expect("a client");
        let relay = Relay { client, base: real_mirror(), asked };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let app = Router::new().fallback(pass_on).with_state(relay);
        let server = tokio::spawn(async { axum::serve(listener, app).await.expect("a server") });
        Self { address, asked: heard, server }
    }

    /// The address of one archive.
    pub fn archive(&self, id: &str) -> Url {
        format!("http://{}/{id}", self.address).parse().expect("a URL")
    }

    /// How many files were asked for so far.
    pub fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Waits until a file below `folder` was asked for, not counting the first `skipped` requests.
    pub async fn until_asked(&self, skipped: usize, folder: &str) {
        let below = |asked: &Vec<String>| asked.iter().skip(skipped).any(|path| path.starts_with(folder));
        self.asked.clone().wait_for(below).await.expect("a running upstream");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(relay): State<Relay>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    relay.asked.send_modify(|asked| asked.push(path.clone()));
    let url = format!("{}{path}", relay.base).parse().expect("a URL");
    let asking = match *request.method() {
        Method::HEAD => relay.client.head(url),
        _ => relay.client.get(url),
    };
    match asking.send().await {
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            for name in [header::CONTENT_LENGTH, header::LAST_MODIFIED, header::ETAG] {
                if let Some(value) = answer.headers().get(&name) {
                    response = response.header(name, value);
                }
            }
            response.body(Body::from_stream(answer.bytes_stream())).expect("a response")
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// What stands before `/debian/…`: the lab's mirror if there is one, else what this machine's apt is configured with.
fn real_mirror() -> String {
    let mut texts: Vec<_> = env::var("PROVISIONER_LAB_MIRROR").into_iter().map(|base| base + "/debian").collect();
    let lists = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    texts.extend(lists.chain(["/etc/apt/sources.list".into()]).filter_map(|path| fs::read_to_string(path).ok()));
    let words = texts.iter().flat_map(|text| text.split_ascii_whitespace());
    let mut bases = words
        .filter(|word| word.starts_with("http"))
        .filter_map(|word| word.trim_end_matches('/').strip_suffix("/debian"));
    bases.next().expect("apt is configured with a Debian mirror").to_owned()
}
