//! The way to a state: what the mirror has today, and what was kept of an earlier day.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::{self, File},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    FromStart, Index, Suite, SuitesRequest, list, parent,
    signed::{self, Fetched},
    state::{Kept, State, chosen, index, key},
};
use crate::{
    distro,
    fetch::{
        archive::{Expired, Outdated},
        debian::{SUITES, metadata, packages, release_file::ReleaseFile, table::Table},
        digest::{Expected, of_bytes},
        download::{self, DownloadError},
        lock,
        manifest::Stamp,
        openpgp::day,
        store::{Store, blocking},
    },
    model::{Hinted, Sha256Digest},
    publish::{READABLE, replace},
};

/// How long the archive of a further suite may take to say what it has, while nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(30);
/// From this on a list of packages is worth a line before it comes.
const LONG: u64 = 1_000_000;

/// A suite that was taken, and its packages.
pub(super) struct Taken {
    pub kept: Kept,
    pub suite: Suite,
    pub lists: Vec<(Index, Table)>,
}

/// Suites being taken.
pub(super) struct Taking<'a> {
    request: &'a SuitesRequest<'a>,
    say: &'a (dyn Fn(&str) + Sync),
    folder: PathBuf,
    store: Store,
    before: State,
    /// Suites share files, such as a list without packages: two downloads of one digest would write to one file.
    under_way: Mutex<HashMap<Sha256Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// Against other provisioners on this prefix, which would write the same parts.
    _lock: File,
}

impl<'a> Taking<'a> {
    /// Prepares the folder.
    pub async fn new(request: &'a SuitesRequest<'a>, say: &'a (dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let folder = request.folder.join(request.release.uid()).join(SUITES);
        let store = Store::open(folder.clone()).with_context(|| format!("preparing {}", folder.display()))?;
        let path = folder.with_extension("lock");
        let waits = || say(&format!("waiting for another provisioner that is filling {}", folder.display()));
        let held = lock::lock(&path, waits).await.with_context(|| format!("locking {}", path.display()))?;
        let before = State::of(&folder.join("state.json")).unwrap_or_default();
        Ok(Self { request, say, folder, store, before, under_way: Mutex::default(), _lock: held })
    }

    /// A suite as it is today, or was; `None` when nothing is known of it.
    pub async fn suite(&self, wanted: &distro::Suite<'_>, required: bool) -> anyhow::Result<Option<Taken>> {
        let (name, known) = (&wanted.name, self.before.suites.get(&key(wanted)));
        let before = known.and_then(Option::as_ref);
        let taken = if self.request.offline {
            match (before, known) {
                (Some(before), _) => self.kept(wanted, before).await?,
                (None, Some(_)) => return Ok(None),
                (None, None) => None,
            }
            .ok_or_else(|| {
                let what = format!("the cache {} lacks the state of the suite {name}", self.folder.display());
                Hinted::new(what, "run once without --offline to fetch it")
            })?
        } else {
            match self.fresh(wanted, before, required).await {
                Ok(taken) => taken,
                Err(error) if is_passing(&error) => match before {
                    Some(before) => {
                        let Some(taken) = self.kept(wanted, before).await? else { return Err(error) };
                        (self.say)(&format!("using the state of {name} of {}: {error:#}", day(&before.taken)));
                        taken
                    }
                    // SECURITY: an old state that is played back must not make a suite one of which nothing is known.
                    None if required || error.is::<Expired>() => return Err(error),
                    None => {
                        (self.say)(&format!("nothing is known of the files of {name}: {error:#}"));
                        return Ok(None);
                    }
                },
                Err(error) => return Err(error),
            }
        };
        (self.say)(&taken.summary());
        for text in &taken.suite.texts {
            if let Some(until) = text.valid_until.filter(|&until| until < self.request.now) {
                let until = day(&until);
                (self.say)(&format!(
                    "the state of {name} was valid until {until}: APT on the machines is told to take it"
                ));
            }
        }
        Ok(Some(taken))
    }

    /// Remembers what was taken, and removes what belongs neither to it nor to the state before, unless a run that began earlier
    /// serves it.
    pub fn keep<'t>(
        &self,
        taken: impl Iterator<Item = (&'t distro::Suite<'t>, &'t Option<Taken>)>,
    ) -> anyhow::Result<()> {
        let kept = |taken: &Option<Taken>| taken.as_ref().map(|taken| taken.kept.clone());
        let state = State { suites: taken.map(|(wanted, taken)| (key(wanted), kept(taken))).collect() };
        if self.request.offline {
            return Ok(());
        }
        let path = self.folder.join("state.json");
        replace(&path, READABLE, &serde_json::to_vec_pretty(&state)?)
            .with_context(|| format!("writing {}", path.display()))?;
        let states = state.suites.values().chain(self.before.suites.values()).flatten();
        let keep: Vec<_> = states.flat_map(Kept::digests).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.trim_end_matches(".part").parse::<Sha256Digest>().ok());
            let kept = digest.is_none_or(|digest| keep.contains(&digest));
            if !kept && lock::is_in_use(&entry.path()).is_ok_and(|used| !used) {
                // What cannot be removed is only space lost.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// A suite on its mirror, judged at a moment.
    fn at<'s>(&'s self, wanted: &'s distro::Suite<'_>, now: Timestamp) -> metadata::Suite<'s> {
        let SuitesRequest { client, keyring, .. } = *self.request;
        metadata::Suite { client, mirror: &wanted.mirror.url, name: &wanted.name, keyring, now }
    }

    /// The state that is right today.
    async fn fresh(&self, wanted: &distro::Suite<'_>, before: Option<&Kept>, required: bool) -> anyhow::Result<Taken> {
        let suite = self.at(wanted, self.request.now);
        let asking = signed::fetch(&suite);
        let fetched = if required { asking.await } else { patiently(asking, wanted).await }?;
        let mut kept = Kept {
            taken: self.request.now,
            in_release: None,
            release: None,
            stamps: Vec::new(),
            lists: BTreeMap::new(),
        };
        for (release, signed) in fetched.texts() {
            let stamp = Stamp {
                version: release.version_or_codename().to_owned(),
                date: release.date,
                signer: signed.signer.clone(),
            };
            let is_comparable = |known: &&Stamp| suite.keyring.are_of_one_archive(&known.signer, &stamp.signer);
            let known = before.iter().flat_map(|before| &before.stamps).filter(is_comparable);
            if let Some(known) = known.map(|known| known.date).max().filter(|&known| known > stamp.date) {
                let (what, mirror) = (format!("the metadata of {}", wanted.name), wanted.mirror.url.clone());
                return Err(Outdated { what, mirror, offered: stamp.date, known }.into());
            }
            kept.stamps.push(stamp);
        }
        kept.lists =
            self.lists(wanted, &fetched.texts().map(|(release, _)| release).collect::<Vec<_>>(), required).await?;
        if let Some((bytes, _)) = fetched.in_release {
            kept.in_release = Some(self.store_signed(bytes).await?);
        }
        if let Some((text, signature, _)) = fetched.release {
            kept.release = Some((self.store_signed(text).await?, self.store_signed(signature).await?));
        }
        self.read(wanted, kept).await
    }

    async fn store_signed(&self, bytes: Vec<u8>) -> anyhow::Result<Sha256Digest> {
        let sha256 = of_bytes(&bytes);
        let _alone = self.alone(sha256).await;
        if self.store.holds(sha256).await { Ok(sha256) } else { self.store.keep(bytes).await }
    }

    /// Brings the lists of packages that an installation uses into the store.
    async fn lists(
        &self,
        wanted: &distro::Suite<'_>,
        texts: &[&ReleaseFile],
        installers: bool,
    ) -> anyhow::Result<BTreeMap<String, Sha256Digest>> {
        let release = self.request.release;
        let all = texts.iter().any(|text| text.all_apart).then_some("all");
        let arches = || [release.arch_name.as_str()].into_iter().chain(all);
        let mut paths = Vec::new();
        for component in release.components() {
            let folders = arches().map(|arch| format!("{component}/binary-{arch}"));
            // The installer takes its own parts from the release's own suite only.
            let own = installers.then(|| format!("{component}/debian-installer/binary-{}", release.arch_name));
            for folder in folders.chain(own) {
                let forms = packages::FORMS.iter().map(|form| format!("{folder}/Packages{form}"));
                paths.extend(forms.into_iter().find(|path| texts.iter().any(|text| text.file(path).is_some())));
            }
        }
        let brought = paths.into_iter().map(async |path| {
            let list =
                self.list(wanted, texts, &path).await.with_context(|| format!("fetching {path} of {}", wanted.name));
            anyhow::Ok(list?.map(|sha256| (path, sha256)))
        });
        Ok(try_join_all(brought).await?.into_iter().flatten().collect())
    }

    /// Brings one of them; `None` when the mirror does not have it.
    async fn list(
        &self,
        wanted: &distro::Suite<'_>,
        texts: &[&ReleaseFile],
        path: &str,
    ) -> anyhow::Result<Option<Sha256Digest>> {
        let (suite, client) = (self.at(wanted, self.request.now), self.request.client);
        let mut right: Vec<(Expected, bool)> =
            texts.iter().filter_map(|text| Some((text.file(path)?, text.by_hash))).collect();
        right.dedup_by_key(|(expected, _)| expected.sha256);
        // Two signers, two contents: it is the one that the mirror has by this name.
        if right.len() > 1 {
            let limit = right.iter().filter_map(|(expected, _)| expected.size).max().unwrap_or_default();
            let limit = usize::try_from(limit).context("it is longer than this machine's memory")?;
            match download::read(client, &suite.url(path), limit).await {
                Ok(bytes) => {
                    let sha256 = of_bytes(&bytes);
                    if right.iter().any(|(expected, _)| expected.sha256 == sha256) {
                        return self.store_signed(bytes).await.map(Some);
                    }
                }
                Err(DownloadError::Gone { .. } | DownloadError::WrongSize { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let installer = path.contains("/debian-installer/");
        for (expected, by_hash) in right {
            let _alone = self.alone(expected.sha256).await;
            if expected.size.is_some_and(|size| size >= LONG) && !self.store.holds(expected.sha256).await {
                (self.say)(&format!("fetching the list of packages of {} ({})", wanted.name, parent(path)));
            }
            // Under its digest a list stays what it is when the mirror is updated between `InRelease` and here.
            let under_digest = by_hash.then(|| format!("{}/by-hash/SHA256/{}", parent(path), expected.sha256));
            for path in under_digest.iter().map(String::as_str).chain([path]) {
                match self.store.fetch(client, suite.url(path), expected, &mut |_, _| {}).await {
                    Ok(_) => return Ok(Some(expected.sha256)),
                    Err(DownloadError::Gone { .. }) => {}
                    // QUIRK: mirrors let these get out of step with what is signed. What they list stays unverified.
                    Err(error @ (DownloadError::Altered { .. } | DownloadError::WrongSize { .. })) if installer => {
                        (self.say)(&format!("the installer's packages of {} are not known: {error}", wanted.name));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(None)
    }

    /// Waits until nobody else brings the file of this digest.
    async fn alone(&self, sha256: Sha256Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let one = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(under_way.entry(sha256).or_default())
        };
        one.lock_owned().await
    }

    /// A state that was taken before, if its files are still what they were.
    async fn kept(&self, wanted: &distro::Suite<'_>, kept: &Kept) -> anyhow::Result<Option<Taken>> {
        for sha256 in kept.digests() {
            let _alone = self.alone(sha256).await;
            if !self.store.holds(sha256).await {
                return Ok(None);
            }
        }
        let taken = self.read(wanted, kept.clone()).await;
        taken.map(Some).with_context(|| format!("reading the kept state of {}", wanted.name))
    }

    /// Reads a state whose files are in the store.
    async fn read(&self, wanted: &distro::Suite<'_>, kept: Kept) -> anyhow::Result<Taken> {
        let file = |sha256: Sha256Digest| {
            let path = self.store.path(sha256);
            fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        // What was good when it was taken is what it was; how old it is the operator is told.
        let suite = self.at(wanted, kept.taken);
        let (mut texts, mut judged) = (Vec::new(), Vec::new());
        let mut named = Vec::new();
        if let Some(sha256) = kept.in_release {
            let (text, signed) = suite.in_release(&file(sha256)?)?;
            texts.push(text);
            judged.push(signed);
            named.push(("InRelease", sha256));
        }
        if let Some((release, signature)) = kept.release {
            let (text, signed) = suite.release(&file(release)?, &file(signature)?)?;
            texts.push(text);
            judged.push(signed);
            named.extend([("Release", release), ("Release.gpg", signature)]);
        }
        let mut files = chosen(&texts, &kept.lists);
        files.extend(named.into_iter().map(|(name, sha256)| (name.to_owned(), Expected { size: None, sha256 })));
        let lists = kept.lists.iter().map(async |(path, sha256)| {
            let index = index(wanted, path, self.store.path(*sha256)).context("a list that was asked for")?;
            let (from, name, folder) = (index.path.clone(), index.name.clone(), parent(path).to_owned());
            let table = blocking(move || list(&mut FromStart { file: &fs::File::open(from)?, at: 0 }, &name, &folder));
            anyhow::Ok((index, table.await.with_context(|| format!("reading {path} of {}", wanted.name))?))
        });
        let lists = try_join_all(lists).await?;
        let here: HashMap<_, _> = kept.digests().map(|sha256| (sha256, self.store.path(sha256))).collect();
        let suite = Suite {
            mirror: wanted.mirror.id.clone(),
            name: wanted.name.clone(),
            alias: texts.first().map_or_else(String::new, |text| text.suite.clone()),
            taken: kept.taken,
            signed: judged.into_iter().next(),
            texts,
            files,
            _in_use: here.values().filter_map(|path| lock::in_use(path)).collect(),
            here,
        };
        Ok(Taken { kept, suite, lists })
    }
}

impl Taken {
    /// One line for the operator.
    fn summary(&self) -> String {
        let packages: usize = self.lists.iter().map(|(_, table)| table.len()).sum();
        let mut stamps = self.kept.stamps.iter();
        let first = stamps.next().map(|stamp| (day(&stamp.date), stamp.signer.as_str())).unwrap_or_default();
        let other = stamps.find(|stamp| stamp.signer != first.1);
        let other = other.map(|stamp| format!(" (its Release by {})", stamp.signer)).unwrap_or_default();
        let (name, packages, (date, signer)) = (&self.suite.name, Grouped(packages), first);
        format!("suite {name} of {date}: {packages} packages, signed by {signer}{other}")
    }
}

/// Whether an error means only that nothing newer can be learnt.
fn is_passing(error: &anyhow::Error) -> bool {
    is_gone(error)
        || matches!(error.downcast_ref(), Some(DownloadError::Unreachable { .. }))
        || error.is::<Outdated>()
        || error.is::<Expired>()
}

fn is_gone(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DownloadError::Gone { .. }))
}

async fn patiently(
    asking: impl Future<Output = anyhow::Result<Fetched>>,
    wanted: &distro::Suite<'_>,
) -> anyhow::Result<Fetched> {
    let silent = || DownloadError::silent(&wanted.mirror.url, PATIENCE);
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(silent().into()))
}

/// A number with its thousands apart: `63,440`.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number @ ..1000 => write!(f, "{number}"),
            number => write!(f, "{},{:03}", Grouped(number / 1000), number % 1000),
        }
    }
}
