//! Files out of an RPM, whose signature is judged by our own keyring.
//!
//! What the crate `rpm` checks of a signature is whether some key of a list made it; expiry, revocation, weak digests and which
//! key may sign what are [`Keyring`]'s rules here as everywhere. So from the crate come the bytes: of the header, of the
//! signatures over it (`RSAHEADER`, `DSAHEADER`, `OPENPGP`), and of the payload.
//!
//! ```text
//! keyring ─ signature ─▶ header ─ PAYLOADDIGEST ─▶ payload ─▶ file inside it
//! ```
//!
//! Signatures of old over header and payload together are not looked at: since 2017 rpm writes the payload's digest into the
//! header, and a package without it is refused.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use rpm::{DigestStatus, FileType, Package, PackageReader};

use super::frame;
use crate::{
    fetch::{
        Keyring,
        archive::Wanted,
        digest::{self, HashingWriter},
        links::{follow, plain},
    },
    model::Sha256Digest,
};

/// The longest package that is read into memory; boot loaders' have 5 MB.
const PACKAGE_LIMIT: u64 = 256 << 20;
/// What one file may have.
const FILE_LIMIT: u64 = 1 << 30;

/// Whose signature is believed.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The keys that may sign the release's packages.
    pub keyring: Keyring,
    /// The moment it is judged at.
    pub now: Timestamp,
}

/// Length and digest of each file, in the order they were wanted, and the fingerprint of who signed the package.
pub type Unpacked = (Vec<(u64, Sha256Digest)>, Option<String>);

/// Takes files out of the package `name`, whose signature must satisfy `judge` if there is one. Blocking.
///
/// The files are on the disk (fsync) when it returns.
///
/// # Errors
/// A package that cannot be read, is another one, is not signed, is altered, or lacks a file.
pub fn extract(path: &Path, name: &str, wanted: &[Wanted], judge: Option<&Judge>) -> anyhow::Result<Unpacked> {
    let unpacked =
        verify(path, name, judge).and_then(|(package, signer)| Ok((unpack(path, &package, wanted)?, signer)));
    if unpacked.is_err() {
        for file in wanted {
            let _ = std::fs::remove_file(&file.to);
        }
    }
    unpacked
}

fn verify(path: &Path, name: &str, judge: Option<&Judge>) -> anyhow::Result<(Package, Option<String>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    ensure!(size <= PACKAGE_LIMIT, "the package has {size} bytes, more than the {PACKAGE_LIMIT} that are believed");
    frame::check(&mut file).context("reading the package's headers")?;
    let package = Package::open(path).context("reading the package")?;
    let signer = judge.map(|judge| verify_signed(&package, judge)).transpose()?;
    // SECURITY: the signature says that the package is the distributor's, not that it is the one we asked for.
    let actual = package.metadata.get_name().context("reading the package's name")?;
    ensure!(actual == name, "it is the package {actual}, not {name}");
    Ok((package, signer))
}

/// Verifies header and payload, and says who signed.
fn verify_signed(package: &Package, judge: &Judge) -> anyhow::Result<String> {
    let signatures = package.raw_signatures().context("reading the package's signatures")?.concat();
    let header = package.header_bytes().context("reading the package's header")?;
    let signed = judge.keyring.verify_header(&header, &signatures, judge.now);
    let (signer, _) = signed.context("verifying the header of the package")?;
    let report = package.check_digests().context("hashing the package's payload")?;
    let digests = [report.payload_sha256, report.payload_sha512, report.payload_sha3_256];
    for digest in &digests {
        if let DigestStatus::Mismatch { expected, actual } = digest {
            bail!(
                "verifying the payload of the package: its digest is {actual} instead of {expected}, which {signer} signed"
            );
        }
    }
    ensure!(digests.iter().any(DigestStatus::is_verified), "the package's signed header has no digest of the payload");
    Ok(signer)
}

fn unpack(path: &Path, package: &Package, wanted: &[Wanted]) -> anyhow::Result<Vec<(u64, Sha256Digest)>> {
    let entries = package.metadata.get_file_entries().context("reading the package's list of files")?;
    let links: HashMap<_, _> = entries
        .iter()
        .filter(|entry| entry.file_type() == FileType::SymbolicLink)
        .filter_map(|entry| Some((inside(&entry.path()), entry.linkto()?.to_owned())))
        .collect();
    let paths: Vec<_> = wanted.iter().map(|file| follow(&file.path, &links)).collect::<Result<_, _>>()?;
    let mut done = vec![None; wanted.len()];
    let mut reader = PackageReader::open(path).context("unpacking the payload")?;
    while let Some(mut file) = reader.next_file().context("unpacking the payload")? {
        let here = inside(&file.metadata.path());
        let mut asked = (0..wanted.len()).filter(|&index| paths[index] == here);
        let Some(first) = asked.next().filter(|_| file.metadata.file_type() == FileType::Regular) else { continue };
        ensure!(file.has_payload(), "{here} is a hard link to a file that is not in the package's payload");
        let size = file.metadata.size() as u64;
        ensure!(size <= FILE_LIMIT, "{here} has {size} bytes, more than the {FILE_LIMIT} that are believed");
        let to = &wanted[first].to;
        let written = write(&mut file, to, size).with_context(|| format!("unpacking {here}"))?;
        done[first] = Some(written);
        for twin in asked {
            std::fs::copy(to, &wanted[twin].to)?;
            done[twin] = Some(written);
        }
    }
    let found = done.into_iter().zip(wanted);
    found.map(|(done, wanted)| done.with_context(|| format!("there is no file {} in it", wanted.path))).collect()
}

fn inside(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

fn write(from: &mut impl std::io::Read, to: &PathBuf, size: u64) -> anyhow::Result<(u64, Sha256Digest)> {
    let mut writer = HashingWriter::new(File::create(to).with_context(|| format!("writing {}", to.display()))?);
    digest::copy(from, &mut writer)?;
    let (file, written, sha256) = writer.finish();
    ensure!(written == size, "it ends after {written} of {size} bytes");
    file.sync_all()?;
    Ok((size, sha256))
}

#[cfg(test)]
mod tests;
