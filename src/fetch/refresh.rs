//! Which files of a release are still current, and the others into the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    archive::{Archive, Located},
    deb::{self, Wanted},
    download::DownloadError,
    manifest::Entry,
    store::blocking,
};
use crate::{
    distro::{Artifact, Source},
    model::{Hinted, Sha256Digest},
};

/// How often a long download says how far it is.
const NARRATION: Duration = Duration::from_secs(5);

/// A complete set of files, as the archive has them now.
#[derive(Debug, Default)]
pub struct Fresh {
    /// All of them.
    pub entries: BTreeMap<String, Entry>,
    /// Those whose bytes lie in the store; the others are in the cache already.
    pub fetched: BTreeSet<String>,
}

/// An artifact on its way, and which of its sources it is to come from.
struct Pending<'a> {
    artifact: &'a Artifact,
    source: usize,
}

impl<'a> Pending<'a> {
    fn source(&self) -> anyhow::Result<&'a Source> {
        let artifact = self.artifact;
        artifact.sources.get(self.source).ok_or_else(|| {
            let sources: Vec<_> = artifact.sources.iter().map(describe).collect();
            let what = format!("the mirror does not have {} ({})", artifact.name, sources.join(", or "));
            Hinted::new(what, "take a complete mirror of the distribution (--mirror)").into()
        })
    }

    fn next(mut self) -> Self {
        self.source += 1;
        self
    }
}

/// Names a source in the manifest and in messages.
pub fn describe(source: &Source) -> String {
    match source {
        Source::Image { codename, path } => format!("{path} of {codename}'s installer images"),
        Source::Package { codename, package, path } => format!("{path} in {codename}'s package {package}"),
        Source::Tree { path } => format!("{path} of the install tree"),
        Source::Rpm { repo, package, path } => format!("{path} in the package {package} of {repo}"),
    }
}

/// Brings every artifact that is not in `intact`, or not current any more, into the archive's store.
pub async fn refresh(
    archive: &mut Archive<'_>,
    artifacts: &[&Artifact],
    intact: &BTreeMap<String, Entry>,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Fresh> {
    let mut fresh = Fresh::default();
    let mut pending = Vec::new();
    for &artifact in artifacts {
        match intact.get(&artifact.name) {
            Some(entry) if is_listed_as_before(archive, artifact, entry).await? => {
                fresh.entries.insert(artifact.name.clone(), entry.clone());
            }
            _ => pending.push(Pending { artifact, source: 0 }),
        }
    }
    // Files of one package are unpacked together, so packages wait until it is known who needs them.
    while !pending.is_empty() {
        let mut packages: BTreeMap<Sha256Digest, Vec<(Pending<'_>, Located)>> = BTreeMap::new();
        while let Some(next) = pending.pop() {
            let source = next.source()?;
            let Some(located) = archive.locate(source).await? else {
                pending.push(next.next());
                continue;
            };
            let name = &next.artifact.name;
            if let Some(entry) = intact.get(name).filter(|entry| is_same_file(entry, source, &located)) {
                let (index_sha256, origin) = (located.index_sha256, located.origin);
                fresh.entries.insert(name.clone(), Entry { index_sha256, origin, ..entry.clone() });
            } else if located.inside.is_some() {
                packages.entry(located.expected.sha256).or_default().push((next, located));
            } else {
                match image(archive, &next, located, say).await? {
                    Some(entry) => fresh.add(name, entry),
                    None => pending.push(next.next()),
                }
            }
        }
        for files in packages.into_values() {
            match package(archive, &files, say).await? {
                Some(entries) => {
                    files.iter().zip(entries).for_each(|((file, _), entry)| fresh.add(&file.artifact.name, entry))
                }
                None => pending.extend(files.into_iter().map(|(file, _)| file.next())),
            }
        }
    }
    Ok(fresh)
}

impl Fresh {
    fn add(&mut self, name: &str, entry: Entry) {
        self.entries.insert(name.to_owned(), entry);
        self.fetched.insert(name.to_owned());
    }
}

/// Whether the source a file came from is listed in the very index that it was listed in: then it is current, and neither
/// the index nor the preferred source that was absent before has to be asked.
async fn is_listed_as_before(archive: &mut Archive<'_>, artifact: &Artifact, entry: &Entry) -> anyhow::Result<bool> {
    match artifact.sources.iter().find(|source| describe(source) == entry.source) {
        Some(source) => Ok(archive.index_of(source).await? == Some(entry.index_sha256)),
        None => Ok(false),
    }
}

fn is_same_file(entry: &Entry, source: &Source, located: &Located) -> bool {
    match located.inside {
        None => entry.sha256 == located.expected.sha256,
        Some(_) => entry.source_sha256 == located.expected.sha256 && entry.source == describe(source),
    }
}

/// Fetches a file of the installer's images; `None` when the mirror does not have it.
async fn image(
    archive: &Archive<'_>,
    wanted: &Pending<'_>,
    located: Located,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Option<Entry>> {
    let Some(path) = bring(archive, &located, say).await? else { return Ok(None) };
    let size = tokio::fs::metadata(&path).await?.len();
    let source = describe(wanted.source()?);
    let sha256 = located.expected.sha256;
    let Located { index_sha256, origin, .. } = located;
    Ok(Some(Entry { sha256, size, origin, source, source_sha256: sha256, index_sha256 }))
}

/// Fetches a package and unpacks the files wanted from it; `None` when the mirror does not have it.
async fn package(
    archive: &Archive<'_>,
    files: &[(Pending<'_>, Located)],
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Option<Vec<Entry>>> {
    let Some((_, located)) = files.first() else { return Ok(None) };
    let Some(path) = bring(archive, located, say).await? else { return Ok(None) };
    let unfinished = |file: &Pending<'_>| archive.store.unfinished(&file.artifact.name);
    let wanted: Vec<_> = files
        .iter()
        .filter_map(|(file, located)| Some(Wanted { path: located.inside.clone()?, to: unfinished(file) }))
        .collect();
    let unpacked = blocking(move || deb::extract(&path, &wanted)).await;
    let unpacked = unpacked.with_context(|| format!("unpacking {}", located.url))?;
    let mut entries = Vec::new();
    for ((file, located), (size, sha256)) in files.iter().zip(unpacked) {
        let (from, to) = (unfinished(file), archive.store.path(sha256));
        tokio::fs::rename(&from, &to).await.with_context(|| format!("writing {}", to.display()))?;
        let (origin, source) = (located.origin.clone(), describe(file.source()?));
        let (source_sha256, index_sha256) = (located.expected.sha256, located.index_sha256);
        entries.push(Entry { sha256, size, origin, source, source_sha256, index_sha256 });
    }
    Ok(Some(entries))
}

async fn bring(
    archive: &Archive<'_>,
    located: &Located,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Option<PathBuf>> {
    let name = &located.name;
    if !archive.store.holds(located.expected.sha256).await {
        match located.expected.size {
            Some(size) => say(&format!("fetching {name} ({})", Bytes(size))),
            None => say(&format!("fetching {name}")),
        }
    }
    let mut last = Instant::now();
    let mut progress = |have: u64, total: Option<u64>| {
        if last.elapsed() >= NARRATION {
            last = Instant::now();
            let total = total.map_or_else(String::new, |total| format!(" of {}", Bytes(total)));
            say(&format!("fetching {name}: {}{total}", Bytes(have)));
        }
    };
    match archive.store.fetch(archive.client, located.url.clone(), located.expected, &mut progress).await {
        Ok(path) => Ok(Some(path)),
        Err(DownloadError::Gone { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A number of bytes for people: `950 kB`, `151 MB`.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes @ ..1_000_000 => write!(f, "{} kB", bytes.div_ceil(1000)),
            bytes => write!(f, "{} MB", (bytes + 500_000) / 1_000_000),
        }
    }
}
