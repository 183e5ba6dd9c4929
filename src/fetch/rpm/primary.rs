//! `primary.xml`: every package of a repository, with path and digest.
//!
//! Fedora's has 76,000 packages in 200 MB of XML: it is read as a stream, and only what is asked for later is kept.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use lzma_rust2::XzReader;

use super::{
    repomd::{Listed, below},
    version,
    xml::{Element, Xml},
};
use crate::fetch::{XZ_MEMORY_KIB, digest::Expected};

/// The most it may unpack to.
pub const LIMIT: u64 = 1 << 30;
/// Memory a zstd stream may ask for, as a power of two: what createrepo_c needs at its highest level is 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// As zstd's own streams have it.
const BUFFER: usize = 128 * 1024;

/// A package of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmEntry {
    /// Its path below the repository.
    pub path: String,
    /// What the file has to be.
    pub expected: Expected,
    /// `[epoch:]version-release`; the epoch 0 is left out.
    pub version: String,
}

/// The packages of a repository.
#[derive(Debug, Default)]
pub struct Primary {
    /// By path.
    entries: Vec<RpmEntry>,
    /// `name.arch` → the newest one's place in `entries`.
    newest: HashMap<Box<str>, u32>,
}

impl Primary {
    /// The package at a path below the repository.
    pub fn find(&self, path: &str) -> Option<&RpmEntry> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.entries.get(at)
    }

    /// The newest version of a package.
    pub fn newest(&self, name: &str, arch: &str) -> Option<&RpmEntry> {
        let at = self.newest.get(format!("{name}.{arch}").as_str())?;
        self.entries.get(*at as usize)
    }

    /// All packages, in the order of their paths.
    pub fn entries(&self) -> &[RpmEntry] {
        &self.entries
    }
}

/// Reads a `primary.xml` that was verified already, compressed as its name says. Blocking.
///
/// # Errors
/// What cannot be unpacked or is not a list of packages, another length than `repomd.xml` says, a package without a SHA-256
/// digest, with a path that leaves the repository, or with two digests.
pub fn read(file: &Path, listed: &Listed) -> anyhow::Result<Primary> {
    let (primary, length) = parse(open(file, &listed.path)?)?;
    if let Some(expected) = listed.open_size {
        ensure!(length == expected, "it unpacks to {length} bytes instead of {expected}");
    }
    Ok(primary)
}

/// Opens a file that is compressed as its name in the repository says.
///
/// # Errors
/// What cannot be opened, or is compressed in an unknown way.
pub fn open(file: &Path, name: &str) -> anyhow::Result<Box<dyn BufRead>> {
    unpack(BufReader::with_capacity(BUFFER, File::open(file)?), name)
}

/// Whether a file of this name can be unpacked here.
pub fn is_readable(name: &str) -> bool {
    unpack(io::empty(), name).is_ok()
}

/// The decompressor for a file of this name.
fn unpack<'a>(packed: impl BufRead + 'a, name: &str) -> anyhow::Result<Box<dyn BufRead + 'a>> {
    Ok(match name.rsplit('.').next() {
        Some("zst") => {
            let mut zstd = zstd::Decoder::with_buffer(packed)?;
            zstd.window_log_max(ZSTD_WINDOW_LOG)?;
            buffered(zstd)
        }
        Some("gz") => buffered(flate2::bufread::MultiGzDecoder::new(packed)),
        Some("xz") => buffered(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB)),
        Some("xml") => Box::new(packed),
        _ => bail!("{name} is compressed in a way that is not known here"),
    })
}

fn buffered<'a>(reader: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, reader))
}

/// The packages, and the length of the document in bytes.
fn parse(document: impl BufRead) -> anyhow::Result<(Primary, u64)> {
    let mut xml = Xml::new(document, LIMIT);
    let mut primary = Primary::default();
    // Sorting by path comes last, so that `newest` first holds places in the order of the document.
    xml.root("metadata", |xml, element| match element.name.as_str() {
        "package" if element.attribute("type") == Some("rpm") => primary.add(Package::read(xml)?),
        _ => Ok(()),
    })?;
    let length = xml.finish()?;
    primary.sort()?;
    Ok((primary, length))
}

impl Primary {
    fn add(&mut self, package: Package) -> anyhow::Result<()> {
        let Package { key, entry } = package;
        let at = u32::try_from(self.entries.len()).context("it lists too many packages")?;
        match self.newest.entry(key.into()) {
            Entry::Vacant(vacant) => drop(vacant.insert(at)),
            Entry::Occupied(mut known) => {
                let older = &self.entries[*known.get() as usize].version;
                if version::compare(&entry.version, older).is_gt() {
                    known.insert(at);
                }
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Brings the packages into the order of their paths.
    fn sort(&mut self) -> anyhow::Result<()> {
        let mut order: Vec<u32> = (0..).take(self.entries.len()).collect();
        order.sort_by(|a, b| self.entries[*a as usize].path.cmp(&self.entries[*b as usize].path));
        let mut place = vec![0; order.len()];
        for (new, old) in (0..).zip(&order) {
            place[*old as usize] = new;
        }
        self.newest.values_mut().for_each(|at| *at = place[*at as usize]);
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.entries.shrink_to_fit();
        let twice = self.entries.windows(2).find(|pair| pair[0].path == pair[1].path && pair[0] != pair[1]);
        twice.map_or(Ok(()), |pair| bail!("it lists {} twice, as different files", pair[0].path))
    }
}

/// A package as it stands in the document.
struct Package {
    /// `name.arch`.
    key: String,
    entry: RpmEntry,
}

impl Package {
    fn read<R: BufRead>(xml: &mut Xml<R>) -> anyhow::Result<Self> {
        let (mut name, mut arch, mut version) = (String::new(), String::new(), String::new());
        let (mut path, mut sha256, mut size) = (None, None, None);
        let read = xml.children(|xml, element| {
            match element.name.as_str() {
                "name" => name = xml.text()?,
                "arch" => arch = xml.text()?,
                "version" => version = evr(&element)?,
                "checksum" if element.attribute("type") == Some("sha256") => sha256 = Some(xml.text()?.parse()?),
                "size" => size = Some(element.required("package")?.parse()?),
                "location" => {
                    ensure!(element.attribute("xml:base").is_none(), "it is kept in another place");
                    path = Some(below(element.required("href")?)?.to_owned());
                }
                // Also `format`, with its dependencies and files nearly all of the document.
                _ => {}
            }
            Ok(())
        });
        read.with_context(|| format!("reading the package {name}"))?;
        ensure!(!name.is_empty(), "there is a package without a name");
        let sha256 = sha256.with_context(|| format!("the package {name} has no SHA-256 digest"))?;
        let path = path.with_context(|| format!("the package {name} has no location"))?;
        let entry = RpmEntry { path, expected: Expected { size, sha256 }, version };
        Ok(Self { key: format!("{name}.{arch}"), entry })
    }
}

/// `<version epoch="0" ver="16.1" rel="5.fc44"/>` → `16.1-5.fc44`.
pub fn evr(element: &Element) -> anyhow::Result<String> {
    let (ver, rel) = (element.required("ver")?, element.required("rel")?);
    Ok(match element.attribute("epoch") {
        None | Some("" | "0") => format!("{ver}-{rel}"),
        Some(epoch) => format!("{epoch}:{ver}-{rel}"),
    })
}

#[cfg(test)]
#[path = "primary/tests.rs"]
mod tests;
