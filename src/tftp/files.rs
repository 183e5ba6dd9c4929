use std::{fs::File, future::Future, net::IpAddr};

use bytes::Bytes;

/// What a TFTP client may read. Names are resolved by the implementor to an enum, never joined to a path.
pub trait Files: Send + Sync + 'static {
    /// Finds what `client` calls `name`.
    ///
    /// `name` is normalised: UTF-8, no leading slash, `/` separators, no empty, `.` or `..` component. Other names never
    /// reach here: they are "not found".
    ///
    /// The future is dropped when the client gives up on the request or replaces it, or when it takes longer than
    /// [`Config::idle`](super::Config::idle). It may take its time: no other client waits for it.
    fn open(&self, client: IpAddr, name: &str) -> impl Future<Output = Result<Content, OpenError>> + Send;
}

/// The content of one file.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// On disk. It is read at offsets, so the position of `file` does not matter.
    File {
        /// Open for reading. Must not change while it is served.
        file: File,
        /// Bytes to serve, from the beginning.
        size: u64,
    },
}

/// Why a file cannot be read. Decides the wire code of the ERROR packet (RFC 1350, appendix I).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Code 1. shim probes for files that need not exist and waits for exactly this answer.
    #[error("file not found")]
    NotFound,
    /// Code 2.
    #[error("access violation")]
    Denied,
    /// Code 0, with the text for the client's screen.
    #[error("{0}")]
    Failed(String),
}
