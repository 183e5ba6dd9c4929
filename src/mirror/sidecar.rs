use std::{
    fs::{self, File, Metadata},
    io::Read,
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entity::Head;
use crate::model::Sha256Digest;

/// The time of last use is noted this coarsely, so that a file that fifty machines ask for is one write and not fifty.
const COARSE: Duration = Duration::from_secs(3600);

/// What is known of a body, as JSON beside it.
///
/// Its own modification time is when the body was last used. The body's access time would be somebody else's: most systems are
/// mounted with `relatime`, and backups read everything.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sidecar {
    /// What upstream said about it.
    #[serde(flatten)]
    pub head: Head,
    /// Bytes of the body it belongs to.
    pub length: u64,
    /// Modification time of the body it belongs to: when its last byte came from upstream.
    pub fetched_at: Timestamp,
    /// Digest of the body it belongs to. Missing in sidecars from before digests were kept.
    pub sha256: Option<Sha256Digest>,
    /// Whether that was the digest of a content that was known.
    #[serde(default)]
    pub verified: bool,
}

impl Sidecar {
    /// The sidecar at a path, if there is one that can be understood. A missing or torn one costs what it says, no more.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The same, of a body that is used now: the time of that is noted. On a file system that cannot be written to, it is not.
    pub fn read_for_use(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let now = SystemTime::now();
        if file.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|last| is_old(last, now)) {
            let _ = file.set_modified(now);
        }
        let mut json = Vec::new();
        file.read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Whether its validators are those of this body: in between two renames, and after a crash there, it speaks of another.
    pub fn is_of(&self, body: &Metadata) -> bool {
        let modified = body.modified().ok().and_then(|modified| Timestamp::try_from(modified).ok());
        self.length == body.len() && Some(self.fetched_at) == modified
    }
}

/// A time in the future is as wrong as an old one: a clock was set back.
fn is_old(last: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(last).unwrap_or_else(|future| future.duration());
    apart >= COARSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_from_before_the_digests_is_read() {
        let json = r#"{"etag": null, "last_modified": null, "content_type": "text/plain", "length": 34770,
            "fetched_at": "2026-11-23T02:26:29.166418653Z"}"#;
        let old: Sidecar = serde_json::from_str(json).expect("a sidecar");
        assert_eq!((old.length, old.sha256, old.verified), (34770, None, false));
        assert_eq!(old.head.content_type.as_deref(), Some("text/plain"));
    }

    #[test]
    fn a_use_is_noted_once_an_hour() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let modified = || file.as_file().metadata().expect("metadata").modified().expect("a time");
        let now = SystemTime::now();
        for (last, noted) in [
            (now - Duration::from_secs(1800), false),
            (now - 2 * COARSE, true),
            (now + Duration::from_secs(60), false),
            (now + 2 * COARSE, true),
        ] {
            file.as_file().set_modified(last).expect("set");
            assert!(Sidecar::read_for_use(file.path()).is_none(), "it is empty");
            assert_eq!(modified() != last, noted, "{last:?}");
        }
    }
}
