use std::{fs::File, path::Path, time::UNIX_EPOCH};

use anyhow::{Context, ensure};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::entity::{Entity, Head};

/// A verified file of this machine, opened to be served under the name that a client asked for. Blocks.
pub(super) fn open(file: &Path, name: &str) -> anyhow::Result<Entity> {
    let opening = || format!("opening {}, which is served for {name}", file.display());
    let opened = File::open(file).with_context(opening)?;
    let metadata = opened.metadata().with_context(opening)?;
    ensure!(metadata.is_file(), "{} is no file, but is served for {name}", file.display());
    let modified = metadata.modified().with_context(opening)?;
    let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let date = Timestamp::try_from(modified).ok();
    let head = Head {
        // The file is replaced by rename and never written to again, so that these two tell its versions apart.
        etag: Some(format!("\"{:x}-{age:x}\"", metadata.len())),
        last_modified: date.and_then(|date| DateTimePrinter::new().timestamp_to_rfc9110_string(&date).ok()),
        content_type: None,
    };
    let mut entity = Entity::stored(opened, head, metadata.len());
    entity.verified = true;
    Ok(entity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_validators_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cached");
        let head = |content: &str| {
            std::fs::write(&path, content).expect("written");
            let file = File::options().write(true).open(&path).expect("opened");
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1_668_516_326)).expect("set");
            let entity = open(&path, "EFI/BOOT/BOOTX64.EFI").expect("opened");
            assert!(entity.verified);
            (*entity.head).clone()
        };
        let (first, second) = (head("loader"), head("loader of another length"));
        assert_eq!(first.last_modified.as_deref(), Some("Tue, 15 Nov 2022 12:45:26 GMT"));
        assert_ne!(first.etag, second.etag);
        for missing in ["no such file", ""] {
            let error = open(&folder.path().join(missing), "images/install.img").expect_err("nothing to serve");
            assert!(format!("{error:#}").contains("images/install.img"), "{error:#}");
        }
    }
}
