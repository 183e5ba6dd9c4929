use std::{io, path::PathBuf, time::Duration};

use anyhow::Context;
use hyper::{HeaderMap, Method, header::HeaderName};
use reqwest::{
    RequestBuilder, Response, ResponseBuilderExt,
    header::HeaderValue,
    redirect::{Action, Attempt, Policy},
};
use tokio::time::timeout;
use url::Url;

use super::store::blocking;
use crate::distro::address;

mod file;

/// Redirections that are followed, as reqwest's own policy does.
const HOPS: usize = 10;

/// Asks upstream, a server or a directory (`file://`): for boot files, metadata, and what the mirror has not got. Clones are
/// the same one.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

/// A request that is not sent yet.
#[derive(Debug)]
pub struct Outgoing(To);

#[derive(Debug)]
enum To {
    Server(RequestBuilder),
    Directory { method: Method, url: Url, headers: HeaderMap, patience: Option<Duration> },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The server or the way to it. Without the address, which may hold a password.
    #[error(transparent)]
    Server(reqwest::Error),
    /// The file is there and cannot be read.
    #[error("reading {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The client of everything that leaves this machine.
///
/// TLS trusts the certificate store of this machine (so company proxies keep working) and the usual proxy variables are
/// honoured. Nothing that was asked for over https comes over http, wherever a server sends us. Bodies are never decompressed
/// on the way: digests are over the bytes as they are stored.
pub fn client() -> anyhow::Result<Client> {
    // A second call finds the provider installed: that is the same provider, so nothing is lost.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .user_agent(concat!("provisioner/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        // Between two reads, not for the whole transfer: a slow mirror is fine, a silent one is not.
        .read_timeout(Duration::from_secs(60))
        .redirect(Policy::custom(follow))
        .build();
    Ok(client.context("preparing the HTTP client")?.into())
}

impl From<reqwest::Client> for Client {
    fn from(client: reqwest::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// Asks for a file.
    pub fn get(&self, url: Url) -> Outgoing {
        self.ask(Method::GET, url)
    }

    /// Asks what a `get` would answer, without the body.
    pub fn head(&self, url: Url) -> Outgoing {
        self.ask(Method::HEAD, url)
    }

    fn ask(&self, method: Method, url: Url) -> Outgoing {
        Outgoing(match address::is_local(&url) {
            true => To::Directory { method, url, headers: HeaderMap::new(), patience: None },
            false => To::Server(self.0.request(method, url)),
        })
    }
}

impl Outgoing {
    /// With a header. What no header may have in it is left out.
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        let Ok(value) = HeaderValue::from_str(value) else { return self };
        Self(match self.0 {
            To::Server(request) => To::Server(request.header(name, value)),
            To::Directory { method, url, mut headers, patience } => {
                headers.insert(name, value);
                To::Directory { method, url, headers, patience }
            }
        })
    }

    /// With so much time for the answer; from a server, for its body too.
    pub fn timeout(self, patience: Duration) -> Self {
        Self(match self.0 {
            To::Server(request) => To::Server(request.timeout(patience)),
            To::Directory { method, url, headers, .. } => {
                To::Directory { method, url, headers, patience: Some(patience) }
            }
        })
    }

    /// Sends it. The answer's body follows while it arrives.
    ///
    /// # Errors
    /// A server that cannot be reached, a file that cannot be read. An answer that says no is an answer.
    pub async fn send(self) -> Result<Response, Unanswered> {
        let (method, url, headers, patience) = match self.0 {
            // SECURITY: without the address, which may hold a password.
            To::Server(request) => return request.send().await.map_err(|e| Unanswered::Server(e.without_url())),
            To::Directory { method, url, headers, patience } => (method, url, headers, patience),
        };
        let path = address::local(&url).unwrap_or_default();
        let asked = path.clone();
        let answer = blocking(move || file::answer(&method, &asked, &headers));
        let answer = match patience {
            // A network file system whose server is gone.
            Some(patience) => timeout(patience, answer).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())),
            None => answer.await,
        };
        let (answer, body) = answer.map_err(|source| Unanswered::File { path, source })?;
        let body = body.map_or_else(reqwest::Body::default, reqwest::Body::wrap);
        Ok(answer.url(url).body(body).expect("its headers are of plain characters").into())
    }
}

/// SECURITY: what came over https vouches for other files. One hop over http would let anybody answer.
fn follow(attempt: Attempt<'_>) -> Action {
    let from = attempt.previous();
    if from.len() > HOPS {
        return attempt.error("it redirects too often");
    }
    if attempt.url().scheme() != "https" && from.iter().any(|url| url.scheme() == "https") {
        return attempt.error("it redirects from https to http");
    }
    attempt.follow()
}

#[cfg(test)]
mod tests;
