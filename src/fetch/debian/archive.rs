//! A Debian archive: from a suite's signed metadata to the address and digest of each file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map},
    fs::File,
    path::PathBuf,
};

use anyhow::Context;
use jiff::Timestamp;
use url::Url;

use super::{
    Suites, deb,
    metadata::Suite,
    packages::{self, Package},
    release_file::ReleaseFile,
    sums,
};
use crate::{
    distro::{
        Distro, Release, Source,
        address::{below, shown},
    },
    fetch::{
        Client, Request,
        archive::{Container, Content, Listing, Located, Outdated, Unpacked, Wanted},
        digest::Expected,
        download::DownloadError,
        keyring::Keyring,
        level::Level,
        manifest::Stamp,
        openpgp::Signed,
        store::{Store, blocking},
    },
    model::{Hinted, Sha256Digest},
};

/// The newest stable release, by the archive's own word. Not its point release: a mirror that keeps each path on its own may
/// have `stable` of yesterday beside the codename of today, and files are taken from the latter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stable {
    /// `13`.
    pub version: String,
    /// `trixie`.
    pub codename: String,
}

/// Asks the archive which release is the newest stable one.
///
/// # Errors
/// A mirror that cannot be reached, metadata that does not verify.
pub async fn newest_stable(
    distro: &Distro,
    mirror: &Url,
    keyring: &Keyring,
    client: &Client,
    now: Timestamp,
) -> anyhow::Result<Stable> {
    let debian = distro.archive.debian.as_ref().context("its description has no [archive.debian]")?;
    let (release, _) = Suite { client, mirror, name: &debian.stable, keyring, now }.signed().await?;
    let point =
        release.version.with_context(|| format!("suite {} of {} has no version", debian.stable, shown(mirror)))?;
    let version = point.split('.').next().unwrap_or_default().to_owned();
    Ok(Stable { version, codename: release.codename })
}

/// One mirror of an archive during one run: each suite's metadata is fetched and each index read once.
pub struct DebianArchive<'a> {
    client: &'a Client,
    /// Where indexes are kept.
    store: Store,
    /// The suites that machines install from.
    suites: &'a Suites,
    /// Where their indexes are kept, which are not fetched twice.
    kept: Store,
    release: &'a Release,
    keyring: &'a Keyring,
    now: Timestamp,
    /// The suites as they were last verified.
    known: BTreeMap<String, Stamp>,
    /// The packages that will be asked for, by codename.
    wanted: BTreeMap<&'a str, BTreeSet<String>>,
    verified: HashMap<String, (ReleaseFile, Signed)>,
    packages: HashMap<String, HashMap<String, Package>>,
}

impl<'a> DebianArchive<'a> {
    /// The main archive of a release. Files go to `store`; `kept` is where the requested suites have theirs. `known` are the suites
    /// as they were last verified.
    pub fn new(
        &Request { release, keyring, client, suites, now, .. }: &Request<'a>,
        (store, kept): (Store, Store),
        known: BTreeMap<String, Stamp>,
    ) -> Self {
        let mut wanted = BTreeMap::<_, BTreeSet<_>>::new();
        for source in release.artifacts().flat_map(|artifact| &artifact.sources) {
            if let Source::Package { codename, package, .. } = source {
                wanted.entry(codename.as_str()).or_default().insert(package.clone());
            }
        }
        let (verified, packages) = Default::default();
        Self { client, store, suites, kept, release, keyring, now, known, wanted, verified, packages }
    }

    fn mirror(&self) -> &'a Url {
        &self.release.archive().url
    }

    async fn suite(&mut self, codename: &str) -> anyhow::Result<&ReleaseFile> {
        let mirror = self.mirror();
        let asked = Suite { client: self.client, mirror, name: codename, keyring: self.keyring, now: self.now };
        let slot = match self.verified.entry(codename.to_owned()) {
            hash_map::Entry::Occupied(slot) => return Ok(&slot.into_mut().0),
            hash_map::Entry::Vacant(slot) => slot,
        };
        let (release, signed) = match self.suites.text(&self.release.archive().id, codename, self.now) {
            Some(taken) => taken,
            None => asked.signed().await.map_err(|error| not_there(self.release, codename, error))?,
        };
        let is_comparable = |known: &&Stamp| self.keyring.are_of_one_archive(&known.signer, &signed.signer);
        let known = self.known.get(codename).filter(is_comparable);
        if let Some(known) = known.map(|known| known.date).filter(|&known| known > release.date) {
            let (what, mirror, offered) = (format!("the metadata of {codename}"), mirror.clone(), release.date);
            return Err(Outdated { what, mirror, offered, known }.into());
        }
        Ok(&slot.insert((release, signed)).0)
    }

    /// The suites of this run, for the manifest.
    pub fn stamps(&self) -> BTreeMap<String, Stamp> {
        let stamp = |(release, signed): &(ReleaseFile, Signed)| Stamp {
            version: release.version_or_codename().to_owned(),
            date: release.date,
            signer: signed.signer.clone(),
        };
        self.verified.iter().map(|(codename, suite)| (codename.clone(), stamp(suite))).collect()
    }

    /// What vouches for the release, for people: `Debian 13.7, signed by …`.
    pub fn provenance(&self) -> String {
        let main = self.verified.get(&self.release.codename).or_else(|| self.verified.values().next());
        let say = |(suite, signed): &(ReleaseFile, Signed)| {
            format!("{} {}, signed by {}", self.release.distro.name, suite.version_or_codename(), signed.signer)
        };
        main.map(say).unwrap_or_default()
    }

    /// Every digest that the suites of this run vouch for.
    pub fn digests(&self) -> HashSet<Sha256Digest> {
        self.verified.values().flat_map(|(release, _)| release.digests()).collect()
    }

    /// The index that lists `source`, if the suite has that index.
    pub async fn listing(&mut self, source: &Source) -> anyhow::Result<Option<Listing>> {
        let Some((codename, index)) = self.index_path(source) else { return Ok(None) };
        Ok(self.suite(codename).await?.file(&index).map(signed))
    }

    /// Where `source` is; `None` when this archive does not have it.
    pub async fn locate(&mut self, source: &Source) -> anyhow::Result<Option<Located>> {
        let Some((codename, path)) = self.index_path(source) else { return Ok(None) };
        let release = self.suite(codename).await?;
        let (suite, by_hash) = (release.version_or_codename().to_owned(), release.by_hash);
        let Some(expected) = release.file(&path) else { return Ok(None) };
        let Some(index) = self.index(codename, &path, expected, by_hash).await? else { return Ok(None) };
        let vouched = format!("{} {suite} signed by {}", self.release.distro.name, self.verified[codename].1.signer);
        match source {
            Source::Image { path: image, .. } => {
                let sums = tokio::fs::read_to_string(&index).await.with_context(|| format!("reading {path}"))?;
                let Some(sha256) = sums::find(&sums, image) else { return Ok(None) };
                let images = path.trim_end_matches("SHA256SUMS");
                Ok(Some(Located {
                    urls: vec![below(self.mirror(), &format!("dists/{codename}/{images}{image}"))],
                    content: Content::Listed(Expected { size: None, sha256 }),
                    listing: signed(expected),
                    name: image.rsplit('/').next().unwrap_or(image).to_owned(),
                    origin: format!("{images}{image}, {vouched}"),
                }))
            }
            Source::Package { package, path: inside, .. } => {
                if !self.packages.contains_key(codename) {
                    let wanted = self.wanted.get(codename).cloned().unwrap_or_default();
                    let found = blocking(move || packages::find(File::open(index)?, &wanted)).await;
                    self.packages
                        .insert(codename.to_owned(), found.with_context(|| format!("reading {path} of {codename}"))?);
                }
                let Some(found) = self.packages[codename].get(package) else { return Ok(None) };
                Ok(Some(Located {
                    urls: vec![below(self.mirror(), &found.filename)],
                    content: Content::Inside(Container::Package, found.expected, inside.clone()),
                    listing: signed(expected),
                    name: package.clone(),
                    origin: format!(
                        "{package} {} (package sha256 {}), {vouched}",
                        found.version, found.expected.sha256
                    ),
                }))
            }
            Source::Tree { .. } | Source::Rpm { .. } => Ok(None),
        }
    }

    /// Takes files out of a package that was fetched to `path` and is what was listed.
    pub async fn unpack(&self, located: &Located, path: PathBuf, wanted: Vec<Wanted>) -> anyhow::Result<Unpacked> {
        Ok((blocking(move || deb::extract(&path, &wanted)).await?, located.origin.clone()))
    }

    /// The index that lists `source`: its suite and its path below `dists/<codename>/`. Of other kinds of archive it has none.
    fn index_path<'s>(&self, source: &'s Source) -> Option<(&'s str, String)> {
        let arch = &self.release.arch_name;
        match source {
            Source::Image { codename, .. } => {
                Some((codename, format!("main/installer-{arch}/current/images/SHA256SUMS")))
            }
            Source::Package { codename, .. } => Some((codename, format!("main/binary-{arch}/Packages.xz"))),
            Source::Tree { .. } | Source::Rpm { .. } => None,
        }
    }

    /// An index as a file on the disk; `None` when the mirror does not have it.
    async fn index(
        &self,
        codename: &str,
        path: &str,
        expected: Expected,
        by_hash: bool,
    ) -> anyhow::Result<Option<PathBuf>> {
        if self.kept.holds(expected.sha256).await {
            return Ok(Some(self.kept.path(expected.sha256)));
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Under its digest an index stays what it is when the mirror is updated between `InRelease` and here.
        let under_digest = by_hash.then(|| format!("{folder}/by-hash/SHA256/{}", expected.sha256));
        for path in under_digest.iter().map(String::as_str).chain([path]) {
            let url = below(self.mirror(), &format!("dists/{codename}/{path}"));
            match self.store.fetch(self.client, url, expected, &mut |_, _| {}).await {
                Ok(index) => return Ok(Some(index)),
                Err(DownloadError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// Says why a suite is asked for that the operator did not name.
fn not_there(release: &Release, codename: &str, error: anyhow::Error) -> anyhow::Error {
    let is_gone = matches!(error.downcast_ref(), Some(DownloadError::Gone { .. }));
    if !is_gone || codename == release.codename {
        return error;
    }
    let what = format!("the boot loaders of every release of {} come from {codename}", release.distro.name);
    error
        .context(Hinted::new(what, format!("the mirror needs main of {codename}, too; or take another one (--mirror)")))
}

fn signed(index: Expected) -> Listing {
    Listing { index_sha256: index.sha256, level: Level::Signed }
}
