//! The frame of an RPM: that what its headers say of their own layout is true.
//!
//! The crate `rpm` believes it: an offset outside of a header is a panic there, a number of entries is a buffer of that size. A
//! package is hostile until its signature was verified, which is after its headers were read.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, ensure};

/// The lead, a relic of the format before version 3.
const LEAD: u64 = 96;
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// rpm's own limit is 65535 entries of a header.
const ENTRIES_LIMIT: u32 = 0xffff;
/// rpm's own limit is 256 MiB of a header's data; the longest of Fedora has some 20.
const DATA_LIMIT: u32 = 64 << 20;

/// Checks both headers, the one of the signatures and the package's own.
///
/// # Errors
/// A header that is not there, or that points outside of itself.
pub fn check(package: &mut (impl Read + Seek)) -> anyhow::Result<()> {
    package.seek(SeekFrom::Start(LEAD))?;
    let length = header(package).context("in the header of the signatures")?;
    // The signatures are padded so that the header begins at a multiple of 8.
    package.seek(SeekFrom::Current((8 - length % 8) % 8))?;
    header(package).context("in the main header")?;
    Ok(())
}

/// Checks one header and returns the length of its data.
fn header(package: &mut impl Read) -> anyhow::Result<i64> {
    let mut intro = [0; 16];
    package.read_exact(&mut intro)?;
    ensure!(intro[..4] == HEADER_MAGIC, "there is no header");
    let (entries, data) = (number(&intro[8..]), number(&intro[12..]));
    ensure!(entries <= ENTRIES_LIMIT && data <= DATA_LIMIT, "it has {entries} entries and {data} bytes of data");
    let mut index = Vec::new();
    package.by_ref().take(u64::from(entries) * 16).read_to_end(&mut index)?;
    ensure!(index.len() as u64 == u64::from(entries) * 16, "it ends within its index");
    for entry in index.chunks_exact(16) {
        let (tag, kind, offset, count) =
            (number(entry), number(&entry[4..]), number(&entry[8..]), number(&entry[12..]));
        let width: u64 = match kind {
            0 => 0,
            // Text is at least its final NUL.
            1 | 2 | 6 | 7 | 8 | 9 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => anyhow::bail!("entry {tag} is of an unknown kind, {kind}"),
        };
        let end = u64::from(offset) + width * u64::from(count);
        ensure!(offset < data && end <= u64::from(data), "entry {tag} points outside of it");
    }
    let skipped = std::io::copy(&mut package.take(data.into()), &mut std::io::sink())?;
    ensure!(skipped == u64::from(data), "it ends within its data");
    Ok(data.into())
}

/// The big-endian number that `bytes` begin with.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, &byte| number << 8 | u32::from(byte))
}
