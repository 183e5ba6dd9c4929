use std::fmt;

use serde::{Deserialize, Serialize};

/// What vouched for a file. Ordered: a stricter level is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing: the server that was asked for digests is not asked over TLS.
    Http,
    /// The certificate of the distributor's web server.
    Https,
    /// A signature by a trusted OpenPGP key.
    Signed,
}

impl Level {
    /// What a server vouches for by itself, without a signature.
    pub fn of_server(url: &url::Url) -> Self {
        if url.scheme() == "https" { Self::Https } else { Self::Http }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http: not verified",
            Self::Https => "https only: not signed",
            Self::Signed => "signed",
        })
    }
}
