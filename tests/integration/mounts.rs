//! File systems of a test's own: small ones, and ones that cannot be written to.

use std::{path::Path, process::Command, thread};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

/// Runs `work` on a thread that sees mounts of its own, which are gone when it ends. Skipped where that is not allowed, which is
/// a failure with `CI=true` in the environment.
pub fn in_own_mounts(work: impl FnOnce() + Send) {
    if !Uid::effective().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "mounts need root");
        eprintln!("skipped: mounts need root");
        return;
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("we are root");
            mount(&["--make-rprivate", "/"]);
            work();
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// An empty file system of so many bytes.
pub fn small(size: u64, at: &Path) {
    mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "small", &at.display().to_string()]);
}

/// A file, by another one in its place.
pub fn replaced(original: &Path, by: &Path) {
    mount(&["--bind", &by.display().to_string(), &original.display().to_string()]);
}

/// What is there, not to be written to.
pub fn read_only(at: &Path) {
    let at = at.display().to_string();
    mount(&["--bind", &at, &at]);
    mount(&["-o", "remount,bind,ro", &at]);
}

/// A child of this thread, so that it acts on this thread's mounts.
fn mount(arguments: &[&str]) {
    let output = Command::new("mount").args(arguments).output().expect("mount is installed");
    assert!(output.status.success(), "mount {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
