use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;

use crate::{boot::Secret, random};

/// Reads the provisioner's secret, or makes one. It is kept, so that an installation that runs while the provisioner is
/// restarted can still fetch its answers and call back.
///
/// Of several provisioners that start at once on one prefix, one makes it for all: that of the others would be lost with them.
pub fn load_or_make(path: &Path) -> anyhow::Result<Secret> {
    if let Some(secret) = load(path)? {
        return Ok(secret);
    }
    let secret = Secret(random::bytes()?);
    let new = path.with_extension(format!("new-{:016x}", u64::from_ne_bytes(random::bytes()?)));
    let named = write(&new, &secret).and_then(|()| name(&new, path));
    let _ = fs::remove_file(&new);
    match named {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load(path)?.context("reading a secret just made"),
        Err(error) => Err(error).with_context(|| format!("writing {}", path.display())),
    }
}

fn write(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&secret.0)?;
    file.sync_all()
}

/// A link, unlike a rename, does not take a name that somebody else has got meanwhile. Some file systems know none.
fn name(new: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(new, path).or_else(|error| match error.kind() {
        ErrorKind::AlreadyExists => Err(error),
        _ => fs::rename(new, path),
    })
}

/// The secret that is there. A damaged one is removed.
fn load(path: &Path) -> anyhow::Result<Option<Secret>> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(secret) => Ok(Some(Secret(secret))),
            Err(_) => {
                tracing::warn!("{} is damaged: making a new one", path.display());
                fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
                Ok(None)
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, sync::Barrier, thread};

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let first = load_or_make(&path).expect("a secret");
        assert_eq!(load_or_make(&path).expect("the secret again").0, first.0);
        assert_eq!(fs::metadata(&path).expect("its metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
        fs::write(&path, b"short").expect("damage");
        assert_ne!(load_or_make(&path).expect("a new secret").0, first.0);
    }

    #[test]
    fn several_that_start_at_once_have_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, together) = (folder.path().join("secret"), Barrier::new(8));
        let made: BTreeSet<_> = thread::scope(|scope| {
            let make = || {
                together.wait();
                load_or_make(&path).expect("a secret").0
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(made.len(), 1);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }
}
