use std::time::Duration;

use anyhow::Context;
use reqwest::{
    RequestBuilder, Response,
    header::HeaderName,
    redirect::{Action, Attempt, Policy},
};
use url::Url;

/// Redirections that are followed, as reqwest's own policy does.
const HOPS: usize = 10;

/// Asks upstream: for boot files, metadata, and what the mirror has not got. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

/// A request that is not sent yet.
#[derive(Debug)]
pub struct Outgoing(RequestBuilder);

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
        Outgoing(self.0.get(url))
    }

    /// Asks what a `get` would answer, without the body.
    pub fn head(&self, url: Url) -> Outgoing {
        Outgoing(self.0.head(url))
    }
}

impl Outgoing {
    /// With a header.
    pub fn header(self, name: HeaderName, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// For all of the answer, its body too.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Sends it. The answer's body follows while it arrives.
    pub async fn send(self) -> Result<Response, reqwest::Error> {
        self.0.send().await
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
