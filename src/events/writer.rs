use std::thread::JoinHandle;

use anyhow::Context;
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use super::Journal;
use crate::model::Event;

/// Writes the journal on a thread of its own, in the order of recording: fsync(2) takes as long as the disk likes, and DHCP
/// answers must not wait for it.
///
/// Dropping it waits until all is written.
#[derive(Debug)]
pub struct Writer {
    /// `None` while it is dropped.
    queue: Option<UnboundedSender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

enum Entry {
    Event(Event),
    /// Other work with the disk.
    Task(Box<dyn FnOnce() + Send>),
    /// Tells when all before it is on the disk.
    Mark(oneshot::Sender<()>),
}

impl Writer {
    /// Takes the journal over.
    pub fn start(journal: Journal) -> anyhow::Result<Self> {
        let (queue, entries) = unbounded_channel();
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || write(journal, entries));
        Ok(Self { queue: Some(queue), thread: Some(thread.context("starting the journal's thread")?) })
    }

    /// Has an event written.
    pub fn append(&self, event: Event) {
        self.send(Entry::Event(event));
    }

    /// Has something else written, after everything appended so far.
    pub fn then(&self, task: impl FnOnce() + Send + 'static) {
        self.send(Entry::Task(Box::new(task)));
    }

    /// What is awaited until everything appended so far is on the disk.
    pub fn mark(&self) -> oneshot::Receiver<()> {
        let (reached, mark) = oneshot::channel();
        self.send(Entry::Mark(reached));
        mark
    }

    fn send(&self, entry: Entry) {
        // The thread ends only with the queue; had it panicked, marks would tell so by their own end.
        let _ = self.queue.as_ref().map(|queue| queue.send(entry));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the journal's thread panicked: its last events are lost");
        }
    }
}

/// A journal that cannot be written (a full disk) does not stop an installation that runs: it is an error in the log, and this
/// run still remembers.
fn write(mut journal: Journal, mut entries: UnboundedReceiver<Entry>) {
    while let Some(entry) = entries.blocking_recv() {
        match entry {
            Entry::Event(event) => {
                if let Err(error) = journal.append(&event) {
                    tracing::error!("an event of {} is remembered only until this run ends: {error:#}", event.mac);
                }
            }
            Entry::Task(task) => task(),
            Entry::Mark(reached) => {
                // Whoever waited may be gone.
                let _ = reached.send(());
            }
        }
    }
}
