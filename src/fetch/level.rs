use std::fmt;

use serde::{Deserialize, Serialize};

/// What vouched for a file. Ordered: a stricter level is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing: the server that was asked for digests is not asked over TLS.
    Http,
    /// The operator's word, who named the directory: there is no network between.
    Directory,
    /// The certificate of the distributor's web server.
    Https,
    /// A signature by a trusted OpenPGP key.
    Signed,
}

impl Level {
    /// What a server, or a directory, vouches for by itself, without a signature.
    pub fn of_server(url: &url::Url) -> Self {
        match url.scheme() {
            "https" => Self::Https,
            "file" => Self::Directory,
            _ => Self::Http,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http: not verified",
            Self::Directory => "by the directory that you named: not signed",
            Self::Https => "https only: not signed",
            Self::Signed => "signed",
        })
    }
}
