//! The way to a state: who says what is right, who has it, and what of it is here already.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use url::Url;

use super::{Inner, Snapshot, SnapshotRequest, State, Voucher};
use crate::{
    distro::{
        Mirror,
        address::{below, join, shown, without_password},
    },
    fetch::{
        digest::Expected,
        download::{DownloadError, ask},
        lock,
        openpgp::day,
        rpm::{
            comps,
            metalink::{Metalink, is, seen},
            mirrors::{PATIENCE, metalink, repomd_of},
            primary,
            repomd::{self, Listed},
        },
        store::{Store, blocking},
    },
    model::Sha256Digest,
    publish::{READABLE, replace},
};

/// A `repomd.xml` that somebody vouches for.
struct Right {
    current: Expected,
    /// States that are a little older, and still good.
    earlier: Vec<Expected>,
    voucher: Voucher,
    /// Who says so, in messages.
    source: String,
    /// Its address and content, where that was needed to know it.
    found: Option<(Url, Vec<u8>)>,
}

/// A mirror has another `repomd.xml` than the right one: of yesterday, as a rule. Only the master's state of this moment is known
/// to be right where there is no metalink, and mirrors follow it once or twice a day.
#[derive(Debug, thiserror::Error)]
#[error("comparing repomd.xml with what {0} says")]
pub(super) struct Behind(String);

/// A snapshot being taken.
pub(super) struct Taking<'a> {
    request: &'a SnapshotRequest<'a>,
    say: &'a (dyn Fn(&str) + Sync),
    pub(super) folder: PathBuf,
    store: Store,
    /// Against other provisioners on this prefix, which would write the same parts.
    _lock: File,
}

impl<'a> Taking<'a> {
    /// Prepares the folder.
    pub(super) async fn new(request: &'a SnapshotRequest<'a>, say: &'a (dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let folder = request.folder.join(&request.repo.id);
        let store = Store::open(folder.clone()).with_context(|| format!("preparing {}", folder.display()))?;
        let path = folder.with_file_name(format!("{}.lock", request.repo.id));
        let waits = || say(&format!("waiting for another provisioner that is filling {}", folder.display()));
        let held = lock::lock(&path, waits).await.with_context(|| format!("locking {}", path.display()))?;
        Ok(Self { request, say, folder, store, _lock: held })
    }

    /// The state that is right today.
    pub(super) async fn fresh(&self) -> anyhow::Result<Snapshot> {
        let right = self.right().await;
        // SECURITY: a state that was vouched for is worth more than one that is not; who blocks our questions gains nothing.
        if right.is_none()
            && let Some(kept) = self.kept().await?.filter(|kept| kept.vouched().is_trusted())
        {
            let (id, taken) = (&self.request.repo.id, day(&kept.taken()));
            (self.say)(&format!("nobody can say what is right for {id} today: using its state of {taken}"));
            return Ok(kept);
        }
        let (repomd, voucher) = self.repomd(right).await?;
        let listed = repomd::parse(&repomd).context("reading repomd.xml")?;
        let primary = primary_of(&listed)?;
        self.fetch(primary, "the list of packages").await?;
        let groups = comps::of(&listed);
        if let Some(groups) = groups {
            self.fetch(groups, "the list of groups").await?;
        }
        let (before, sha256) = (self.state(), seen(&repomd).sha256);
        let groups = groups.map(|groups| groups.expected.sha256);
        let primary = primary.expected.sha256;
        let state = State { taken: self.request.now, voucher, repomd: sha256, primary, groups };
        let path = self.store.path(sha256);
        if !self.store.holds(sha256).await {
            replace(&path, READABLE, &repomd).with_context(|| format!("writing {}", path.display()))?;
        }
        let snapshot = self.read(state.clone(), listed).await?;
        let path = self.folder.join("state.json");
        replace(&path, READABLE, &serde_json::to_vec_pretty(&state)?)
            .with_context(|| format!("writing {}", path.display()))?;
        self.prune(&state, before.as_ref());
        Ok(snapshot)
    }

    /// Which `repomd.xml` is right, by the word of the metalink, else of the master; `None` when neither can be asked.
    async fn right(&self) -> Option<Right> {
        let (client, repo) = (self.request.client, self.request.repo);
        if self.request.mirror.is_local() {
            return self.by_directory().await;
        }
        if let Some(url) = &repo.metalink {
            match metalink(client, url).await {
                Ok(Metalink { current, earlier, .. }) => {
                    let voucher = Voucher::over(url, Voucher::Metalink);
                    return Some(Right {
                        current,
                        earlier,
                        voucher,
                        source: format!("the metalink {url}"),
                        found: None,
                    });
                }
                Err(error) => (self.say)(&format!("{error:#}: asking {} instead", self.request.master)),
            }
        }
        let url = below(self.request.master, &repomd_of(&repo.path));
        match ask(client, &url, repomd::LIMIT, PATIENCE).await {
            Ok(bytes) => {
                let voucher = Voucher::over(&url, Voucher::Master);
                let (current, source) = (seen(&bytes), url.to_string());
                Some(Right { current, earlier: Vec::new(), voucher, source, found: Some((url, bytes)) })
            }
            Err(error) => {
                tracing::warn!("{:#}", anyhow::Error::from(error));
                None
            }
        }
    }

    /// What the directory has: nobody else is asked, whose newer state it could not deliver.
    async fn by_directory(&self) -> Option<Right> {
        let directory = &self.request.mirror.url;
        let url = below(directory, &repomd_of(&self.request.repo.path));
        let bytes = ask(self.request.client, &url, repomd::LIMIT, PATIENCE).await;
        let bytes = bytes.map_err(anyhow::Error::from).inspect_err(|error| tracing::warn!("{error:#}")).ok()?;
        let (current, source) = (seen(&bytes), shown(&url));
        let voucher = Voucher::Directory(directory.clone());
        Some(Right { current, earlier: Vec::new(), voucher, source, found: Some((url, bytes)) })
    }

    /// The right `repomd.xml`, from the store or from whichever mirror has it.
    async fn repomd(&self, right: Option<Right>) -> anyhow::Result<(Vec<u8>, Voucher)> {
        let repo = self.request.repo;
        let Some(Right { current, earlier, voucher, source, found }) = right else {
            let url = below(&self.request.mirror.url, &repomd_of(&repo.path));
            let bytes = ask(self.request.client, &url, repomd::LIMIT, PATIENCE).await?;
            (self.say)(&format!(
                "nobody but the mirror vouches for {}: neither its metalink nor its master answers",
                repo.id
            ));
            return Ok((bytes, Voucher::Nobody(without_password(&self.request.mirror.url))));
        };
        if self.store.holds(current.sha256).await {
            return Ok((fs::read(self.store.path(current.sha256))?, voucher));
        }
        let (mut older, mut trouble) = (None, None);
        for root in self.roots() {
            let url = below(root, &repomd_of(&repo.path));
            let answer = match &found {
                Some((at, bytes)) if *at == url => Ok(bytes.clone()),
                _ => ask(self.request.client, &url, repomd::LIMIT, PATIENCE).await,
            };
            match answer {
                Ok(bytes) if is(&current, seen(&bytes)) => return Ok((bytes, voucher)),
                Ok(bytes) if earlier.iter().any(|known| is(known, seen(&bytes))) => {
                    older = older.or(Some((bytes, url)))
                }
                Ok(bytes) => trouble = trouble.or(Some(behind(url, &current, &bytes, &source))),
                Err(error) => trouble = trouble.or(Some(error.into())),
            }
        }
        match (older, trouble) {
            (Some((bytes, url)), _) => {
                (self.say)(&format!("{url} is a little behind, but still good"));
                Ok((bytes, voucher))
            }
            (None, trouble) => Err(trouble.context("a repository has a mirror")?),
        }
    }

    /// Brings a list that `repomd.xml` names into the store, from whichever mirror has it.
    async fn fetch(&self, listed: &Listed, what: &str) -> anyhow::Result<()> {
        let (client, repo) = (self.request.client, self.request.repo);
        if !self.store.holds(listed.expected.sha256).await {
            (self.say)(&format!("fetching {what} of {}", repo.id));
        }
        let mut trouble = None;
        for root in self.roots() {
            let url = below(root, &join(&repo.path, &listed.path));
            match self.store.fetch(client, url, listed.expected, &mut |_, _| {}).await {
                Ok(_) => return Ok(()),
                Err(error @ DownloadError::Disk { .. }) => return Err(error.into()),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        let trouble: anyhow::Error = trouble.context("a repository has a mirror")?.into();
        Err(trouble.context(format!("fetching {what} that repomd.xml names")))
    }

    /// The state that was taken last, if its files are still what they were.
    pub(super) async fn kept(&self) -> anyhow::Result<Option<Snapshot>> {
        let Some(state) = self.state() else { return Ok(None) };
        if !self.store.holds(state.repomd).await || !self.store.holds(state.primary).await {
            return Ok(None);
        }
        let listed = repomd::parse(&fs::read(self.store.path(state.repomd))?).context("reading repomd.xml")?;
        Ok(Some(self.read(state, listed).await?))
    }

    /// Reads the packages of a state whose files are in the store.
    async fn read(&self, state: State, listed: Vec<Listed>) -> anyhow::Result<Snapshot> {
        let primary = primary_of(&listed)?.clone();
        ensure!(primary.expected.sha256 == state.primary, "repomd.xml names another list of packages");
        let path = self.store.path(state.primary);
        let (primary_file, groups_file) = ((path.clone(), primary.clone()), self.groups_file(&state, &listed).await);
        let primary = blocking(move || primary::read(&path, &primary)).await;
        let primary = primary.context("reading the list of packages (primary)")?;
        let read = listed.iter().filter(|listed| listed.is_read()).map(|listed| listed.path.clone()).collect();
        let metadata = listed.into_iter().map(|listed| (listed.path, listed.expected)).collect();
        let repomd = self.store.path(state.repomd);
        let _in_use = lock::in_use(&repomd);
        Ok(Snapshot(Arc::new(Inner { repomd, _in_use, state, metadata, read, primary, primary_file, groups_file })))
    }

    /// The list of groups, if it is what it was. Without it a state can be served all the same.
    async fn groups_file(&self, state: &State, listed: &[Listed]) -> Option<(PathBuf, Listed)> {
        let sha256 = state.groups?;
        let listed = listed.iter().find(|listed| listed.expected.sha256 == sha256)?;
        self.store.holds(sha256).await.then(|| (self.store.path(sha256), listed.clone()))
    }

    fn roots(&self) -> impl Iterator<Item = &Url> {
        let Mirror { url, alternates, .. } = self.request.mirror;
        std::iter::once(url).chain(alternates)
    }

    fn state(&self) -> Option<State> {
        let path = self.folder.join("state.json");
        let bytes = fs::read(&path).ok()?;
        let damaged = |error: &_| tracing::warn!("{} is damaged and ignored: {error}", path.display());
        serde_json::from_slice(&bytes).inspect_err(damaged).ok()
    }

    /// Removes what belongs neither to this state nor to the one before it, unless a run that began earlier serves it.
    fn prune(&self, state: &State, before: Option<&State>) {
        let keep: Vec<_> = std::iter::once(state).chain(before).flat_map(State::files).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.trim_end_matches(".part").parse::<Sha256Digest>().ok());
            let kept = digest.is_none_or(|digest| keep.contains(&digest));
            if !kept && lock::is_in_use(&entry.path()).is_ok_and(|used| !used) {
                // What cannot be removed is only space lost.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn primary_of(listed: &[Listed]) -> anyhow::Result<&Listed> {
    let primary = listed.iter().find(|listed| listed.kind == "primary");
    primary.context("repomd.xml lists no packages (primary) with a SHA-256 digest")
}

fn behind(url: Url, current: &Expected, bytes: &[u8], source: &str) -> anyhow::Error {
    let (expected, actual) = (current.sha256, seen(bytes).sha256);
    let error = DownloadError::Altered { url: Box::new(url), expected, actual };
    anyhow::Error::from(error).context(Behind(source.to_owned()))
}
