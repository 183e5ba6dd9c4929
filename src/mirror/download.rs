use std::{fs::File, os::unix::fs::FileExt, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::{Buf, Bytes};
use reqwest::Response;
use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    entity::{Head, Phase, Progress},
    upstream::{self, Trouble, Wanted},
};
use crate::model::Sha256Digest;

/// A body that brings nothing for this long is broken and asked for again. librepo gives up on us after 30 s.
const STALL: Duration = Duration::from_secs(20);

/// Copies one upstream body into a file, telling readers how far it is, and goes on where a broken body stopped.
pub(super) struct Download<'a> {
    client: &'a reqwest::Client,
    wanted: &'a Wanted,
    head: Arc<Head>,
    length: Option<u64>,
    file: Arc<File>,
    progress: &'a watch::Sender<Progress>,
    written: u64,
    /// Only where there is a digest to compare with.
    hasher: Option<Sha256>,
}

impl<'a> Download<'a> {
    pub fn new(
        client: &'a reqwest::Client,
        wanted: &'a Wanted,
        head: Arc<Head>,
        length: Option<u64>,
        file: Arc<File>,
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        let hasher = wanted.digest.map(|_| Sha256::new());
        Self { client, wanted, head, length, file, progress, written: 0, hasher }
    }

    /// Runs to the verdict, which starts with upstream's first answer. `Ok` means that the file is whole and, where its name
    /// holds a digest, right.
    pub async fn run(mut self, first: Response) -> anyhow::Result<()> {
        let mut pauses = upstream::pauses();
        let mut result = self.copy(first, 0).await;
        loop {
            let trouble = match result {
                Ok(()) => return self.verify(),
                Err(Trouble::Broken(error)) => error,
                Err(other) => return Err(other.into()),
            };
            let pause = pauses.next().ok_or_else(|| trouble.context("giving up after several tries"))?;
            sleep(pause).await;
            let before = self.written;
            result = self.resume().await;
            if self.written > before {
                // An upstream that cuts every connection after some megabytes still gets us to the end.
                pauses = upstream::pauses();
            }
        }
    }

    async fn resume(&mut self) -> Result<(), Trouble> {
        tracing::debug!("resuming {} at byte {}", self.wanted.origin(), self.written);
        let resumed = upstream::resume(self.client, self.wanted, &self.head, self.length, self.written);
        let (response, known) = resumed.await?;
        self.copy(response, known).await
    }

    /// Appends a body, less its first `known` bytes.
    async fn copy(&mut self, mut body: Response, mut known: u64) -> Result<(), Trouble> {
        while self.length != Some(self.written) {
            let news = timeout(STALL, body.chunk()).await;
            let news = news.map_err(|_| Trouble::Broken(anyhow!("upstream fell silent at byte {}", self.written)))?;
            let news = news.map_err(reqwest::Error::without_url).context("reading from upstream");
            let Some(mut chunk) = news.map_err(Trouble::Broken)? else {
                return match self.length {
                    None if known == 0 => Ok(()),
                    _ => Err(Trouble::Broken(anyhow!("upstream ended at byte {}", self.written))),
                };
            };
            let skipped = chunk.len().min(usize::try_from(known).unwrap_or(usize::MAX));
            chunk.advance(skipped);
            known -= skipped as u64;
            self.append(chunk).await.map_err(Trouble::Final)?;
        }
        Ok(())
    }

    async fn append(&mut self, chunk: Bytes) -> anyhow::Result<()> {
        let (offset, file, mut hasher) = (self.written, Arc::clone(&self.file), self.hasher.take());
        let end = offset + chunk.len() as u64;
        if self.length.is_some_and(|length| end > length) {
            bail!("upstream sent more than the {} bytes it announced", self.length.unwrap_or_default());
        }
        // A file system may block, and a worker thread of the runtime must not.
        let write = move || {
            if let Some(hasher) = &mut hasher {
                hasher.update(&chunk);
            }
            file.write_all_at(&chunk, offset).map(|()| hasher)
        };
        self.hasher = spawn_blocking(write).await.context("writing to the store")?.context("writing to the store")?;
        self.written = end;
        self.progress.send_replace(Progress { readable: readable(end, self.length), phase: Phase::Growing });
        Ok(())
    }

    fn verify(self) -> anyhow::Result<()> {
        if let (Some(named), Some(hasher)) = (self.wanted.digest, self.hasher) {
            let found = Sha256Digest(hasher.finalize().into());
            if found != named {
                bail!("its name promises SHA-256 {named}, but what upstream sent has {found}");
            }
        }
        self.progress.send_replace(Progress { readable: self.written, phase: Phase::Complete });
        Ok(())
    }
}

/// How much of what is written readers may have before the verdict: not the last byte, so that whoever holds a complete body
/// holds a right one. Without a length it is the end of the body that waits.
fn readable(written: u64, length: Option<u64>) -> u64 {
    length.map_or(written, |length| written.min(length.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_waits_for_the_verdict() {
        for (written, length, expected) in
            [(0, Some(0), 0), (0, Some(9), 0), (8, Some(9), 8), (9, Some(9), 8), (1, Some(1), 0), (9, None, 9)]
        {
            assert_eq!(readable(written, length), expected, "{written} of {length:?}");
        }
    }
}
