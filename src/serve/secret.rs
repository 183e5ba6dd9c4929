use std::{fs, io::ErrorKind, path::Path};

use anyhow::Context;

use super::publish;
use crate::{boot::Secret, random};

/// Reads the provisioner's secret, or makes one. It is kept, so that an installation that runs while the provisioner is
/// restarted can still fetch its answers and call back.
pub fn load_or_make(path: &Path) -> anyhow::Result<Secret> {
    match fs::read(path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(secret) => return Ok(Secret(secret)),
            Err(_) => tracing::warn!("{} is damaged: making a new one", path.display()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    let secret = random::bytes()?;
    publish::replace(path, 0o600, &secret).with_context(|| format!("writing {}", path.display()))?;
    Ok(Secret(secret))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let first = load_or_make(&path).expect("a secret");
        assert_eq!(load_or_make(&path).expect("the secret again").0, first.0);
        assert_eq!(fs::metadata(&path).expect("its metadata").permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").expect("damage");
        assert_ne!(load_or_make(&path).expect("a new secret").0, first.0);
    }
}
