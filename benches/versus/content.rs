//! The files of the upstream: made up as they are sent, so that sending costs no disk and no page cache.

use std::ops::Range;

use sha2::{Digest, Sha256};

const BLOCK: usize = 1 << 20;
/// Each block begins with its number, so that no two places of a file look alike.
const NUMBER: usize = size_of::<u64>();

/// Where the file of a length is, from the upstream's root.
///
/// The name is a package's: apt-cacher-ng serves nothing that looks like none.
pub fn path(length: u64) -> String {
    format!("debian/pool/main/b/bench/bench_{length}_amd64.deb")
}

/// The length of the file at a path, if it is one of ours.
pub fn length_of(path: &str) -> Option<u64> {
    path.rsplit_once("/bench_")?.1.split_once('_')?.0.parse().ok()
}

/// What [`path`] leads to.
pub fn digest(length: u64) -> [u8; 32] {
    let (mut blocks, mut hasher, mut offset) = (Blocks::new(), Sha256::new(), 0);
    while offset < length {
        let piece = blocks.piece(offset..length);
        hasher.update(piece);
        offset += piece.len() as u64;
    }
    hasher.finalize().into()
}

/// The bytes of every file: longer ones go on where shorter ones end.
pub struct Blocks(Vec<u8>);

impl Blocks {
    pub fn new() -> Self {
        Self((0..BLOCK as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect())
    }

    /// The first bytes of a range: as many as there are in one block.
    pub fn piece(&mut self, range: Range<u64>) -> &[u8] {
        let (number, start) = (range.start / BLOCK as u64, (range.start % BLOCK as u64) as usize);
        let end = BLOCK.min(start + (range.end - range.start).min(BLOCK as u64) as usize);
        self.0[..NUMBER].copy_from_slice(&number.to_be_bytes());
        &self.0[start..end]
    }
}
