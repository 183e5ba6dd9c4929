//! A suite's signed texts: fetched, and judged.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use url::Url;

use super::release_file::ReleaseFile;
use crate::{
    distro::address::{below, shown},
    fetch::{
        Client,
        archive::Expired,
        download::{self, DownloadError},
        keyring::Keyring,
        openpgp::Signed,
    },
    model::Hinted,
};

/// Debian's largest `InRelease` has 0.2 MB.
const LIMIT: usize = 8 << 20;

/// How long a signed text may take. A mirror that takes connections and stays silent would cost several minutes each time, while
/// a kept state waits to be used.
const PATIENCE: Duration = Duration::from_secs(60);

/// A suite on a mirror, and who may sign its metadata.
#[derive(Clone, Copy)]
pub struct Suite<'a> {
    /// The client to fetch with.
    pub client: &'a Client,
    /// Root of the archive.
    pub mirror: &'a Url,
    /// Its folder below `dists/`.
    pub name: &'a str,
    /// Who may sign it.
    pub keyring: &'a Keyring,
    /// What signatures and their texts are judged by.
    pub now: Timestamp,
}

impl Suite<'_> {
    /// The address of a file of the suite.
    pub fn url(&self, file: &str) -> Url {
        below(self.mirror, &format!("dists/{}/{file}", self.name))
    }

    /// A small file of the suite, as the mirror has it.
    pub async fn get(&self, file: &str) -> Result<Vec<u8>, DownloadError> {
        download::ask(self.client, &self.url(file), LIMIT, PATIENCE).await
    }

    /// What `InRelease` says, or `Release` with `Release.gpg` where an archive has no `InRelease`.
    pub async fn signed(&self) -> anyhow::Result<(ReleaseFile, Signed)> {
        match self.get("InRelease").await {
            Ok(message) => self.in_release(&message),
            Err(DownloadError::Gone { .. }) => {
                let text = self.get("Release").await.map_err(|error| self.not_there(error))?;
                let signature = self.get("Release.gpg").await.map_err(|error| self.not_there(error))?;
                self.release(&text, &signature)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Judges an `InRelease`.
    pub fn in_release(&self, message: &[u8]) -> anyhow::Result<(ReleaseFile, Signed)> {
        let address = shown(&self.url("InRelease"));
        let signed = self.keyring.verify_cleartext(message, self.now);
        self.read(signed.with_context(|| format!("verifying {address}"))?, &address)
    }

    /// Judges a `Release` by its `Release.gpg`.
    pub fn release(&self, text: &[u8], signature: &[u8]) -> anyhow::Result<(ReleaseFile, Signed)> {
        let address = shown(&self.url("Release"));
        let signed = self.keyring.verify_detached(text, signature, self.now);
        self.read(signed.with_context(|| format!("verifying {address}"))?, &address)
    }

    /// The error of a file without which this is no suite.
    pub fn not_there(&self, error: DownloadError) -> anyhow::Error {
        let Self { mirror, name, .. } = self;
        match error {
            DownloadError::Gone { .. } => {
                let what = format!("{} has no suite {name}", shown(mirror));
                anyhow::Error::from(error).context(Hinted::new(
                    what,
                    "--mirror is the root of an archive, the folder that holds dists/ and pool/",
                ))
            }
            error => error.into(),
        }
    }

    fn read(&self, signed: Signed, address: &str) -> anyhow::Result<(ReleaseFile, Signed)> {
        let release = ReleaseFile::parse(&signed.text).with_context(|| format!("reading {address}"))?;
        // SECURITY: the signature says that the text is Debian's, not that it is the one we asked for.
        let is_it = release.codename == self.name || release.suite == self.name;
        ensure!(is_it, "{address} is the metadata of {} ({}), not of {}", release.codename, release.suite, self.name);
        // A date guards against old states that are played back on the way; a directory is what the operator made it.
        let is_on_the_way = self.mirror.scheme() != "file";
        if let Some(until) = release.valid_until.filter(|&until| is_on_the_way && until < self.now) {
            return Err(Expired { address: address.to_owned(), until }.into());
        }
        Ok((release, signed))
    }
}
