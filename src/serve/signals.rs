use std::future::Future;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that mean "end". One that comes while nobody waits is kept for who waits next.
#[derive(Debug)]
pub struct Signals([Signal; 3]);

impl Signals {
    /// Listens from now on: these signals end the program no more.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self([interrupt, terminate, listen(SignalKind::hangup())?]))
    }

    /// The outcome, or `None` when a signal comes first; `work` is then dropped.
    pub async fn until<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            biased;
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hang_up.recv() => None,
            outcome = work => Some(outcome),
        }
    }
}
