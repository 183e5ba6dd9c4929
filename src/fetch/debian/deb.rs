//! Files out of a `.deb`: an `ar` archive whose member `data.tar.xz` holds them (deb(5)).
//!
//! The package was verified as a whole before it comes here. It is read as hostile all the same: whoever trusts a further
//! archive does not thereby trust it with this machine's memory.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use lzma_rust2::XzReader;
use tar::EntryType;

use crate::{
    fetch::{
        XZ_MEMORY_KIB,
        archive::Wanted,
        digest::{self, HashingWriter},
        links::{follow, plain},
    },
    model::Sha256Digest,
};

/// What a package may unpack to; the largest netboot package has 0.4 GB.
const TOTAL_LIMIT: u64 = 4 << 30;
/// What one file may have; the largest initrd has 83 MB.
const FILE_LIMIT: u64 = 1 << 30;
/// Longest path (`PATH_MAX`).
const PATH_LIMIT: u64 = 4096;
/// Most links in a package; a netboot package has a dozen.
const LINKS_LIMIT: usize = 10_000;

/// Takes files out of a package and returns length and digest of each, in the order of `wanted`. Blocking.
///
/// The files are on the disk (fsync) when it returns.
///
/// # Errors
/// A package that cannot be read, lacks a file, or exceeds the limits above.
pub fn extract(deb: &Path, wanted: &[Wanted]) -> anyhow::Result<Vec<(u64, Sha256Digest)>> {
    let unpacked = unpack(deb, wanted);
    if unpacked.is_err() {
        for file in wanted {
            let _ = std::fs::remove_file(&file.to);
        }
    }
    unpacked
}

fn unpack(deb: &Path, wanted: &[Wanted]) -> anyhow::Result<Vec<(u64, Sha256Digest)>> {
    let mut pass = Pass { wanted: wanted.iter().map(|file| file.path.clone()).collect(), ..Pass::default() };
    pass.done.resize(wanted.len(), None);
    pass.read(deb, wanted)?;
    if pass.missing().next().is_some() {
        // A link may come before or after the file it names, so that one pass cannot do.
        let links = std::mem::take(&mut pass.links);
        for index in pass.missing().collect::<Vec<_>>() {
            pass.wanted[index] = follow(&wanted[index].path, &links)?;
        }
        pass.read(deb, wanted)?;
    }
    let found = pass.done.iter().zip(wanted);
    found.map(|(done, wanted)| done.with_context(|| format!("there is no file {} in it", wanted.path))).collect()
}

#[derive(Default)]
struct Pass {
    /// Where each wanted file is looked for.
    wanted: Vec<String>,
    done: Vec<Option<(u64, Sha256Digest)>>,
    /// Path → target; the target of a hard link is made absolute.
    links: HashMap<String, String>,
}

impl Pass {
    fn missing(&self) -> impl Iterator<Item = usize> {
        self.done.iter().enumerate().filter(|(_, done)| done.is_none()).map(|(index, _)| index)
    }

    fn read(&mut self, deb: &Path, wanted: &[Wanted]) -> anyhow::Result<()> {
        let data = data_tar(BufReader::new(File::open(deb)?))?;
        let mut tar = tar::Archive::new(data.take(TOTAL_LIMIT));
        // Raw: `tar` would read a long name of any length into memory.
        let (mut long_name, mut long_link) = (None, None);
        for entry in tar.entries()?.raw(true) {
            let mut entry = entry.context("reading data.tar")?;
            let kind = entry.header().entry_type();
            match kind {
                EntryType::GNULongName => long_name = Some(long_path(&mut entry)?),
                EntryType::GNULongLink => long_link = Some(long_path(&mut entry)?),
                EntryType::Regular | EntryType::Symlink | EntryType::Link => {
                    let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                    let name = plain(&String::from_utf8_lossy(&name));
                    if kind == EntryType::Regular {
                        self.take(&name, &mut entry, wanted)?;
                    } else {
                        let target = long_link.take().or_else(|| entry.link_name_bytes().map(|link| link.into_owned()));
                        let target = String::from_utf8_lossy(&target.unwrap_or_default()).into_owned();
                        let target = if kind == EntryType::Link { format!("/{}", plain(&target)) } else { target };
                        ensure!(self.links.len() < LINKS_LIMIT, "there are more than {LINKS_LIMIT} links in it");
                        self.links.insert(name, target);
                    }
                }
                // deb(5) does not have them, and their meaning depends on the reader.
                EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNUSparse => {
                    bail!("data.tar has an entry of type {kind:?}, which Debian packages do not use")
                }
                _ => (long_name, long_link) = (None, None),
            }
            if self.missing().next().is_none() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, entry: &mut tar::Entry<'_, impl Read>, files: &[Wanted]) -> anyhow::Result<()> {
        for (index, file) in files.iter().enumerate() {
            if self.wanted[index] != name || self.done[index].is_some() {
                continue;
            }
            let size = entry.size();
            ensure!(size <= FILE_LIMIT, "{name} has {size} bytes, more than the {FILE_LIMIT} that are believed");
            if let Some(twin) = (0..index).find(|&other| self.wanted[other] == name) {
                // The same file under two names: the bytes of the entry are gone by now.
                std::fs::copy(&files[twin].to, &file.to)?;
                self.done[index] = self.done[twin];
                continue;
            }
            self.done[index] = Some(write(entry, &file.to, size).with_context(|| format!("unpacking {name}"))?);
        }
        Ok(())
    }
}

fn write(entry: &mut impl Read, to: &Path, size: u64) -> anyhow::Result<(u64, Sha256Digest)> {
    let mut writer = HashingWriter::new(File::create(to).with_context(|| format!("writing {}", to.display()))?);
    digest::copy(entry, &mut writer)?;
    let (file, written, sha256) = writer.finish();
    ensure!(written == size, "it ends after {written} of {size} bytes");
    file.sync_all()?;
    Ok((size, sha256))
}

/// The content of the member `data.tar` of a `.deb`.
///
/// Read here and not by the crate `ar`: of its extensions to the 1971 format deb(5) allows none, and each of them takes the
/// length of a buffer from the file.
fn data_tar(mut deb: impl Read + 'static) -> anyhow::Result<Box<dyn Read>> {
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).context("reading the package")?;
    ensure!(&magic == b"!<arch>\n", "it is not a Debian package");
    loop {
        let mut header = [0; 60];
        deb.read_exact(&mut header).context("looking for data.tar in the package")?;
        ensure!(header[58..] == *b"`\n", "the package has a damaged member header");
        let name = std::str::from_utf8(&header[..16])?.trim_end().trim_end_matches('/').to_owned();
        let size: u64 = std::str::from_utf8(&header[48..58])?.trim_end().parse().context("reading a member's size")?;
        match name.as_str() {
            "data.tar.xz" => return Ok(Box::new(XzReader::new_mem_limit(deb.take(size), true, XZ_MEMORY_KIB))),
            "data.tar" => return Ok(Box::new(deb.take(size))),
            other if other.starts_with("data.tar") => bail!("the package is compressed as {other}; only xz is read"),
            _ => io::copy(&mut deb.by_ref().take(size + size % 2), &mut io::sink())?,
        };
    }
}

fn long_path(entry: &mut tar::Entry<'_, impl Read>) -> anyhow::Result<Vec<u8>> {
    ensure!(entry.size() <= PATH_LIMIT, "data.tar has a path of {} bytes", entry.size());
    let mut path = Vec::new();
    entry.read_to_end(&mut path)?;
    path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
    Ok(path)
}

#[cfg(test)]
mod tests;
