use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::Sha256Digest;

/// Most bytes that one reader holds at a time.
///
/// A reader's next chunk is one `pread` on a thread of the blocking pool, since a cold disk may block it. The hop to that
/// thread costs some 10 µs, which 256 KiB (2 ms at 1 Gbit/s) make negligible, while a hundred readers stay at a few dozen MiB.
/// The page cache is the only buffer behind it: a slow reader holds up neither the fetch nor the others.
const CHUNK: u64 = 256 * 1024;

/// What upstream said about a file, passed on to clients as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// `ETag`, quotes included.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
}

/// A file that can be read from: stored, or still growing under the hands of a flight. Readers need not know which.
#[derive(Debug, Clone)]
pub(super) struct Entity {
    /// What upstream said about it.
    pub head: Arc<Head>,
    /// Its length in bytes; `None` while upstream has not said so.
    pub length: Option<u64>,
    /// It should have been revalidated and upstream could not be asked.
    pub stale: bool,
    /// Its content is known, and this is it; while it grows, no body of it is complete before that is certain.
    pub verified: bool,
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
}

/// How far a growing file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes from the start that readers may have.
    pub readable: u64,
    /// What is to be expected of the rest.
    pub phase: Phase,
}

/// What is to be expected of a growing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// More bytes or a verdict.
    Growing,
    /// All of it is readable, and it is what upstream promised.
    Complete,
    /// It will never be complete: readers must break, not end.
    Broken,
}

impl Entity {
    /// A complete file of the store.
    pub fn stored(file: File, head: Head, length: u64) -> Self {
        let progress = watch::channel(Progress { readable: length, phase: Phase::Complete }).1;
        let (head, file) = (Arc::new(head), Arc::new(file));
        Self { head, length: Some(length), stale: false, verified: false, file, progress }
    }

    /// A file that somebody is writing.
    pub fn growing(file: Arc<File>, head: Arc<Head>, length: Option<u64>, progress: watch::Receiver<Progress>) -> Self {
        Self { head, length, stale: false, verified: false, file, progress }
    }

    /// The same file, marked as stale or not.
    pub fn marked(self, stale: bool) -> Self {
        Self { stale, ..self }
    }

    /// The same file, whose content is known to have this digest.
    ///
    /// The digest becomes its ETag: mirrors of one archive disagree about those, and a client may resume from another one.
    pub fn vouched(self, sha256: Sha256Digest) -> Self {
        let head = Head { etag: Some(format!("\"{sha256}\"")), ..(*self.head).clone() };
        Self { head: Arc::new(head), verified: true, ..self }
    }

    /// The file behind it, for whoever hashes it.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads a part of it, or all; a part needs a known length.
    pub fn reader(&self, part: Option<Range<u64>>) -> Reader {
        let (offset, end) = part.map_or((0, self.length), |part| (part.start, Some(part.end)));
        let held = self.verified;
        Reader { file: Arc::clone(&self.file), progress: self.progress.clone(), offset, end, held }
    }
}

/// One client's place in a file. It waits for bytes that are not there yet.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
    offset: u64,
    end: Option<u64>,
    /// Its last byte waits for the verdict, so that no part of a wrong file is taken for right.
    held: bool,
}

impl Reader {
    /// Whether all that was to be read has been.
    pub fn finished(&self) -> bool {
        self.end == Some(self.offset)
    }

    /// The next bytes; `None` at the end. An error means that the rest will not come.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.finished() {
            return Ok(None);
        }
        let (offset, end, held) = (self.offset, self.end.unwrap_or(u64::MAX), self.held);
        let limit = |now: &Progress| {
            let end = if held && now.phase == Phase::Growing { end.saturating_sub(1) } else { end };
            now.readable.min(end)
        };
        let news = self.progress.wait_for(|now| limit(now) > offset || now.phase != Phase::Growing).await;
        // The writer is gone without a verdict (its runtime ended): that is no end of file.
        let now = *news.map_err(|_| io::Error::other("the fetch was abandoned"))?;
        if now.phase == Phase::Broken {
            return Err(io::Error::other("the fetch from upstream failed"));
        }
        let until = limit(&now).min(offset.saturating_add(CHUNK));
        if until <= offset {
            // Complete and nothing further: the end, unless more was promised than there is.
            return if self.end.is_none() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let (file, length) = (Arc::clone(&self.file), usize::try_from(until - offset).expect("at most CHUNK"));
        let read = move || {
            let mut chunk = vec![0; length];
            file.read_exact_at(&mut chunk, offset).map(|()| chunk)
        };
        let chunk = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        self.offset = until;
        Ok(Some(chunk.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reader that joins after some chunks were written and wants some part.
    #[derive(Debug, Clone)]
    struct Joiner {
        after: usize,
        part: Option<(prop::sample::Index, prop::sample::Index)>,
    }

    fn joiner() -> impl Strategy<Value = Joiner> {
        let part = prop::option::of(any::<(prop::sample::Index, prop::sample::Index)>());
        (0..12usize, part).prop_map(|(after, part)| Joiner { after, part })
    }

    async fn drain(mut reader: Reader) -> (Vec<u8>, bool) {
        let mut seen = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
                Ok(None) => return (seen, true),
                Err(_) => return (seen, false),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The oracle is a slice of the bytes that were written: readers see exactly it, or a prefix of it and a break.
        #[test]
        fn readers_of_a_growing_file_see_what_was_written(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..2000), 0..12),
            joiners in prop::collection::vec(joiner(), 1..8),
            known in any::<bool>(),
            survives in any::<bool>(),
        ) {
            let whole = chunks.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let file = Arc::new(tempfile::tempfile().expect("a file"));
                let (progress, follow) = watch::channel(Progress { readable: 0, phase: Phase::Growing });
                let length = known.then_some(whole.len() as u64);
                let entity = Entity::growing(Arc::clone(&file), Arc::default(), length, follow);
                let mut readers = Vec::new();
                let join = |joiner: &Joiner| {
                    let bounds = joiner.part.filter(|_| known).map(|(a, b)| {
                        let (a, b) = (a.index(whole.len() + 1), b.index(whole.len() + 1));
                        a.min(b)..a.max(b)
                    });
                    let expected = bounds.clone().map_or(&whole[..], |part| &whole[part]).to_vec();
                    let part = bounds.map(|part| part.start as u64..part.end as u64);
                    (tokio::spawn(drain(entity.reader(part))), expected)
                };
                let mut written = 0;
                for (index, chunk) in chunks.iter().enumerate() {
                    readers.extend(joiners.iter().filter(|joiner| joiner.after == index).map(&join));
                    file.write_all_at(chunk, written).expect("written");
                    written += chunk.len() as u64;
                    progress.send_replace(Progress { readable: written, phase: Phase::Growing });
                    tokio::task::yield_now().await;
                }
                let phase = if survives { Phase::Complete } else { Phase::Broken };
                progress.send_replace(Progress { readable: written, phase });
                readers.extend(joiners.iter().filter(|joiner| joiner.after >= chunks.len()).map(&join));
                for (reader, expected) in readers {
                    let (seen, ended) = reader.await.expect("no panic");
                    assert!(expected.starts_with(&seen));
                    // Without a length only the verdict ends a body; with one, all of a part may be there before a break.
                    assert!(if ended { seen == expected && (survives || known) } else { !survives });
                }
            });
        }
    }

    #[tokio::test]
    async fn the_last_byte_of_a_part_of_a_known_file_waits_for_the_verdict() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        file.write_all_at(&[1; 100], 0).expect("written");
        let growing = Progress { readable: 90, phase: Phase::Growing };
        let (progress, follow) = watch::channel(growing);
        let entity = Entity::growing(file, Arc::default(), Some(100), follow).vouched(Sha256Digest([0; 32]));
        let (mut right, mut wrong) = (entity.reader(Some(10..20)), entity.reader(Some(10..20)));
        for reader in [&mut right, &mut wrong] {
            assert_eq!(reader.next().await.expect("bytes").map(|bytes| bytes.len()), Some(9));
        }
        progress.send_replace(Progress { readable: 100, phase: Phase::Complete });
        assert_eq!(right.next().await.expect("bytes").map(|bytes| bytes.len()), Some(1));
        progress.send_replace(Progress { phase: Phase::Broken, ..growing });
        assert!(wrong.next().await.is_err());
    }

    #[tokio::test]
    async fn a_writer_that_vanishes_is_a_break_not_an_end() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let (progress, follow) = watch::channel(Progress { readable: 0, phase: Phase::Growing });
        let entity = Entity::growing(file, Arc::default(), None, follow);
        drop(progress);
        assert!(entity.reader(None).next().await.is_err());
    }

    #[tokio::test]
    async fn a_stored_file_that_shrank_is_a_break() {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"short", 0).expect("written");
        assert!(Entity::stored(file, Head::default(), 6).reader(None).next().await.is_err());
    }
}
