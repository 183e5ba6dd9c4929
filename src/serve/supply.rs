//! What a run serves, brought here and verified before any machine asks: the repositories' state, the boot files, and what the
//! mirror is told of both.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use jiff::Timestamp;
use url::Url;

use super::ledger::{RunLedger, SuiteLedger};
use crate::{
    distro::{Mirror, Release, address, treeinfo},
    fetch::{self, BootSet, PackageAt, Snapshot},
    mirror,
    plan::Plan,
    publish::{READABLE, replace},
};

/// Everything that has to be here before a machine may boot.
pub struct Supply {
    /// The verified boot files.
    pub files: BootSet,
    /// What is known of the archives' files.
    pub ledger: Arc<dyn mirror::Ledger>,
    /// When the first of the archives' metadata stops being good; `None` where nothing says so.
    pub valid_until: Option<Timestamp>,
    /// The state of each repository, in the order of [`Release::repos`].
    pub snapshots: Vec<Snapshot>,
    /// What is of an earlier time, because nothing newer could be learnt: `suite trixie-security of 2026-11-20`.
    pub older: Vec<String>,
}

/// Brings it. `say` is given one line at a time for the operator: what was done, and what nobody vouches for.
pub async fn bring(plan: &Plan, client: &fetch::Client, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Supply> {
    let (release, folder, now) = (&plan.release, plan.prefix.join("boot"), Timestamp::now());
    // The boot files, which come last, hold it from then on.
    let _held = fetch::hold(&folder, release.uid(), say).await?;
    let keyring = fetch::keyring(&release.distro, &plan.extra_keys)?;
    let snapshots = take_snapshots(plan, &folder, client, now, say).await.map_err(fetch::with_remedy)?;
    let (offline, boot) = (plan.offline, folder.as_path());
    // Before the boot files, which the same lists of packages name.
    let request = fetch::SuitesRequest { release, keyring: &keyring, folder: boot, client, offline, now };
    let suites = fetch::Suites::take(&request, say).await.map_err(fetch::with_remedy)?;
    let packages = |repo: &str, name: &str| Ok(package(release, &snapshots, repo, name));
    let request = fetch::Request {
        release,
        keyring: &keyring,
        folder: &folder,
        client,
        trust: plan.trust,
        suites: &suites,
        packages: &packages,
        offline: plan.offline,
        now,
    };
    let files = fetch::obtain(&request, say).await.map_err(fetch::with_remedy)?;
    match files.level() {
        fetch::Level::Signed => say(&format!("boot files verified: {}", files.provenance())),
        _ => say(&format!("boot files are NOT signed: {}; --trust signed refuses that", files.provenance())),
    }
    let older = older(release, &suites, &snapshots, now);
    let valid_until = suites.valid_until();
    let ledger: Arc<dyn mirror::Ledger> = match &release.tree {
        None => Arc::new(SuiteLedger::new(suites)),
        Some(tree) => Arc::new(ledger(release, tree, &files, snapshots.clone())?),
    };
    Ok(Supply { files, ledger, valid_until, snapshots, older })
}

fn older(release: &Release, suites: &fetch::Suites, snapshots: &[Snapshot], now: Timestamp) -> Vec<String> {
    let suites = suites.older_than(now).map(|(name, taken)| ("suite", name, taken));
    let repos = release.repos.iter().zip(snapshots).filter(|(_, snapshot)| snapshot.taken() < now);
    let repos = repos.map(|(repo, snapshot)| ("repository", repo.id.as_str(), snapshot.taken()));
    suites.chain(repos).map(|(what, name, taken)| format!("{what} {name} of {}", fetch::day(&taken))).collect()
}

/// The state of each repository, in the order of [`Release::repos`].
async fn take_snapshots(
    plan: &Plan,
    boot: &Path,
    client: &fetch::Client,
    now: Timestamp,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<Snapshot>> {
    let release = &plan.release;
    let folder = boot.join(release.uid()).join("repos");
    let mut snapshots = Vec::new();
    for repo in &release.repos {
        let request = fetch::SnapshotRequest {
            repo,
            mirror: release.archive(),
            master: &release.public_mirrors[0].url,
            folder: &folder,
            client,
            offline: plan.offline,
            now,
        };
        let snapshot = Snapshot::take(&request, say).await?;
        let (count, voucher) = (snapshot.packages().len(), snapshot.vouched());
        say(&format!("repository {}: {count} packages, vouched for by {voucher}", repo.id));
        snapshots.push(snapshot);
    }
    Ok(snapshots)
}

/// Where a repository has a package that boot files are in.
fn package(release: &Release, snapshots: &[Snapshot], repo: &str, name: &str) -> Option<PackageAt> {
    let (repo, snapshot) = release.repos.iter().zip(snapshots).find(|(known, _)| known.id == repo)?;
    let found = snapshot.package(name, &release.arch_name).or_else(|| snapshot.package(name, "noarch"))?;
    let path = address::join(&repo.path, &found.path);
    let Mirror { url, alternates, .. } = release.archive();
    let urls: Vec<Url> = [url].into_iter().chain(alternates).map(|root| address::below(root, &path)).collect();
    Some(PackageAt { urls, expected: found.expected, version: found.version.clone() })
}

/// The ledger of an install tree and its repositories. Writes the tree's `.treeinfo`.
fn ledger(release: &Release, tree: &str, files: &BootSet, snapshots: Vec<Snapshot>) -> anyhow::Result<RunLedger> {
    let mut ledger = RunLedger::new(&release.archive().id, tree);
    for (path, artifact) in release.tree_artifacts() {
        let file = files.file(&artifact.name).with_context(|| format!("{} was not fetched", artifact.name))?;
        ledger.add_file(path, file.path.clone());
    }
    let text = treeinfo(release, |name| files.file(name).map(|file| file.sha256));
    let path = files.folder().join("treeinfo");
    replace(&path, READABLE, text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    for name in [".treeinfo", "treeinfo"] {
        ledger.add_file(address::join(tree, name), path.clone());
    }
    ledger.hold(files.clone());
    for (repo, snapshot) in release.repos.iter().zip(snapshots) {
        ledger.add_repo(&repo.path, snapshot);
    }
    Ok(ledger)
}
