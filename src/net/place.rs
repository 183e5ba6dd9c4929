use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// The network namespace in which sockets are made.
///
/// A socket stays in the namespace in which it was created, whichever thread uses it later. So a rehearsal makes its
/// listeners inside a private namespace while downloads leave by this machine's own network, in one process.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// The namespace this process runs in.
    #[default]
    Here,
    /// Another one.
    Namespace(Arc<OwnedFd>),
}

impl Place {
    /// Makes a namespace that lives as long as this value (and the sockets and processes in it). Needs CAP_SYS_ADMIN.
    pub fn private() -> std::io::Result<Self> {
        let made = thread::scope(|scope| {
            scope
                .spawn(|| -> std::io::Result<OwnedFd> {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    Ok(std::fs::File::open("/proc/thread-self/ns/net")?.into())
                })
                .join()
        });
        match made {
            Ok(namespace) => Ok(Self::Namespace(Arc::new(namespace?))),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs `work` with the calling thread's network in this place; for making sockets and starting processes.
    ///
    /// Another namespace costs a short-lived thread: the namespace is a property of the thread, and a runtime's worker
    /// must never be left in the wrong one.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> std::io::Result<T> + Send) -> std::io::Result<T> {
        match self {
            Self::Here => work(),
            Self::Namespace(namespace) => thread::scope(|scope| {
                let inside = scope.spawn(|| {
                    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
                    work()
                });
                inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }),
        }
    }
}
