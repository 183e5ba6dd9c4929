use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use crate::model::Sha256Digest;

/// Which bytes on the disk a file is, as far as that can be told without reading them.
///
/// The time of the last change (`st_ctime`) moves with every write, and unlike that of the last modification nobody can set
/// it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// Digests of stored files, as this run has seen them: each is hashed on its first use in a run, so that what has rotted on the
/// disk since it was fetched is found before it is served.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, (Identity, Sha256Digest)>>);

impl Identity {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Seen {
    /// The digest of the file that a key names, if these very bytes have been hashed.
    pub fn digest(&self, key: &str, identity: &Identity) -> Option<Sha256Digest> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(key).filter(|(then, _)| then == identity).map(|(_, digest)| *digest)
    }

    /// These bytes have been hashed.
    pub fn note(&self, key: &str, identity: Identity, digest: Sha256Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (identity, digest));
    }
}

/// The digest of a file, wherever its cursor is. Blocks.
pub(super) fn hash(file: &File) -> io::Result<Sha256Digest> {
    let (mut buffer, mut hasher, mut offset) = (vec![0; 256 * 1024], Sha256::new(), 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(Sha256Digest(hasher.finalize().into())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_have_not_been_seen() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"hello", 0).expect("written");
        let identity = || Identity::of(&file.metadata().expect("metadata"));
        let (seen, first, digest) = (Seen::default(), identity(), hash(&file).expect("hashed"));
        assert_eq!(digest, Sha256Digest(Sha256::digest("hello").into()));
        assert_eq!(seen.digest("a", &first), None);
        seen.note("a", first, digest);
        assert_eq!((seen.digest("a", &first), seen.digest("b", &first)), (Some(digest), None));
        file.write_all_at(b" world", 5).expect("written");
        assert_eq!(seen.digest("a", &identity()), None);
    }
}
