//! Files out of an installation image: ISO 9660 (ECMA-119), with the names that Rock Ridge (IEEE P1282) adds.
//!
//! Only the directories on the way to a wanted file are read, one after another, so that no loop among them matters, and no
//! name of the image ever becomes a path here. Done by hand because that is little: the crate `isomage` reads the whole tree by
//! recursion, takes the length of its buffers from the image, and panics on a name field of four bytes.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, ensure};

use crate::{
    fetch::{archive::Wanted, digest},
    model::Sha256Digest,
};

/// Logical sector and block (ECMA-119 §6.1.2; every image that is written today has blocks of this size).
const SECTOR: u64 = 2048;
/// First sector of the volume descriptors (§6.2.1).
const DESCRIPTORS: u64 = 16;
/// Most volume descriptors looked at; images have three or four.
const DESCRIPTORS_LIMIT: u64 = 64;
/// Longest directory; those of an installation image have one or two sectors.
const DIRECTORY_LIMIT: u64 = 1 << 20;

/// File flags (§9.1.6).
const DIRECTORY: u8 = 1 << 1;
const MULTI_EXTENT: u8 = 1 << 7;

/// The kind of file in a POSIX mode, and that of a regular file.
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Takes files out of an image and returns length and digest of each, in the order of `wanted`. Blocking.
///
/// The files are on the disk (fsync) when it returns.
///
/// # Errors
/// An image that is damaged or lacks a file.
pub fn extract(image: &Path, wanted: &[Wanted]) -> anyhow::Result<Vec<(u64, Sha256Digest)>> {
    let unpacked = File::open(image).map_err(Into::into).and_then(|file| {
        let mut image = Image { size: file.metadata()?.len(), file };
        wanted.iter().map(|wanted| image.extract(wanted)).collect()
    });
    if unpacked.is_err() {
        for file in wanted {
            let _ = std::fs::remove_file(&file.to);
        }
    }
    unpacked
}

struct Image {
    file: File,
    size: u64,
}

/// A directory record (§9.1), as far as it is used.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    name: String,
    start: u64,
    length: u64,
    flags: u8,
    /// Its content is not one plain run of bytes, for this reason.
    odd: Option<&'static str>,
}

impl Image {
    fn extract(&mut self, wanted: &Wanted) -> anyhow::Result<(u64, Sha256Digest)> {
        let path = &wanted.path;
        let record = self.find(path).with_context(|| format!("looking for {path} in the image"))?;
        self.copy(&record, &wanted.to).with_context(|| format!("unpacking {path}"))
    }

    fn find(&mut self, path: &str) -> anyhow::Result<Record> {
        let mut here = self.root()?;
        for part in path.split('/') {
            ensure!(here.flags & DIRECTORY != 0, "{} is not a directory", here.name);
            let directory = self.read(&here)?;
            let found = records(&directory)?.into_iter().find(|record| record.name == part);
            here = found.with_context(|| format!("there is no {part} in it"))?;
        }
        Ok(here)
    }

    /// The root directory, by the primary volume descriptor (§8.4).
    fn root(&mut self) -> anyhow::Result<Record> {
        for number in DESCRIPTORS..DESCRIPTORS + DESCRIPTORS_LIMIT {
            let mut descriptor = [0; SECTOR as usize];
            self.file.seek(SeekFrom::Start(number * SECTOR))?;
            self.file.read_exact(&mut descriptor).context("reading the volume descriptors")?;
            ensure!(descriptor[1..6] == *b"CD001", "it is not an ISO 9660 image");
            match descriptor[0] {
                1 => {
                    let block = u16::from_le_bytes([descriptor[128], descriptor[129]]);
                    ensure!(u64::from(block) == SECTOR, "it has blocks of {block} bytes");
                    return record(&descriptor[156..190]).context("reading the root directory's record");
                }
                255 => break,
                _ => {}
            }
        }
        anyhow::bail!("it has no primary volume descriptor")
    }

    /// The content of a directory.
    fn read(&mut self, directory: &Record) -> anyhow::Result<Vec<u8>> {
        let Record { name, start, length, .. } = directory;
        ensure!(*length <= DIRECTORY_LIMIT, "the directory {name} has {length} bytes");
        self.check(directory)?;
        let mut content = Vec::new();
        self.file.seek(SeekFrom::Start(*start))?;
        (&self.file).take(*length).read_to_end(&mut content)?;
        Ok(content)
    }

    fn check(&self, record: &Record) -> anyhow::Result<()> {
        let Record { name, start, length, odd, .. } = record;
        if let Some(odd) = odd {
            anyhow::bail!("{name} {odd}");
        }
        let end = start + length;
        ensure!(end <= self.size, "{name} ends at {end}, behind the end of the image at {}", self.size);
        Ok(())
    }

    fn copy(&mut self, record: &Record, to: &Path) -> anyhow::Result<(u64, Sha256Digest)> {
        ensure!(record.flags & DIRECTORY == 0, "it is a directory");
        self.check(record)?;
        let mut file = File::create(to).with_context(|| format!("writing {}", to.display()))?;
        self.file.seek(SeekFrom::Start(record.start))?;
        // Between two files: the kernel copies by itself, and shares the blocks where the file system can.
        let copied = io::copy(&mut (&self.file).take(record.length), &mut file)?;
        ensure!(copied == record.length, "it ends after {copied} of {} bytes", record.length);
        file.sync_all()?;
        Ok(digest::of_file(to)?)
    }
}

/// The records of a directory. None crosses the end of a sector; what is left of one is zeros (§6.8.1.1).
fn records(directory: &[u8]) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for sector in directory.chunks(SECTOR as usize) {
        let mut rest = sector;
        while let Some(&length @ 1..) = rest.first() {
            let (head, tail) = rest.split_at_checked(length.into()).context("a record is longer than its sector")?;
            records.push(record(head)?);
            rest = tail;
        }
    }
    Ok(records)
}

fn record(bytes: &[u8]) -> anyhow::Result<Record> {
    ensure!(bytes.len() >= 34, "a record has {} bytes", bytes.len());
    // Numbers are recorded in both byte orders (§7.3.3), the little-endian one first.
    let number = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let (extended, flags, unit, gap) = (bytes[1], bytes[25], bytes[26], bytes[27]);
    let named: usize = bytes[32].into();
    let identifier = bytes.get(33..33 + named).context("a record is shorter than its name")?;
    // Padded to an even length (§9.1.12).
    let rock_ridge = RockRidge::read(bytes.get(33 + named + (named + 1) % 2..).unwrap_or_default());
    let odd = if flags & MULTI_EXTENT != 0 || unit != 0 || gap != 0 || extended != 0 {
        Some("is not one run of bytes in the image")
    } else if flags & DIRECTORY == 0 && rock_ridge.mode.is_some_and(|mode| mode & S_IFMT != S_IFREG) {
        Some("is not a regular file")
    } else {
        None
    };
    let name = match rock_ridge.name {
        name if name.is_empty() => plain(identifier),
        name => name,
    };
    let name = String::from_utf8_lossy(&name).into_owned();
    Ok(Record { name, start: number(2) * SECTOR, length: number(10), flags, odd })
}

/// `VMLINUZ.;1` → `VMLINUZ`.
fn plain(identifier: &[u8]) -> Vec<u8> {
    let name = identifier.split(|&byte| byte == b';').next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name).to_vec()
}

/// The fields of Rock Ridge that are used: `NM` (alternate name) and `PX` (POSIX file attributes). A name that goes on in
/// another sector (`CE`) is cut: none of an installation image's is that long.
#[derive(Default)]
struct RockRidge {
    name: Vec<u8>,
    mode: Option<u32>,
}

impl RockRidge {
    fn read(mut area: &[u8]) -> Self {
        let mut fields = Self::default();
        // Signature, length of the whole field, version (SUSP §4.1).
        while let [a, b, length, _version, ..] = *area {
            let Some((field, rest)) = area.split_at_checked(length.into()).filter(|_| length >= 4) else { break };
            match (&[a, b], &field[4..]) {
                // Flags 2 and 4 are the names `.` and `..`.
                (b"NM", [flags, name @ ..]) if flags & 0b110 == 0 => fields.name.extend_from_slice(name),
                (b"PX", [a, b, c, d, ..]) => fields.mode = Some(u32::from_le_bytes([*a, *b, *c, *d])),
                _ => {}
            }
            area = rest;
        }
        fields
    }
}

#[cfg(test)]
mod tests;
