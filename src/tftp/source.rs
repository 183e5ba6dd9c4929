use std::{io, mem, ops::Range, os::unix::fs::FileExt, sync::Arc};

use super::Content;

/// Read from disk at a time: one visit to the disk for a window of blocks, not one for each.
const CHUNK: u64 = 128 * 1024;

/// The bytes of a file, by ranges that are asked for mostly in order.
#[derive(Debug)]
pub(super) enum Source {
    Bytes(bytes::Bytes),
    File { file: Arc<std::fs::File>, size: u64, chunk: Vec<u8>, at: u64 },
}

impl Source {
    pub fn new(content: Content) -> Self {
        match content {
            Content::Bytes(bytes) => Self::Bytes(bytes),
            Content::File { file, size } => Self::File { file: Arc::new(file), size, chunk: Vec::new(), at: 0 },
        }
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// The bytes of a range that lies within the file. Disks are slow: they are read away from the runtime's workers.
    pub async fn read(&mut self, range: Range<u64>) -> io::Result<&[u8]> {
        match self {
            Self::Bytes(bytes) => Ok(&bytes[range.start as usize..range.end as usize]),
            Self::File { file, size, chunk, at } => {
                if range.start < *at || range.end > *at + chunk.len() as u64 {
                    let start = range.start;
                    let length = (*size - start).min(CHUNK.max(range.end - start)) as usize;
                    let (file, mut buffer) = (Arc::clone(file), mem::take(chunk));
                    let read = tokio::task::spawn_blocking(move || {
                        buffer.resize(length, 0);
                        file.read_exact_at(&mut buffer, start).map(|()| buffer)
                    });
                    *chunk = read.await.map_err(io::Error::other)??;
                    *at = start;
                }
                Ok(&chunk[(range.start - *at) as usize..(range.end - *at) as usize])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn reads_forward_back_and_never_past_the_end() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at / 7) as u8).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        let mut source = Source::new(Content::File { file, size: 300_000 });
        for (start, end) in [(0, 512), (512, 1024), (131_000, 131_500), (0, 8), (299_999, 300_000), (300_000, 300_000)]
        {
            let read = source.read(start..end).await.expect("read");
            assert_eq!(read, &bytes[start as usize..end as usize], "{start}..{end}");
        }
    }

    #[tokio::test]
    async fn a_file_cut_short_is_an_error_not_a_panic() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1000).expect("sized");
        let mut source = Source::new(Content::File { file, size: 2000 });
        let error = source.read(0..512).await.expect_err("there are not 2000 bytes");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
