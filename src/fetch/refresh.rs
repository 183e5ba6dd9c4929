//! Which files of a release are still current, and the others into the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    Client,
    archive::{Archive, Container, Content, Located, Wanted},
    digest::Expected,
    download::{self, DownloadError},
    manifest::Entry,
    store::Store,
};
use crate::{
    distro::{Artifact, Source, address::shown},
    model::{Bytes, Hinted, Sha256Digest},
};

/// How often a long download says how far it is.
const NARRATION: Duration = Duration::from_secs(5);

/// The most that a file may have which nothing lists: boot loaders have some 5 MB.
const UNLISTED_LIMIT: usize = 64 << 20;

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

/// Files wanted from one container, and where each is inside.
struct Unpacking<'a> {
    located: Located,
    expected: Expected,
    files: Vec<(Pending<'a>, String)>,
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

/// What brings files into the store.
#[derive(Clone, Copy)]
pub struct Refresh<'a> {
    /// The client to fetch with.
    pub client: &'a Client,
    /// Where files go.
    pub store: &'a Store,
    /// Told how it goes, one line at a time.
    pub say: &'a (dyn Fn(&str) + Sync),
}

impl Refresh<'_> {
    /// Brings every artifact that is not in `intact`, or not current any more, into the store.
    pub async fn run(
        self,
        archive: &mut Archive<'_>,
        artifacts: &[&Artifact],
        intact: &BTreeMap<String, Entry>,
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
        // Files of one container are unpacked together, so containers wait until it is known who needs them.
        while !pending.is_empty() {
            let mut containers: BTreeMap<(Container, Sha256Digest), Unpacking<'_>> = BTreeMap::new();
            while let Some(next) = pending.pop() {
                let source = next.source()?;
                let Some(located) = archive.locate(source).await? else {
                    pending.push(next.next());
                    continue;
                };
                let name = &next.artifact.name;
                if let Some(entry) = intact.get(name).filter(|entry| is_same_file(entry, source, &located)) {
                    fresh.entries.insert(name.clone(), listed_anew(entry, located));
                    continue;
                }
                let (container, expected, inside) = match &located.content {
                    Content::Inside(container, expected, inside) => (*container, *expected, inside.clone()),
                    Content::Listed(_) | Content::Unlisted => {
                        match self.file(&located, source).await? {
                            Some(entry) => fresh.add(name, entry),
                            None => pending.push(next.next()),
                        }
                        continue;
                    }
                };
                let files = &mut containers
                    .entry((container, expected.sha256))
                    .or_insert(Unpacking { located, expected, files: Vec::new() })
                    .files;
                files.push((next, inside));
            }
            for ((container, _), unpacking) in containers {
                match self.unpacked(archive, container, &unpacking).await? {
                    Some(entries) => unpacking
                        .files
                        .iter()
                        .zip(entries)
                        .for_each(|((file, _), entry)| fresh.add(&file.artifact.name, entry)),
                    None => pending.extend(unpacking.files.into_iter().map(|(file, _)| file.next())),
                }
            }
        }
        Ok(fresh)
    }

    /// Fetches a file that the archive has as it is wanted; `None` when no mirror has it.
    async fn file(self, located: &Located, source: &Source) -> anyhow::Result<Option<Entry>> {
        let sha256 = match located.content {
            Content::Listed(expected) => self.bring(located, expected).await?.map(|_| expected.sha256),
            _ => self.bring_unlisted(located).await?,
        };
        let Some(sha256) = sha256 else { return Ok(None) };
        let size = tokio::fs::metadata(self.store.path(sha256)).await?.len();
        Ok(Some(entry(located, source, sha256, size, sha256)))
    }

    /// Fetches a container and unpacks the files wanted from it; `None` when no mirror has it.
    async fn unpacked(
        self,
        archive: &Archive<'_>,
        container: Container,
        unpacking: &Unpacking<'_>,
    ) -> anyhow::Result<Option<Vec<Entry>>> {
        let Unpacking { located, expected, files } = unpacking;
        let Some(path) = self.bring(located, *expected).await? else { return Ok(None) };
        let unfinished = |file: &Pending<'_>| self.store.unfinished(&file.artifact.name);
        let wanted = files.iter().map(|(file, inside)| Wanted { path: inside.clone(), to: unfinished(file) }).collect();
        let unpacked = archive.unpack(container, located, path, wanted).await;
        let (unpacked, origin) = unpacked.with_context(|| match located.urls.first() {
            Some(url) => format!("unpacking {}", shown(url)),
            None => format!("unpacking {}", located.name),
        })?;
        let mut entries = Vec::new();
        for ((file, inside), (size, sha256)) in files.iter().zip(unpacked) {
            let (from, to) = (unfinished(file), self.store.path(sha256));
            tokio::fs::rename(&from, &to).await.with_context(|| format!("writing {}", to.display()))?;
            let origin = match container {
                Container::Package => origin.clone(),
                Container::Image => format!("{inside} in {origin}"),
            };
            let entry = entry(located, file.source()?, sha256, size, expected.sha256);
            entries.push(Entry { origin, ..entry });
        }
        Ok(Some(entries))
    }

    /// A file whose digest is known, from the first mirror that delivers it; `None` when none of them has it. One that serves other
    /// bytes is named to the operator, and the next one asked: the digest judges whatever comes.
    async fn bring(self, located: &Located, expected: Expected) -> anyhow::Result<Option<PathBuf>> {
        let (name, say) = (&located.name, self.say);
        if !self.store.holds(expected.sha256).await {
            match expected.size {
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
        let (mut failures, mut urls) = (Vec::new(), located.urls.iter().peekable());
        while let Some(url) = urls.next() {
            match self.store.fetch(self.client, url.clone(), expected, &mut progress).await {
                Ok(path) => return Ok(Some(path)),
                Err(error @ DownloadError::Disk { .. }) => return Err(error.into()),
                Err(error) => {
                    if is_wrong(&error) && urls.peek().is_some() {
                        say(&format!("{error}: asking another mirror"));
                    }
                    failures.push(error);
                }
            }
        }
        verdict(name, failures).map_or(Ok(None), Err)
    }

    /// A file that nothing lists, for whose address the certificate of the server has to do.
    async fn bring_unlisted(self, located: &Located) -> anyhow::Result<Option<Sha256Digest>> {
        let Some(url) = located.urls.first() else { return Ok(None) };
        (self.say)(&format!("fetching {}", located.name));
        match download::read(self.client, url, UNLISTED_LIMIT).await {
            Ok(bytes) => Ok(Some(self.store.keep(bytes).await?)),
            Err(DownloadError::Gone { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why no mirror delivers a file; `None` when it is nowhere.
fn verdict(name: &str, mut failures: Vec<DownloadError>) -> Option<anyhow::Error> {
    // What is served altered is worse than what is not served: a complete cache is no remedy for it.
    let unreachable = |error: &DownloadError| matches!(error, DownloadError::Unreachable { .. });
    let first = failures.iter().position(is_wrong).or_else(|| failures.iter().position(unreachable))?;
    let first = anyhow::Error::from(failures.remove(first));
    if failures.is_empty() {
        return Some(first);
    }
    let others: Vec<_> = failures.into_iter().map(|error| format!("{:#}", anyhow::Error::from(error))).collect();
    Some(first.context(format!("no mirror delivers {name} ({})", others.join("; "))))
}

/// Whether a mirror serves another file than the one that is listed.
fn is_wrong(error: &DownloadError) -> bool {
    matches!(error, DownloadError::WrongSize { .. } | DownloadError::Altered { .. })
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
    let Some(source) = artifact.sources.iter().find(|source| describe(source) == entry.source) else {
        return Ok(false);
    };
    let listing = archive.listing(source).await?;
    Ok(listing.is_some_and(|listing| listing.index_sha256 == entry.index_sha256 && entry.level >= listing.level))
}

fn is_same_file(entry: &Entry, source: &Source, located: &Located) -> bool {
    match &located.content {
        Content::Listed(expected) => entry.sha256 == expected.sha256,
        Content::Unlisted => false,
        // SECURITY: of a package, the digest alone does not say that its signature was looked at.
        Content::Inside(_, expected, _) => {
            let same = entry.source_sha256 == expected.sha256 && entry.source == describe(source);
            same && entry.level >= located.listing.level
        }
    }
}

/// A file that is the same, though something else lists it now.
fn listed_anew(entry: &Entry, located: Located) -> Entry {
    // What was learnt on the way inside, such as who signed a package, stands in the old words only.
    let origin = match located.content {
        Content::Inside(..) => entry.origin.clone(),
        Content::Listed(_) | Content::Unlisted => located.origin,
    };
    let (index_sha256, level) = (located.listing.index_sha256, located.listing.level);
    Entry { index_sha256, level, origin, ..entry.clone() }
}

fn entry(located: &Located, source: &Source, sha256: Sha256Digest, size: u64, source_sha256: Sha256Digest) -> Entry {
    let (index_sha256, level) = (located.listing.index_sha256, located.listing.level);
    let (origin, source) = (located.origin.clone(), describe(source));
    Entry { sha256, size, origin, source, source_sha256, index_sha256, level }
}
