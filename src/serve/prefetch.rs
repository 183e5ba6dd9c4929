//! What machines will ask the mirror for, before they do: brought ahead of time, and told of where it is missing.
//!
//! It is an estimate: an installer decides on the machine, by its hardware. Hence both sources of it are taken together, what the
//! archive's metadata say of the recipe (`resolved`) and what earlier installations of it took (`installs`).

mod debian;
mod rpm;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context;
use futures_util::{StreamExt, stream};

use super::{
    installs::Installs,
    open_mirror,
    supply::{self, Supply},
};
use crate::{
    distro::Release,
    fetch::{self, BootSet, Snapshot},
    mirror::Proxy,
    plan::Plan,
};

/// How many files are fetched at a time: enough that small ones do not wait for each other's round trips, few enough for any
/// mirror.
const AT_A_TIME: usize = 4;
/// Every how many packages the operator is told.
const STEP: usize = 50;
/// How many of the missing are named in one line.
const NAMED: usize = 8;

/// What is fetched ahead of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// What machines boot from.
    BootFiles,
    /// And the packages that they install, with the metadata that lead there.
    Packages,
}

/// What was fetched ahead of time.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Packages that came from upstream, and their size in bytes.
    pub packages: usize,
    /// See `packages`.
    pub bytes: u64,
    /// Packages that were here already.
    pub here: usize,
    /// What could not be had, as a sentence each.
    pub missing: Vec<String>,
}

/// The files that machines of a plan will ask the mirror for.
#[derive(Debug, Default)]
struct Wanted {
    /// By archive and path below its root: what to call it.
    packages: BTreeMap<(String, String), String>,
    /// What cannot be had or told, as a sentence each.
    missing: Vec<String>,
}

impl Wanted {
    fn add(&mut self, mirror: &str, path: &str, name: String) {
        self.packages.insert((mirror.to_owned(), path.to_owned()), name);
    }
}

/// Brings what a plan needs into its prefix; offline it only looks whether that is there. Changes nothing else on this machine.
/// `say` is given one line at a time.
///
/// # Errors
/// Boot files that cannot be had. What else is missing is in the outcome.
pub async fn fetch(plan: &Plan, ahead: Ahead, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Fetched> {
    super::create(&plan.prefix)?;
    let client = fetch::client()?;
    let Supply { files, ledger, snapshots, .. } = supply::bring(plan, &client, say).await?;
    let mut fetched = Fetched::default();
    if ahead == Ahead::BootFiles {
        return Ok(fetched);
    }
    let mirror = open_mirror(plan, client, ledger, Arc::new(|_, _| ()))?;
    let Wanted { packages, missing } = wanted(plan, &files, &snapshots, &mirror).await?;
    say(&format!("{} packages are wanted for {}", packages.len(), plan.recipe.flavour));
    fetched.missing = missing;
    let total = packages.len();
    let bring = |(archive, path): (String, String)| {
        tracing::debug!("wanted: {archive}/{path}");
        let mirror = &mirror;
        async move { mirror.bring(&archive, &path).await }
    };
    let mut arriving = stream::iter(packages.into_keys()).map(bring).buffer_unordered(AT_A_TIME).enumerate();
    while let Some((index, outcome)) = arriving.next().await {
        match outcome {
            Ok(brought) if brought.was_here => fetched.here += 1,
            Ok(brought) => {
                fetched.packages += 1;
                fetched.bytes += brought.length;
            }
            Err(error) => fetched.missing.push(error.to_string()),
        }
        let done = index + 1;
        if done % STEP == 0 && done < total && !plan.offline {
            say(&format!("{done} of {total} packages, {} MB fetched", fetched.bytes / 1_000_000));
        }
    }
    Ok(fetched)
}

/// Brings the metadata that machines will read of the repositories' states, which upstream drops when it moves on.
pub async fn hold(release: &Release, snapshots: &[Snapshot], mirror: &Proxy) {
    let missing = rpm::metadata(release, snapshots, mirror).await;
    for error in &missing {
        tracing::warn!("what a machine may read of the repositories is not here: {error}");
    }
    if missing.is_empty() {
        tracing::info!("what machines read of the repositories is here");
    }
}

/// Says what machines will ask for and the cache does not hold. Never an error: it is an estimate.
pub async fn report(plan: &Plan, files: &BootSet, snapshots: &[Snapshot], mirror: &Proxy, say: &(dyn Fn(&str) + Sync)) {
    match lacking(plan, files, snapshots, mirror).await {
        Ok(lines) => lines.iter().for_each(|line| say(&format!("offline: {line}"))),
        Err(error) => say(&format!("offline: what is missing cannot be told: {error:#}")),
    }
}

async fn lacking(plan: &Plan, files: &BootSet, snapshots: &[Snapshot], mirror: &Proxy) -> anyhow::Result<Vec<String>> {
    let Wanted { packages, missing: mut lines } = wanted(plan, files, snapshots, mirror).await?;
    let (total, flavour, mut absent) = (packages.len(), &plan.recipe.flavour, BTreeSet::new());
    for ((archive, path), name) in packages {
        if !mirror.has(&archive, &path).await? {
            absent.insert(name);
        }
    }
    if !absent.is_empty() {
        let named = absent.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match absent.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        lines.push(format!("{} of {total} packages of {flavour} are not in the cache: {named}{more}", absent.len()));
    }
    if lines.is_empty() {
        return Ok(vec![format!("all {total} packages of {flavour} are in the cache")]);
    }
    lines.push("run `provisioner fetch` with these options while upstream can be reached".to_owned());
    Ok(lines)
}

/// What the machines of a plan will ask for. This is the one place that knows the kinds of archive.
async fn wanted(plan: &Plan, files: &BootSet, snapshots: &[Snapshot], mirror: &Proxy) -> anyhow::Result<Wanted> {
    let installs = Installs::read(&Installs::path(plan));
    let learnt: Vec<_> = installs.of(&plan.recipe).map(str::to_owned).collect();
    let wanted = match &plan.release.distro.archive.debian {
        Some(_) => debian::wanted(plan, files, mirror, learnt).await,
        None => rpm::wanted(plan, snapshots, mirror, &learnt).await,
    };
    wanted.context("looking which packages it installs")
}
