//! The boot files of a release on the disk: `<prefix>/boot/<uid>/`.
//!
//! That folder has what is right today. Each run serves what was right when it took it, from a folder of its own in there.

pub(super) mod own_folder;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use jiff::Timestamp;

use self::own_folder::OwnFolder;
use super::{
    Client, Level, Packages, Suites,
    archive::{Archive, Expired, Outdated},
    digest,
    download::{DownloadError, part_of},
    keyring::Keyring,
    lock,
    manifest::{Entry, Manifest},
    openpgp::day,
    refresh::{Fresh, Refresh, describe},
    store::{Store, blocking},
};
use crate::{
    distro::{Artifact, Release},
    model::{Hinted, Sha256Digest, Trust},
};

/// What is to be obtained, from where, and who is believed.
pub struct Request<'a> {
    /// The release whose artifacts are wanted, from its main archive.
    pub release: &'a Release,
    /// Who may sign the archive's metadata.
    pub keyring: &'a Keyring,
    /// `<prefix>/boot`.
    pub folder: &'a Path,
    /// The client to fetch with.
    pub client: &'a Client,
    /// What has to vouch for the files; `None` takes the strictest that the release has.
    pub trust: Option<Trust>,
    /// The suites that machines install from: what was taken of them at `now` counts for the boot files too, so that both are of
    /// one state. Others are asked for.
    pub suites: &'a Suites,
    /// Where the repositories have a package; asked for files that come out of an RPM.
    pub packages: &'a Packages<'a>,
    /// Use the cache and ask nobody.
    pub offline: bool,
    /// Now: what keys, signatures and metadata are judged by.
    pub now: Timestamp,
}

/// The verified boot files of a release.
#[derive(Debug, Clone)]
pub struct BootSet {
    files: BTreeMap<String, VerifiedFile>,
    provenance: String,
    level: Level,
    is_current: bool,
    /// Where its files are.
    folder: PathBuf,
    _held: Arc<Held>,
}

/// What keeps a set's files as they are. In the order in which it is let go.
#[derive(Debug)]
struct Held {
    _own: Option<OwnFolder>,
    /// Nobody removes the set while this is locked.
    _in_use: Option<File>,
}

/// A file whose every byte is what was vouched for, as of when the set was obtained. It is there as long as its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// The name it is served by.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Where it comes from and what vouched for it, for people.
    pub origin: String,
}

impl BootSet {
    /// The file that is served by this name.
    pub fn file(&self, name: &str) -> Option<&VerifiedFile> {
        self.files.get(name)
    }

    /// All files, by name.
    pub fn files(&self) -> impl Iterator<Item = &VerifiedFile> {
        self.files.values()
    }

    /// What vouches for the set: `Debian 13.7, signed by …`, or `cached, verified on …: mirror cannot be reached`.
    pub fn provenance(&self) -> &str {
        &self.provenance
    }

    /// What vouches for every file of the set: that of the file with the least.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether the archive has confirmed it just now; otherwise it is the one of before, for the reason in its provenance.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// A folder for further files that belong to the set, as long as it lives.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn new(cache: &Cache, entries: BTreeMap<String, Entry>, provenance: String) -> Self {
        // Where the file system knows no links, the set's own files are served, of which another run may make others.
        let own = cache.own_folder(&entries).inspect_err(|error| tracing::warn!("{error:#}")).ok();
        let folder = own.as_ref().map_or(&*cache.folder, OwnFolder::path).to_owned();
        let file = |(name, entry): (String, Entry)| {
            let Entry { size, sha256, origin, .. } = entry;
            (name.clone(), VerifiedFile { path: folder.join(&name), name, size, sha256, origin })
        };
        let level = weakest(&entries);
        let held = Arc::new(Held { _own: own, _in_use: lock::in_use(&cache.folder) });
        Self {
            files: entries.into_iter().map(file).collect(),
            provenance,
            level,
            is_current: true,
            folder,
            _held: held,
        }
    }
}

fn weakest(entries: &BTreeMap<String, Entry>) -> Level {
    entries.values().map(|entry| entry.level).min().unwrap_or(Level::Signed)
}

/// Makes the folder of a release. Nobody removes what is in it, by a prune, as long as the result lives.
///
/// # Errors
/// When it cannot be made or locked.
pub async fn hold(boot: &Path, uid: &str, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Option<File>> {
    let cache = Cache::lock(boot, uid, say).await?;
    Ok(lock::in_use(&cache.folder))
}

/// Makes every boot file of the release current and verified in the cache. `say` is given one line at a time.
///
/// The archive is asked what is current; files of the cache that still are stay, after their bytes were hashed again. When
/// the mirror cannot be reached, a complete cache is used as it is. Runs of several processes on one folder take turns.
///
/// # Errors
/// Whatever does not verify; a mirror that cannot be reached (or `offline`) while the cache is not complete.
pub async fn obtain(request: &Request<'_>, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<BootSet> {
    let release = request.release;
    // Two loaders may share a file.
    let mut names = BTreeSet::new();
    let artifacts: Vec<_> = release.artifacts().filter(|artifact| names.insert(&artifact.name)).collect();
    let cache = Cache::lock(request.folder, release.uid(), say).await?;
    let cached = cache.check(&artifacts, request.trust).await?;
    if request.offline {
        let set = cached.complete(&cache, "--offline");
        return set.map_err(|why| Hinted::new(why, "run once without --offline to fetch the boot files").into());
    }
    for broken in &cached.broken {
        say(&format!("{broken}: fetching it again"));
    }
    match online(request, &artifacts, &cache, &cached, say).await {
        Ok(set) => Ok(set),
        Err(error) => {
            let Some(reason) = why_not_current(&error) else { return Err(error) };
            let set = cached.complete(&cache, reason).map_err(|why| {
                if error.is::<Expired>() {
                    return error;
                }
                let mirror = release.archive().shown();
                let hint = format!("check that this machine reaches {mirror}, or take another mirror (--mirror)");
                error.context(Hinted::new(format!("{why}; fetching from {mirror} failed"), hint))
            })?;
            say(&format!("using the boot files of {}: {}", release.uid(), set.provenance()));
            Ok(set)
        }
    }
}

/// Whether an error means only that nothing newer can be learnt, so that a complete cache will do.
fn why_not_current(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(DownloadError::Unreachable { .. }) => Some("mirror cannot be reached"),
        _ if error.is::<Outdated>() => Some("the mirror is older than that"),
        _ if error.is::<Expired>() => Some("the mirror is not up to date"),
        _ => None,
    }
}

async fn online(
    request: &Request<'_>,
    artifacts: &[&Artifact],
    cache: &Cache,
    cached: &Cached,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<BootSet> {
    let store =
        Store::open(cache.folder.join(".fetch")).with_context(|| format!("preparing {}", cache.folder.display()))?;
    let known = cached.manifest.as_ref().map(|manifest| manifest.stamps.clone()).unwrap_or_default();
    let mut archive = Archive::new(request, &store, known, say);
    let fresh =
        Refresh { client: request.client, store: &store, say }.run(&mut archive, artifacts, &cached.intact).await?;
    let (stamps, provenance) = (archive.stamps(), archive.provenance());
    let manifest = Manifest { verified_at: request.now, stamps, files: fresh.entries.clone() };
    cache.publish(store, manifest, &fresh, archive.digests()).await?;
    Ok(BootSet::new(cache, fresh.entries, provenance))
}

/// The folder of one release, held against other provisioners while this lives.
struct Cache {
    folder: PathBuf,
    _lock: File,
}

impl Cache {
    async fn lock(boot: &Path, uid: &str, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let (folder, path) = (boot.join(uid), boot.join(format!("{uid}.lock")));
        let make =
            |folder: &Path| fs::create_dir_all(folder).with_context(|| format!("preparing {}", folder.display()));
        make(boot)?;
        let waits = || say(&format!("waiting for another provisioner that is filling {}", folder.display()));
        let held = lock::lock(&path, waits).await.with_context(|| format!("locking {}", path.display()))?;
        // Not before: whoever removes it has the lock.
        make(&folder)?;
        Ok(Self { folder, _lock: held })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A folder of a run's own, with these files in it.
    fn own_folder(&self, entries: &BTreeMap<String, Entry>) -> anyhow::Result<OwnFolder> {
        let linking = || format!("keeping the files of {} as they are for this run", self.folder.display());
        let own = OwnFolder::make(&self.folder).with_context(linking)?;
        for name in entries.keys() {
            own.link(&self.path(name), name).with_context(linking)?;
        }
        Ok(own)
    }

    /// Hashes what the manifest says is here. What the operator would not believe is not here.
    async fn check(&self, artifacts: &[&Artifact], trust: Option<Trust>) -> anyhow::Result<Cached> {
        let path = self.path("manifest.json");
        let manifest = Manifest::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut cached = Cached { manifest, intact: BTreeMap::new(), broken: Vec::new(), absent: Vec::new() };
        for artifact in artifacts {
            // A file from a source that is not asked any more is not the file that is wanted.
            let known = cached.manifest.as_ref().and_then(|manifest| manifest.files.get(&artifact.name));
            let known = known.filter(|entry| artifact.sources.iter().any(|source| describe(source) == entry.source));
            let known = known.filter(|entry| trust != Some(Trust::Signed) || entry.level == Level::Signed);
            let (name, path) = (artifact.name.clone(), self.path(&artifact.name));
            let Some(entry) = known.cloned() else {
                cached.absent.push(name);
                continue;
            };
            let hashed = path.clone();
            match blocking(move || digest::of_file(&hashed)).await {
                Ok((_, sha256)) if sha256 == entry.sha256 => drop(cached.intact.insert(name, entry)),
                Ok((_, sha256)) => cached.broken.push(format!(
                    "{} is damaged: its SHA-256 is {sha256} instead of {}",
                    path.display(),
                    entry.sha256
                )),
                Err(error) if error.kind() == io::ErrorKind::NotFound => cached.absent.push(name),
                Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
            }
        }
        Ok(cached)
    }

    /// Gives the fetched files their names, all together, and writes the manifest.
    async fn publish(
        &self,
        store: Store,
        manifest: Manifest,
        fresh: &Fresh,
        keep: HashSet<Sha256Digest>,
    ) -> anyhow::Result<()> {
        let file = |name: &String| (store.path(fresh.entries[name].sha256), self.path(name));
        let files: Vec<_> = fresh.fetched.iter().map(file).collect();
        let folder = self.folder.clone();
        blocking(move || {
            for (from, to) in &files {
                let part = part_of(to);
                // A link, since two names may have one content; a copy where the file system knows no links.
                let _ = fs::remove_file(&part);
                fs::hard_link(from, &part)
                    .or_else(|_| fs::copy(from, &part).and_then(|_| File::open(&part)?.sync_all()))
                    .with_context(|| format!("writing {}", part.display()))?;
            }
            for (_, to) in &files {
                fs::rename(part_of(to), to).with_context(|| format!("writing {}", to.display()))?;
            }
            manifest.write(&folder.join("manifest.json"))?;
            File::open(&folder)?.sync_all().with_context(|| format!("writing {}", folder.display()))?;
            store.prune(&keep);
            Ok(())
        })
        .await
    }
}

/// What the cache holds, before anybody was asked.
struct Cached {
    manifest: Option<Manifest>,
    /// Files whose bytes are what the manifest says.
    intact: BTreeMap<String, Entry>,
    /// Files whose bytes are not, as a sentence.
    broken: Vec<String>,
    /// Names of files that are not here.
    absent: Vec<String>,
}

impl Cached {
    /// The set as it lies in the cache, or what it lacks.
    fn complete(&self, cache: &Cache, reason: &str) -> Result<BootSet, String> {
        if let Some(broken) = self.broken.first() {
            return Err(broken.clone());
        }
        match &self.manifest {
            Some(manifest) if self.absent.is_empty() => {
                let level = match weakest(&self.intact) {
                    Level::Signed => String::new(),
                    level => format!(" ({level})"),
                };
                let provenance = format!("cached, verified on {}{level}: {reason}", day(&manifest.verified_at));
                Ok(BootSet { is_current: false, ..BootSet::new(cache, self.intact.clone(), provenance) })
            }
            _ => Err(format!("the cache {} lacks {}", cache.folder.display(), self.absent.join(", "))),
        }
    }
}
