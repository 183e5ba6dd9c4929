//! One file from a mirror to the disk: `<path>.part` → length → SHA-256 → fsync → rename.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::{fs, io::AsyncWriteExt, time::timeout};
use url::Url;

use super::{
    Client, Outgoing, Unanswered,
    digest::{self, Expected},
    store::blocking,
};
use crate::{
    distro::address::{is_local, shown},
    model::Sha256Digest,
};

/// Attempts without progress before a mirror counts as unreachable.
const ATTEMPTS: u32 = 4;
/// Pause before the second attempt; it triples from there (0.25, 0.75, 2.25 s).
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// What an attempt must have brought to count as progress, so that a mirror that drips does not keep us for ever.
const PROGRESS: u64 = 1 << 20;
/// The most a file of unlisted length may have. The largest are installation images, some 1.3 GB.
const UNLISTED_LIMIT: u64 = 4 << 30;

/// Why a file is not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The mirror does not have it (404, 410).
    #[error("{} is not there{}", shown(url), if is_local(url) { String::new() } else { format!(" (HTTP {status})") })]
    Gone {
        /// What was asked for.
        url: Url,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The mirror cannot be reached, breaks off, or refuses to serve.
    #[error("{} cannot be fetched", shown(url))]
    Unreachable {
        /// What was asked for.
        url: Url,
        /// How the last attempt ended.
        source: anyhow::Error,
    },
    /// The mirror serves a file of another length.
    #[error("{} is not the file that is listed: it has {actual} bytes instead of {expected}", shown(url))]
    WrongSize {
        /// What was asked for.
        url: Url,
        /// The length in the list.
        expected: u64,
        /// The length that was offered.
        actual: u64,
    },
    /// The mirror serves other bytes.
    #[error("{} is not the file that is listed: its SHA-256 is {actual} instead of {expected}", shown(url))]
    Altered {
        /// What was asked for.
        url: Box<Url>,
        /// The digest in the list.
        expected: Sha256Digest,
        /// The digest of what came.
        actual: Sha256Digest,
    },
    /// The file cannot be written here.
    #[error("writing {}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DownloadError {
    /// Nothing came from there within a time.
    pub fn silent(url: &Url, patience: Duration) -> Self {
        let source = anyhow!("it did not answer within {} seconds", patience.as_secs());
        Self::Unreachable { url: url.clone(), source }
    }
}

/// How one attempt ended, when it did not succeed.
enum Attempt {
    /// Worth another one.
    Broken(anyhow::Error),
    /// Not worth another one.
    Over(DownloadError),
}

impl From<DownloadError> for Attempt {
    fn from(error: DownloadError) -> Self {
        Self::Over(error)
    }
}

/// A file to fetch.
pub struct Download<'a> {
    /// The client to fetch with.
    pub client: &'a Client,
    /// Where it is.
    pub url: Url,
    /// What it has to be.
    pub expected: Expected,
    /// Its final name. What is there under `<path>.part` from an earlier run is continued.
    pub path: PathBuf,
}

impl Download<'_> {
    /// Fetches and verifies the file. `progress` is told the bytes so far and the total, if known.
    ///
    /// # Errors
    /// After [`DownloadError::WrongSize`] and [`DownloadError::Altered`] nothing is left on the disk; after
    /// [`DownloadError::Unreachable`] the part that came stays for the next time.
    pub async fn run(&self, progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<(), DownloadError> {
        let part = part_of(&self.path);
        let mut patience = Patience::new();
        loop {
            let before = length(&part).await;
            match self.attempt(&part, progress).await {
                Ok(()) => match self.publish(&part).await {
                    // What an earlier run or a power failure left may be damaged: the mirror deserves a second chance.
                    Err(DownloadError::Altered { .. } | DownloadError::WrongSize { .. }) if before > 0 => {}
                    verdict => return verdict,
                },
                Err(Attempt::Over(error)) => {
                    if !matches!(error, DownloadError::Gone { .. } | DownloadError::Unreachable { .. }) {
                        remove(&part).await?;
                    }
                    return Err(error);
                }
                Err(Attempt::Broken(source)) => {
                    let progressed = length(&part).await.saturating_sub(before) >= PROGRESS;
                    if !patience.pause(progressed).await {
                        return Err(DownloadError::Unreachable { url: self.url.clone(), source });
                    }
                }
            }
        }
    }

    async fn attempt(&self, part: &Path, progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<(), Attempt> {
        let total = self.expected.size;
        let mut have = length(part).await;
        if have > 0 && total.is_some_and(|total| have >= total) {
            return Ok(());
        }
        let mut request = self.client.get(self.url.clone());
        if have > 0 {
            request = request.header(RANGE, &format!("bytes={have}-"));
        }
        let mut response = send(request, &self.url).await?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT && range_start(&response) == Some(have);
        if !resumed {
            match response.status() {
                StatusCode::OK => {}
                // There is nothing behind what we have: the digest tells whether that is the whole file.
                StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
                status => {
                    remove(part).await?;
                    return Err(Attempt::Broken(anyhow!("it answered {status} with another range than was asked for")));
                }
            }
            have = 0;
        }
        if let (Some(expected), Some(coming)) = (total, response.content_length())
            && have.saturating_add(coming) != expected
        {
            let actual = have.saturating_add(coming);
            return Err(DownloadError::WrongSize { url: self.url.clone(), expected, actual }.into());
        }
        let disk = |source| Attempt::Over(DownloadError::Disk { path: part.to_owned(), source });
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(!resumed).open(part).await.map_err(disk)?;
        io::Result::map(tokio::io::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(have)).await, drop)
            .map_err(disk)?;
        let copied = self.copy(&mut response, &mut file, have, progress).await;
        file.flush().await.map_err(disk)?;
        copied
    }

    async fn copy(
        &self,
        response: &mut Response,
        file: &mut fs::File,
        mut have: u64,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), Attempt> {
        let total = self.expected.size;
        let disk = |source| Attempt::Over(DownloadError::Disk { path: part_of(&self.path), source });
        while let Some(chunk) = response.chunk().await.map_err(|error| Attempt::Broken(error.without_url().into()))? {
            have += chunk.len() as u64;
            let limit = total.unwrap_or(UNLISTED_LIMIT);
            if have > limit {
                return Err(DownloadError::WrongSize { url: self.url.clone(), expected: limit, actual: have }.into());
            }
            file.write_all(&chunk).await.map_err(disk)?;
            progress(have, total);
        }
        match total {
            // Without a Content-Length a connection that breaks off looks like the end.
            Some(total) if have < total => Err(Attempt::Broken(anyhow!("it ended after {have} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    /// The verdict over what lies on the disk, and the final name.
    async fn publish(&self, part: &Path) -> Result<(), DownloadError> {
        let (from, to, expected, url) = (part.to_owned(), self.path.clone(), self.expected, self.url.clone());
        blocking(move || {
            let disk = |source| DownloadError::Disk { path: from.clone(), source };
            let (size, actual) = digest::of_file(&from).map_err(disk)?;
            let verdict = if expected.size.is_some_and(|expected| expected != size) {
                Err(DownloadError::WrongSize { url, expected: expected.size.unwrap_or_default(), actual: size })
            } else if actual != expected.sha256 {
                Err(DownloadError::Altered { url: Box::new(url), expected: expected.sha256, actual })
            } else {
                std::fs::File::open(&from).and_then(|file| file.sync_all()).map_err(disk)?;
                return std::fs::rename(&from, &to).map_err(disk);
            };
            std::fs::remove_file(&from).map_err(disk)?;
            verdict
        })
        .await
    }
}

/// Fetches a small file that nothing has vouched for yet, into memory.
pub async fn read(client: &Client, url: &Url, limit: usize) -> Result<Vec<u8>, DownloadError> {
    let mut patience = Patience::new();
    loop {
        match read_once(client, url, limit).await {
            Ok(bytes) => return Ok(bytes),
            Err(Attempt::Over(error)) => return Err(error),
            Err(Attempt::Broken(source)) if !patience.pause(false).await => {
                return Err(DownloadError::Unreachable { url: url.clone(), source });
            }
            Err(Attempt::Broken(_)) => {}
        }
    }
}

/// The same within a time.
///
/// # Errors
/// When it cannot be had. A server that is silent is [`DownloadError::Unreachable`], as one that refuses the connection: the
/// client's own patience is longer, and would never have its say.
pub async fn ask(client: &Client, url: &Url, limit: usize, patience: Duration) -> Result<Vec<u8>, DownloadError> {
    timeout(patience, read(client, url, limit)).await.unwrap_or_else(|_| Err(DownloadError::silent(url, patience)))
}

async fn read_once(client: &Client, url: &Url, limit: usize) -> Result<Vec<u8>, Attempt> {
    let mut response = send(client.get(url.clone()), url).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Attempt::Broken(error.without_url().into()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > limit {
            let (expected, actual) = (limit as u64, bytes.len() as u64);
            return Err(DownloadError::WrongSize { url: url.clone(), expected, actual }.into());
        }
    }
    Ok(bytes)
}

/// Sends a request and sorts the answers: a body, a final no, a passing trouble.
async fn send(request: Outgoing, url: &Url) -> Result<Response, Attempt> {
    let unreachable = |source| Attempt::Over(DownloadError::Unreachable { url: url.clone(), source });
    let response = request.send().await.map_err(|error| {
        let over = match &error {
            // A connection that timed out has already had its 15 seconds.
            Unanswered::Server(e) => e.is_builder() || e.is_redirect() || (e.is_connect() && e.is_timeout()),
            Unanswered::File { .. } => true,
        };
        if over { unreachable(error.into()) } else { Attempt::Broken(error.into()) }
    })?;
    // SECURITY: what is believed because it came over TLS must have come over TLS to the end.
    if url.scheme() == "https" && response.url().scheme() != "https" {
        return Err(unreachable(anyhow!("it sends us on to {}, which is not https", response.url())));
    }
    let status = response.status();
    let url = url.clone();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(DownloadError::Gone { url, status }.into()),
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(Attempt::Broken(anyhow!("it answered {status}")))
        }
        _ if status.is_server_error() => Err(Attempt::Broken(anyhow!("it answered {status}"))),
        _ if status.is_success() => Ok(response),
        _ => Err(unreachable(anyhow!("it answered {status}"))),
    }
}

/// `Content-Range: bytes 100-199/200` → 100.
fn range_start(response: &Response) -> Option<u64> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// How often to try again, and after what pause.
struct Patience {
    failures: u32,
}

impl Patience {
    fn new() -> Self {
        Self { failures: 0 }
    }

    /// Waits before the next attempt; `false` when there shall be none.
    async fn pause(&mut self, progressed: bool) -> bool {
        self.failures = if progressed { 1 } else { self.failures + 1 };
        if self.failures >= ATTEMPTS {
            return false;
        }
        tokio::time::sleep(FIRST_PAUSE * 3_u32.pow(self.failures - 1)).await;
        true
    }
}

/// `<path>.part`.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn length(path: &Path) -> u64 {
    fs::metadata(path).await.map_or(0, |metadata| metadata.len())
}

async fn remove(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_file(path).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DownloadError::Disk { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
