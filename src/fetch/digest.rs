use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

pub use crate::model::Expected;
use crate::model::Sha256Digest;

/// Digest of bytes in memory.
pub fn of_bytes(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

/// Length and digest of a file as it lies on the disk. Blocking.
pub fn of_file(path: &Path) -> io::Result<(u64, Sha256Digest)> {
    let mut hashing = HashingWriter::new(io::sink());
    copy(&mut File::open(path)?, &mut hashing)?;
    let (_, size, sha256) = hashing.finish();
    Ok((size, sha256))
}

/// [`io::copy`] with a buffer that suits hashing: its 8 KiB cost a system call each.
pub fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                to.write_all(&buffer[..read])?;
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hashes what passes through it.
pub struct HashingWriter<W> {
    inner: W,
    size: u64,
    hash: Sha256,
}

impl<W: Write> HashingWriter<W> {
    /// Writes on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, size: 0, hash: Sha256::new() }
    }

    /// The inner writer, and length and digest of what it was given.
    pub fn finish(self) -> (W, u64, Sha256Digest) {
        (self.inner, self.size, Sha256Digest(self.hash.finalize().into()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
