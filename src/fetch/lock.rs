use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

/// How often a provisioner asks whether another one is done.
const PAUSE: Duration = Duration::from_millis(250);

/// Locks a file, which is made if it is missing, for this process alone. `waits` is called once if another one has it for longer
/// than a moment: a program that is just being started holds what its parent held, until it runs.
///
/// Its time of modification becomes now: so it tells when what it guards was last used.
pub async fn lock(path: &Path, waits: impl FnOnce()) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    let (mut waits, mut looks) = (Some(waits), 0);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                looks += 1;
                if let Some(waits) = waits.take_if(|_| looks > 1) {
                    waits();
                }
                // Asked again and again, because a thread that waits in the kernel could not be cancelled.
                tokio::time::sleep(PAUSE).await;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    // Not worth failing for.
    let _ = file.set_modified(SystemTime::now());
    Ok(file)
}

/// Opens a file or folder of the cache to be used as long as the result lives: nobody removes it meanwhile. Without locks (some
/// network file systems) somebody might.
pub fn in_use(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock_shared().ok().map(|()| file)
}

/// Whether somebody has it [`in_use`].
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_the_other_and_says_so_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.lock");
        let first = lock(&path, || panic!("nobody has it")).await.expect("locked");
        first.set_modified(SystemTime::UNIX_EPOCH).expect("set");
        let (waits, told) = oneshot::channel();
        let second = tokio::spawn(async move { lock(&path, || waits.send(()).expect("a test")).await });
        told.await.expect("it waits");
        drop(first);
        let second = second.await.expect("no panic").expect("locked");
        assert_ne!(second.metadata().and_then(|now| now.modified()).expect("a time"), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_file_or_folder_is_in_use_as_long_as_somebody_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [in_use(folder.path()), in_use(folder.path())];
        assert!(first.is_some() && second.is_some());
        drop(first);
        assert!(is_in_use(folder.path()).expect("looked at"));
        drop(second);
        assert!(!is_in_use(folder.path()).expect("looked at"));
    }
}
