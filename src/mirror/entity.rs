use std::{fs::File, io, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::held::limit;
use crate::model::Sha256Digest;

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
    /// How far it is; `None` if it is stored, and all there.
    progress: Option<watch::Receiver<Progress>>,
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
        let (head, file) = (Arc::new(head), Arc::new(file));
        Self { head, length: Some(length), stale: false, verified: false, file, progress: None }
    }

    /// A file that somebody is writing.
    pub fn growing(file: Arc<File>, head: Arc<Head>, length: Option<u64>, progress: watch::Receiver<Progress>) -> Self {
        Self { head, length, stale: false, verified: false, file, progress: Some(progress) }
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

    /// The file behind it.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Reads a part of it, or all; a part needs a known length.
    pub fn reader(&self, part: Option<Range<u64>>) -> Reader {
        let (offset, end) = part.map_or((0, self.length), |part| (part.start, Some(part.end)));
        Reader { progress: self.progress.clone(), offset, end, known: self.verified }
    }
}

/// One client's place in a file. It waits for bytes that are not there yet.
#[derive(Debug)]
pub(super) struct Reader {
    progress: Option<watch::Receiver<Progress>>,
    offset: u64,
    end: Option<u64>,
    /// Whether the file's content is.
    known: bool,
}

impl Reader {
    /// Whether all that was to be read has been.
    pub fn finished(&self) -> bool {
        self.end == Some(self.offset)
    }

    /// Where the next bytes are, `most` of them at most; they are there. `None` at the end. An error means that the rest will
    /// not come.
    pub async fn next(&mut self, most: u64) -> io::Result<Option<Range<u64>>> {
        if self.finished() {
            return Ok(None);
        }
        let (offset, end, known) = (self.offset, self.end, self.known);
        let limit = match &mut self.progress {
            None => end.unwrap_or(u64::MAX),
            Some(progress) => {
                let arrived = |now: &Progress| limit(*now, end, known) > offset || now.phase != Phase::Growing;
                let news = progress.wait_for(arrived).await;
                // The writer is gone without a verdict (its runtime ended): that is no end of file.
                let now = *news.map_err(|_| io::Error::other("the fetch was abandoned"))?;
                if now.phase == Phase::Broken {
                    return Err(io::Error::other("the fetch from upstream failed"));
                }
                limit(now, end, known)
            }
        };
        let until = limit.min(offset.saturating_add(most));
        if until <= offset {
            // Complete and nothing further: the end, unless more was promised than there is.
            return if self.end.is_none() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        self.offset = until;
        Ok(Some(offset..until))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

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

    async fn drain(file: Arc<File>, mut reader: Reader) -> (Vec<u8>, bool) {
        let mut seen = Vec::new();
        loop {
            match reader.next(1000).await {
                Ok(Some(range)) => {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    assert!(bytes.len() <= 1000);
                    file.read_exact_at(&mut bytes, range.start).expect("what was given out is there");
                    seen.extend_from_slice(&bytes);
                }
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
                    (tokio::spawn(drain(Arc::clone(&file), entity.reader(part))), expected)
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
            assert_eq!(reader.next(100).await.expect("bytes"), Some(10..19));
        }
        progress.send_replace(Progress { readable: 100, phase: Phase::Complete });
        assert_eq!(right.next(100).await.expect("bytes"), Some(19..20));
        progress.send_replace(Progress { phase: Phase::Broken, ..growing });
        assert!(wrong.next(100).await.is_err());
    }

    #[tokio::test]
    async fn a_writer_that_vanishes_is_a_break_not_an_end() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let (progress, follow) = watch::channel(Progress { readable: 0, phase: Phase::Growing });
        let entity = Entity::growing(file, Arc::default(), None, follow);
        drop(progress);
        assert!(entity.reader(None).next(100).await.is_err());
    }
}
