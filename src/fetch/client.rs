use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::{Action, Attempt, Policy};

/// Redirections that are followed, as reqwest's own policy does.
const HOPS: usize = 10;

/// The HTTP client of everything that leaves this machine: boot files, metadata, the mirror's upstream.
///
/// TLS trusts the certificate store of this machine (so company proxies keep working) and the usual proxy variables are
/// honoured. Nothing that was asked for over https comes over http, wherever a server sends us. Bodies are never decompressed on the way: digests are over the bytes as they are stored.
pub fn client() -> anyhow::Result<reqwest::Client> {
    // A second call finds the provider installed: that is the same provider, so nothing is lost.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("provisioner/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        // Between two reads, not for the whole transfer: a slow mirror is fine, a silent one is not.
        .read_timeout(Duration::from_secs(60))
        .redirect(Policy::custom(follow))
        .build()
        .context("preparing the HTTP client")
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
