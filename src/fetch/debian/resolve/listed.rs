//! The stanzas of a `Packages` file, with what is needed to tell which packages an installation takes. Pure but for the reading.

use std::{
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use anyhow::{Context, ensure};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::World;
use crate::fetch::XZ_MEMORY_KIB;

/// A decompressed index is at most this long: Debian's largest has 57 MB.
const INDEX_LIMIT: u64 = 1 << 30;

/// A line of an index is at most this long: the longest of Debian's have some 50 kB.
const LINE_LIMIT: u64 = 1 << 20;

/// How much a system needs a package, by Debian Policy 2.5; the more, the smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Nothing works without it.
    Required,
    /// One expects it on every system.
    Important,
    /// It belongs to a console system.
    Standard,
    /// All else.
    #[default]
    Optional,
}

impl Priority {
    /// The priority of this name, unless that is what all else has.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            "important" => Some(Self::Important),
            "standard" => Some(Self::Standard),
            _ => None,
        }
    }
}

/// A package as an index lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64`, `all`.
    pub arch: String,
    /// Id of the archive that has it.
    pub mirror: Arc<str>,
    /// Path below that archive's root.
    pub path: String,
    /// Length of the file in bytes.
    pub size: u64,
    /// How much a system needs it.
    pub priority: Priority,
    /// Every system has to have it.
    pub essential: bool,
    /// Version of the kernel that it is a module for; empty for all else.
    pub kernel: String,
    /// Which suites it can be had from.
    pub world: World,
    /// `Pre-Depends` and `Depends`, as they stand.
    pub depends: String,
    /// `Recommends`, as it stands.
    pub recommends: String,
    /// `Provides`, as it stands.
    pub provides: String,
}

/// Reads every stanza of a `Packages` file, as it is or compressed with xz, gzip or zstd. Blocks.
///
/// # Errors
/// What cannot be decompressed, and a stanza whose file has no usable path.
pub fn read(index: impl Read, mirror: &str, world: World) -> anyhow::Result<Vec<Listed>> {
    let (mirror, mut text, mut line) = (Arc::from(mirror), open(index)?, Vec::new());
    let (mut listed, mut stanza) = (Vec::new(), Listed::default());
    loop {
        line.clear();
        let read = text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).context("unpacking the index")?;
        ensure!(
            line.ends_with(b"\n") || (read as u64) < LINE_LIMIT,
            "a line of the index is longer than {LINE_LIMIT} bytes"
        );
        if !line.trim_ascii().is_empty() {
            stanza.add(std::str::from_utf8(&line).context("reading a line of the index")?)?;
            continue;
        }
        if !stanza.name.is_empty() {
            listed.push(Listed { mirror: Arc::clone(&mirror), world, ..std::mem::take(&mut stanza).checked()? });
        }
        if read == 0 {
            return Ok(listed);
        }
    }
}

/// The text, by what the first bytes say of its form: names of files are not always known.
fn open<'r>(index: impl Read + 'r) -> anyhow::Result<Box<dyn BufRead + 'r>> {
    let mut index = BufReader::with_capacity(64 * 1024, index);
    let start = index.fill_buf().context("reading the index")?;
    let text: Box<dyn Read + 'r> = match start {
        [0xfd, b'7', b'z', ..] => Box::new(XzReader::new_mem_limit(index, true, XZ_MEMORY_KIB)),
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(index)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(index)?),
        _ => Box::new(index),
    };
    Ok(Box::new(BufReader::with_capacity(64 * 1024, text.take(INDEX_LIMIT))))
}

impl Listed {
    fn add(&mut self, line: &str) -> anyhow::Result<()> {
        // A line that begins with a blank continues a field that is not used here, such as the description.
        let Some((field, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) else {
            return Ok(());
        };
        let value = value.trim();
        match field {
            "Package" => value.clone_into(&mut self.name),
            "Version" => value.clone_into(&mut self.version),
            "Architecture" => value.clone_into(&mut self.arch),
            "Filename" => value.clone_into(&mut self.path),
            "Size" => self.size = value.parse().with_context(|| format!("reading the size of {}", self.name))?,
            "Priority" => self.priority = Priority::named(value).unwrap_or_default(),
            "Essential" => self.essential = value == "yes",
            "Kernel-Version" => value.clone_into(&mut self.kernel),
            "Pre-Depends" | "Depends" if self.depends.is_empty() => value.clone_into(&mut self.depends),
            "Pre-Depends" | "Depends" => self.depends = format!("{}, {value}", self.depends),
            "Recommends" => value.clone_into(&mut self.recommends),
            "Provides" => value.clone_into(&mut self.provides),
            _ => {}
        }
        Ok(())
    }

    fn checked(self) -> anyhow::Result<Self> {
        // SECURITY: the path becomes part of a URL; an index is not trusted to walk out of the archive.
        let plain = !self.path.is_empty() && self.path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        ensure!(plain, "{} has no usable Filename ({:?})", self.name, self.path);
        Ok(self)
    }
}
