use std::{collections::BTreeMap, io, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::level::Level;
use crate::{
    model::Sha256Digest,
    publish::{READABLE, replace},
};

/// `manifest.json`: what lies in a release's cache and what vouched for it.
///
/// It is believed as the cache itself is: whoever can write there is the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When the archive last confirmed all of it.
    pub verified_at: Timestamp,
    /// The signed metadata that vouched for it: suites by codename, a list of images by its path.
    pub stamps: BTreeMap<String, Stamp>,
    /// The files, by name.
    pub files: BTreeMap<String, Entry>,
}

/// The state of signed metadata when it vouched for our files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The version it is for: `13.7`, or the codename of a suite without version.
    pub version: String,
    /// Its date.
    pub date: Timestamp,
    /// Fingerprint of the primary key that signed it.
    pub signer: String,
}

/// A file in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where it comes from, for people.
    pub origin: String,
    /// Which of its sources that was.
    pub source: String,
    /// Digest of the package or image it was taken from.
    pub source_sha256: Sha256Digest,
    /// Digest of the index (`SHA256SUMS`, `Packages.xz`, `CHECKSUM`, …) that listed the source: as long as that is the same,
    /// the file is current.
    pub index_sha256: Sha256Digest,
    /// What vouched for that index.
    pub level: Level,
}

impl Manifest {
    /// Reads it; `None` when there is none or it cannot be understood, in which case the files are fetched again.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::warn!("{} is damaged and ignored: {error}", path.display()))
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it in one step.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            replace(path, READABLE, &text)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}
