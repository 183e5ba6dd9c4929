//! `Packages`: the stanzas of a suite's packages.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, BufRead, BufReader, Read},
    ops::ControlFlow,
};

use anyhow::{Context, ensure};
use lzma_rust2::XzReader;

use super::table::{Table, TableBuilder};
use crate::fetch::{XZ_MEMORY_KIB, digest::Expected};

/// How an index may be compressed, as the end of its name tells; best first.
pub const FORMS: [&str; 4] = [".xz", ".zst", ".gz", ""];

/// Memory a zstd stream may ask for, as a power of two: 128 MiB is what `zstd --ultra` needs at its highest level.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A system call per 128 KiB, not per line.
const BUFFER: usize = 128 * 1024;

/// A decompressed index is at most this long: Debian's largest has 57 MB.
const INDEX_LIMIT: u64 = 1 << 30;

/// A line of an index is at most this long: the longest of Debian's (a `Provides` or `Depends`) have some 50 kB.
const LINE_LIMIT: u64 = 1 << 20;

/// Where a package is and what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its version.
    pub version: String,
    /// Path of the `.deb` below the archive's root.
    pub filename: String,
    /// What the `.deb` has to be.
    pub expected: Expected,
}

/// Finds the stanzas of `wanted` in a `Packages.xz`, without holding the index in memory. Blocking.
///
/// A suite has one version of a package per architecture; should an archive break that rule, its first one is taken.
pub fn find(packages_xz: impl Read, wanted: &BTreeSet<String>) -> anyhow::Result<HashMap<String, Package>> {
    find_in_text(unpack(packages_xz, ".xz")?, wanted)
}

/// Every package of an index, compressed as `name` says. Blocking.
///
/// # Errors
/// What cannot be unpacked or is no list of packages, a package without a SHA-256 digest or with a path that leaves the
/// archive, two digests for one path.
pub fn table(packages: impl Read, name: &str) -> anyhow::Result<Table> {
    let mut table = TableBuilder::default();
    stanzas(unpack(packages, name)?, |stanza| {
        let Package { filename, expected, .. } = stanza.finish()?;
        table.add(&filename, expected)?;
        Ok(ControlFlow::Continue(()))
    })?;
    table.finish()
}

/// The decompressor for an index of this name.
fn unpack<'a>(packed: impl Read + 'a, name: &str) -> anyhow::Result<Box<dyn BufRead + 'a>> {
    Ok(match name.rsplit_once('.').map(|(_, form)| form) {
        Some("xz") => buffered(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB)),
        Some("gz") => buffered(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(BUFFER, packed))),
        Some("zst") => {
            let mut zstd = zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER, packed))?;
            zstd.window_log_max(ZSTD_WINDOW_LOG)?;
            buffered(zstd)
        }
        _ => buffered(packed),
    })
}

fn buffered<'a>(reader: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, reader))
}

fn find_in_text(text: impl BufRead, wanted: &BTreeSet<String>) -> anyhow::Result<HashMap<String, Package>> {
    let mut found = HashMap::new();
    stanzas(text, |stanza| {
        if wanted.contains(&stanza.package) && !found.contains_key(&stanza.package) {
            let name = stanza.package.clone();
            found.insert(name, stanza.finish()?);
        }
        Ok(if found.len() < wanted.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(found)
}

/// Gives each stanza of an index to `each`, until that has enough.
fn stanzas(
    mut text: impl BufRead,
    mut each: impl FnMut(Stanza) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let (mut stanza, mut line, mut total) = (Stanza::default(), Vec::new(), 0);
    loop {
        line.clear();
        let read = text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).context("unpacking the index")? as u64;
        ensure!(line.ends_with(b"\n") || read < LINE_LIMIT, "a line of the index is longer than {LINE_LIMIT} bytes");
        total += read;
        ensure!(total <= INDEX_LIMIT, "the index unpacks to more than {INDEX_LIMIT} bytes");
        if !line.trim_ascii().is_empty() {
            stanza.add(&line)?;
            continue;
        }
        // Two blank lines in a row are nothing between them.
        let enough = !stanza.is_empty() && each(std::mem::take(&mut stanza))?.is_break();
        if enough || read == 0 {
            return Ok(());
        }
    }
}

/// The fields of a stanza that are used here, as they stand in it.
#[derive(Default)]
struct Stanza {
    package: String,
    version: String,
    filename: String,
    size: String,
    sha256: String,
}

impl Stanza {
    fn is_empty(&self) -> bool {
        self.package.is_empty() && self.filename.is_empty()
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Ok(()) };
        let field = match &line[..colon] {
            b"Package" => &mut self.package,
            b"Version" => &mut self.version,
            b"Filename" => &mut self.filename,
            b"Size" => &mut self.size,
            b"SHA256" => &mut self.sha256,
            _ => return Ok(()),
        };
        let value =
            std::str::from_utf8(&line[colon + 1..]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        value.trim().clone_into(field);
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Package> {
        let Self { package, version, filename, size, sha256 } = self;
        let context = || format!("reading the stanza of {package}");
        // SECURITY: the name becomes part of a URL; a signed index is trusted, but not to walk out of the archive.
        let plain = !filename.is_empty() && filename.split('/').all(|part| !matches!(part, "" | "." | ".."));
        ensure!(plain, "{package} has no usable Filename ({filename:?})");
        let size = Some(size.parse().with_context(context)?);
        let sha256 = sha256.parse().with_context(context)?;
        Ok(Package { version, filename, expected: Expected { size, sha256 } })
    }
}

#[cfg(test)]
mod tests;
