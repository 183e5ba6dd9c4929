use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use axum::http::StatusCode;

use super::{OnServed, Served};

/// Counts what a client was given, and reports it when it is dropped: with the last chunk of the body, however that ends.
pub(super) struct Receipt {
    on_served: OnServed,
    client: IpAddr,
    served: Served,
    /// Bytes of the chunks that were made.
    made: AtomicU64,
    /// Bytes of them that were taken.
    sent: AtomicU64,
    ended: AtomicBool,
}

impl Receipt {
    /// For a response that has no body yet.
    pub fn new(on_served: OnServed, client: IpAddr, served: Served) -> Self {
        let (made, sent, ended) = Default::default();
        Self { on_served, client, served, made, sent, ended }
    }

    /// The path that was asked for.
    pub fn path(&self) -> &str {
        &self.served.path
    }

    /// The response's status.
    pub fn with(mut self, status: StatusCode) -> Self {
        self.served.status = status.as_u16();
        self
    }

    /// A chunk of this many bytes is on its way.
    pub fn made(&self, bytes: u64) {
        self.made.fetch_add(bytes, Relaxed);
    }

    /// So many bytes of a chunk were handed to the connection.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// No further chunk will be made: those that were are all.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let (made, sent, ended) = (*self.made.get_mut(), *self.sent.get_mut(), *self.ended.get_mut());
        (self.served.bytes, self.served.complete) = (sent, ended && sent == made);
        (self.on_served)(self.client, &self.served);
    }
}
