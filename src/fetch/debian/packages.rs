//! `Packages`: the stanzas of a suite's packages.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, BufRead, BufReader, Read},
};

use anyhow::{Context, ensure};
use lzma_rust2::XzReader;

use crate::fetch::{XZ_MEMORY_KIB, digest::Expected};

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
    let xz = XzReader::new_mem_limit(packages_xz, true, XZ_MEMORY_KIB);
    find_in_text(BufReader::with_capacity(64 * 1024, xz.take(INDEX_LIMIT)), wanted)
}

fn find_in_text(mut text: impl BufRead, wanted: &BTreeSet<String>) -> anyhow::Result<HashMap<String, Package>> {
    let (mut found, mut stanza, mut line) = (HashMap::new(), Stanza::default(), Vec::new());
    while found.len() < wanted.len() {
        line.clear();
        let read = text.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).context("unpacking the index")?;
        ensure!(
            line.ends_with(b"\n") || (read as u64) < LINE_LIMIT,
            "a line of the index is longer than {LINE_LIMIT} bytes"
        );
        if line.trim_ascii().is_empty() {
            let stanza = std::mem::take(&mut stanza);
            if wanted.contains(&stanza.package) && !found.contains_key(&stanza.package) {
                let name = stanza.package.clone();
                found.insert(name, stanza.finish()?);
            }
            if read == 0 {
                break;
            }
        } else {
            stanza.add(&line)?;
        }
    }
    Ok(found)
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
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn stanza(name: &str, filename: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1:2\nDescription: Package: not-a-field\n Package: nor-this\nFilename: {filename}\n\
             Size: 7\nSHA256: {DIGEST}\n"
        )
    }

    fn find_text(text: &str, wanted: &[&str]) -> anyhow::Result<HashMap<String, Package>> {
        find_in_text(text.as_bytes(), &wanted.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn finds_wanted_stanzas_also_the_last_without_a_blank_line() -> anyhow::Result<()> {
        let text = [stanza("a", "pool/a.deb"), stanza("b", "pool/b.deb"), stanza("c", "pool/c.deb")].join("\n");
        let found = find_text(&text, &["a", "c", "missing", "not-a-field"])?;
        let mut names: Vec<_> =
            found.iter().map(|(name, package)| (name.as_str(), package.filename.as_str())).collect();
        names.sort_unstable();
        assert_eq!(names, [("a", "pool/a.deb"), ("c", "pool/c.deb")]);
        let size = Some(7);
        assert_eq!(found["a"].expected, Expected { size, sha256: DIGEST.parse()? });
        Ok(())
    }

    #[test]
    fn refuses_a_file_name_that_leaves_the_archive_and_lines_without_end() {
        for filename in ["", "/etc/passwd", "pool/../../x", "./x"] {
            assert!(find_text(&stanza("a", filename), &["a"]).is_err(), "{filename}");
        }
        let endless = "x".repeat(LINE_LIMIT as usize + 1);
        assert!(find_text(&endless, &["a"]).is_err());
        assert!(find(&b"not xz"[..], &BTreeSet::from(["a".into()])).is_err());
    }
}
