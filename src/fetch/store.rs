use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use reqwest::Client;
use url::Url;

use super::{
    digest::{self, Expected},
    download::{Download, DownloadError},
};
use crate::model::Sha256Digest;

/// Verified files under the name of their digest, and the parts of files still to come.
///
/// What is wanted again is found here: indexes that did not change, and whatever an interrupted run had finished.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `folder`, which is made when it is missing.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// What another one keeps in `folder`, if anything, to read from.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the file of this digest is, if it is there.
    pub fn path(&self, sha256: Sha256Digest) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    /// A file to write to until its digest is known.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.part"))
    }

    /// Whether the file is here; it is hashed again, and removed should it have changed.
    pub async fn holds(&self, sha256: Sha256Digest) -> bool {
        let path = self.path(sha256);
        blocking(move || match digest::of_file(&path) {
            Ok((_, actual)) if actual == sha256 => true,
            Ok(_) => {
                // Should it stay, the download that follows replaces it.
                let _ = std::fs::remove_file(&path);
                false
            }
            Err(_) => false,
        })
        .await
    }

    /// Fetches a file unless it is here.
    pub async fn fetch(
        &self,
        client: &Client,
        url: Url,
        expected: Expected,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<PathBuf, DownloadError> {
        let path = self.path(expected.sha256);
        if !self.holds(expected.sha256).await {
            Download { client, url, expected, path: path.clone() }.run(progress).await?;
        }
        Ok(path)
    }

    /// Keeps bytes that were fetched into memory.
    pub async fn keep(&self, bytes: Vec<u8>) -> anyhow::Result<Sha256Digest> {
        let store = self.clone();
        blocking(move || {
            let sha256 = digest::of_bytes(&bytes);
            let (part, path) = (store.unfinished(&sha256.to_string()), store.path(sha256));
            let write = || {
                let mut file = File::create(&part)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                std::fs::rename(&part, &path)
            };
            write().with_context(|| format!("writing {}", path.display()))?;
            Ok(sha256)
        })
        .await
    }

    /// Removes everything whose digest is not in `keep`. What cannot be removed is only space lost.
    pub fn prune(&self, keep: &HashSet<Sha256Digest>) {
        let digest = |path: &Path| path.file_name()?.to_str()?.parse().ok();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !digest(&path).is_some_and(|digest| keep.contains(&digest)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Runs work that hashes, unpacks or waits for the disk off the runtime's threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Cancelled: the runtime is going away, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
