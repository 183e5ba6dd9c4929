use std::time::Duration;

use anyhow::Context;

/// The HTTP client of everything that leaves this machine: boot files, metadata, the mirror's upstream.
///
/// TLS trusts the certificate store of this machine (so company proxies keep working) and the usual proxy variables are
/// honoured. Bodies are never decompressed on the way: digests are over the bytes as they are stored.
pub fn client() -> anyhow::Result<reqwest::Client> {
    // A second call finds the provider installed: that is the same provider, so nothing is lost.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("provisioner/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        // Between two reads, not for the whole transfer: a slow mirror is fine, a silent one is not.
        .read_timeout(Duration::from_secs(60))
        .build()
        .context("preparing the HTTP client")
}
