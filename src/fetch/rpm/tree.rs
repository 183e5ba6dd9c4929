//! An install tree: from what vouches for it to the address and digest of each file.
//!
//! ```text
//! signed  keyring ─ signature ─▶ CHECKSUM ─ sha256 ─▶ images/boot.iso ──▶ kernel, initrd, install.img, EFI loaders
//! https   server's certificate ─▶ .treeinfo ─ sha256 ─▶ kernel, initrd, install.img
//!                              └▶ EFI loaders
//! both    repository ─ sha256 ─▶ .rpm ──▶ file inside it      (signed: keyring ─ signature ─▶ .rpm as well)
//! ```
//!
//! The image is the tree: its digest is the one that `.treeinfo` has for `images/boot.iso`, and it holds every file a machine
//! boots from. So the EFI loaders come out of it too: one chain for all, one format, and how the packages of shim and GRUB are
//! laid out, which changed between Fedora 42 and 44, does not matter. What no image has is a network loader for BIOS: iPXE comes
//! from its own signed package.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use url::Url;

use super::{
    basis::{Basis, Grounds},
    iso,
    package::{self, Judge},
};
use crate::{
    distro::{
        Release, Source,
        address::{below, join, shown},
    },
    fetch::{
        Client,
        archive::{Container, Content, Listing, Located, Unpacked, Wanted},
        boot_set::Request,
        digest::Expected,
        keyring::Keyring,
        level::Level,
        manifest::Stamp,
        store::blocking,
    },
    model::Trust,
};

/// Where a repository has a package, by the repository's id and the package's name; `None` when it has none of that name.
///
/// An error that is (or has as its cause) [`crate::fetch::DownloadError::Unreachable`] lets a complete cache do.
pub type Packages<'a> = dyn Fn(&str, &str) -> anyhow::Result<Option<PackageAt>> + Sync + 'a;

/// A package as a repository lists it.
#[derive(Debug, Clone)]
pub struct PackageAt {
    /// Its addresses, best first.
    pub urls: Vec<Url>,
    /// What the `.rpm` has to be.
    pub expected: Expected,
    /// Version and release, for people.
    pub version: String,
}

/// One release's install tree and repositories, during one run.
pub struct InstallTree<'a> {
    pub(super) release: &'a Release,
    /// Path of the tree below the archive's root.
    pub(super) tree: &'a str,
    pub(super) keyring: Keyring,
    pub(super) client: &'a Client,
    pub(super) trust: Option<Trust>,
    pub(super) now: Timestamp,
    /// The signed lists as they were last verified.
    pub(super) known: BTreeMap<String, Stamp>,
    pub(super) say: &'a (dyn Fn(&str) + Sync),
    packages: &'a Packages<'a>,
    basis: Option<Basis>,
}

impl<'a> InstallTree<'a> {
    /// The tree at `tree` of the release's main archive. `known` are its signed lists as they were last verified.
    pub fn new(
        request: &Request<'a>,
        tree: &'a str,
        known: BTreeMap<String, Stamp>,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> Self {
        let Request { release, keyring, client, trust, packages, now, .. } = *request;
        let keyring = keyring.pinned(&release.signer);
        Self { release, tree, keyring, client, trust, now, known, say, packages, basis: None }
    }

    /// What vouches for the tree: found out once.
    async fn basis(&mut self) -> anyhow::Result<&Basis> {
        let basis = match self.basis.take() {
            Some(basis) => basis,
            None => self.find_basis().await?,
        };
        Ok(self.basis.insert(basis))
    }

    /// What lists `source`; `None` when neither tree nor repositories have it.
    pub async fn listing(&mut self, source: &Source) -> anyhow::Result<Option<Listing>> {
        let listing = self.basis().await?.listing;
        Ok(match source {
            Source::Tree { .. } => Some(listing),
            Source::Rpm { repo, package, .. } => (self.packages)(repo, package)?
                .map(|at| Listing { index_sha256: at.expected.sha256, level: listing.level }),
            Source::Image { .. } | Source::Package { .. } => None,
        })
    }

    /// Where `source` is; `None` when neither tree nor repositories have it.
    pub async fn locate(&mut self, source: &Source) -> anyhow::Result<Option<Located>> {
        let listing = self.basis().await?.listing;
        match source {
            Source::Tree { path } => self.locate_in_tree(path, listing).map(Some),
            Source::Rpm { repo, package, path } => {
                let Some(at) = (self.packages)(repo, package)? else { return Ok(None) };
                Ok(Some(Located {
                    urls: at.urls,
                    listing: Listing { index_sha256: at.expected.sha256, level: listing.level },
                    name: package.clone(),
                    origin: format!("{package} {} (package sha256 {})", at.version, at.expected.sha256),
                    content: Content::Inside(Container::Package, at.expected, path.clone()),
                }))
            }
            Source::Image { .. } | Source::Package { .. } => Ok(None),
        }
    }

    fn locate_in_tree(&self, path: &str, listing: Listing) -> anyhow::Result<Located> {
        let basis = self.basis.as_ref().context("the tree is asked for files before it was looked at")?;
        let vouched = self.vouched(None);
        let located = |urls, name: &str, content, origin| Located { urls, content, listing, name: name.into(), origin };
        Ok(match &basis.grounds {
            Grounds::Signed { iso, name, .. } => located(
                self.everywhere("images/boot.iso"),
                name,
                Content::Inside(Container::Image, *iso, path.to_owned()),
                format!("{name} (image sha256 {}), {vouched}", iso.sha256),
            ),
            Grounds::Listed(treeinfo) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let origin = format!("{path} of the install tree, {vouched}");
                match treeinfo.file(path) {
                    Some(sha256) => {
                        let content = Content::Listed(Expected { size: None, sha256 });
                        located(self.everywhere(path), name, content, origin)
                    }
                    None => located(vec![self.in_tree(self.master(), path)], name, Content::Unlisted, origin),
                }
            }
        })
    }

    /// Takes files out of a package or image that was fetched to `path` and is what was listed.
    pub async fn unpack(
        &self,
        container: Container,
        located: &Located,
        path: PathBuf,
        wanted: Vec<Wanted>,
    ) -> anyhow::Result<Unpacked> {
        let (origin, name) = (located.origin.clone(), located.name.clone());
        if container == Container::Image {
            return Ok((blocking(move || iso::extract(&path, &wanted)).await?, origin));
        }
        let signed = located.listing.level == Level::Signed;
        let judge = signed.then(|| Judge { keyring: self.keyring.clone(), now: self.now });
        let unpacked = blocking(move || package::extract(&path, &name, &wanted, judge.as_ref())).await;
        let (files, signer) = unpacked?;
        Ok((files, format!("{origin}, {}", self.vouched(signer.as_deref()))))
    }

    /// `Fedora 44 signed by …`; by whom the list was signed, or something else of the release.
    fn vouched(&self, signer: Option<&str>) -> String {
        let Release { distro, version, .. } = self.release;
        let basis = self.basis.as_ref();
        let list_signer = || basis.and_then(|basis| basis.signed()).map(|signed| signed.signer.as_str());
        match (signer.or_else(list_signer), basis.map(|basis| basis.listing.level)) {
            (Some(signer), _) => format!("{} {version} signed by {signer}", distro.name),
            (None, Some(level)) => format!("{} {version}, {level} ({})", distro.name, self.host()),
            (None, None) => format!("{} {version}", distro.name),
        }
    }

    /// What vouches for the release, for people: `Fedora 44, signed by …`, `Fedora 44, https only: not signed (…)`.
    pub fn provenance(&self) -> String {
        self.vouched(None).replacen(" signed by", ", signed by", 1)
    }

    /// The signed list of this run, for the manifest.
    pub fn stamps(&self) -> BTreeMap<String, Stamp> {
        let signed = self.basis.as_ref().and_then(Basis::signed);
        let list = self.release.checksum.as_ref().map(|checksum| checksum.file.clone());
        let stamp = list.zip(signed).map(|(list, signed)| {
            let (version, date) = (self.release.version.clone(), signed.signed_at);
            (list, Stamp { version, date, signer: signed.signer.clone() })
        });
        stamp.into_iter().collect()
    }

    /// The root of the distributor's own server.
    pub(super) fn own(&self) -> &'a Url {
        let own = self.release.public_mirrors.first().map(|mirror| &mirror.url);
        own.unwrap_or(&self.release.distro.archive.mirror)
    }

    /// The root of whoever's word counts where nothing is signed: the distributor's own server, or the directory that the
    /// operator named.
    pub(super) fn master(&self) -> &'a Url {
        let archive = self.release.archive();
        if archive.is_local() { &archive.url } else { self.own() }
    }

    /// The master, in a word.
    fn host(&self) -> String {
        let master = self.master();
        master.host_str().map_or_else(|| shown(master), str::to_owned)
    }

    /// A file of the tree below some root of the archive.
    pub(super) fn in_tree(&self, root: &Url, path: &str) -> Url {
        below(root, &join(self.tree, path))
    }

    /// A file of the tree wherever it may be fetched from, which is anywhere once its digest is known.
    fn everywhere(&self, path: &str) -> Vec<Url> {
        let mirror = self.release.archive();
        let mut urls = Vec::new();
        // No server has a tree at its root, as a disc does.
        let own = Some(self.own()).filter(|_| mirror.disc.is_none());
        for root in std::iter::once(&mirror.url).chain(&mirror.alternates).chain(own) {
            let url = self.in_tree(root, path);
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }
}
