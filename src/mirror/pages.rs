use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt,
};

use rustix::{
    fs::fstatfs,
    io::{Errno, ReadWriteFlags, preadv2},
};

/// How much is read at a time to bring a file into the page cache.
const SCRATCH: usize = 64 << 10;
/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// Whether bytes of a file can be had without waiting for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// They are in the page cache.
    Cached,
    /// They are not all there.
    Cold,
    /// The file system does not tell.
    Unknown,
}

impl Pages {
    /// Looks at both ends of a range, which must not be empty.
    ///
    /// What lies between may still have been evicted: who relies on it waits for the disk once, and is right otherwise.
    /// `cachestat(2)`, which tells of every page, came with Linux 6.5, too late for us.
    pub fn of(file: &File, range: &Range<u64>) -> Self {
        let probe = |offset| preadv2(file, &mut [IoSliceMut::new(&mut [0])], offset, ReadWriteFlags::NOWAIT);
        match probe(range.end - 1).and_then(|_| probe(range.start)) {
            // Past the end of a file that shrank nothing need be waited for, least of all here: who sends it finds out.
            Ok(_) => Self::Cached,
            Err(Errno::AGAIN) => Self::Cold,
            Err(_) if fstatfs(file).is_ok_and(|system| system.f_type == TMPFS) => Self::Cached,
            Err(_) => Self::Unknown,
        }
    }
}

/// All bytes of a range, if they can be had without waiting.
pub(super) fn read_cached(file: &File, range: &Range<u64>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length(range)];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT);
    (read == Ok(bytes.len())).then_some(bytes)
}

/// All bytes of a range. Blocks.
pub(super) fn read(file: &File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length(range)];
    file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
}

/// Brings a range into the page cache. Blocks.
pub(super) fn warm(file: &File, range: Range<u64>) -> io::Result<()> {
    let mut scratch = vec![0; SCRATCH];
    for offset in range.clone().step_by(SCRATCH) {
        let length = length(&(offset..range.end)).min(SCRATCH);
        file.read_exact_at(&mut scratch[..length], offset)?;
    }
    Ok(())
}

fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("what is read at a time fits into memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_written_can_be_had_at_once() {
        let file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        file.write_all_at(&bytes, 0).expect("written");
        warm(&file, 1..300_000).expect("it is as long as that");
        // A file system that does not tell is one of those that some machines have.
        assert_ne!(Pages::of(&file, &(10..300_000)), Pages::Cold);
        assert!(read_cached(&file, &(5..299_000)).is_none_or(|cached| cached == bytes[5..299_000]));
        assert_eq!(read(&file, &(5..299_000)).expect("read"), bytes[5..299_000]);
        assert_eq!(read_cached(&file, &(299_990..300_001)), None);
        assert!(read(&file, &(299_990..300_001)).is_err() && warm(&file, 0..300_001).is_err());
    }
}
