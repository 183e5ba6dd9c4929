use tokio::task::spawn_blocking;

use super::Wanted;
use crate::{
    boot::Secret,
    distro::{Release, address},
    fetch::{self, Asked, Resolved, Snapshot},
    mirror::{NotBrought, Proxy},
    model::Mac,
    plan::Plan,
};

/// Brings the metadata that machines read of the repositories' states; returns what is missing of them, as a sentence each.
pub(super) async fn metadata(release: &Release, snapshots: &[Snapshot], mirror: &Proxy) -> Vec<String> {
    let archive = &release.archive().id;
    let mut missing = Vec::new();
    for (repo, snapshot) in release.repos.iter().zip(snapshots) {
        for path in snapshot.read_by_machines() {
            let brought = mirror.bring(archive, &address::join(&repo.path, path)).await;
            missing.extend(brought.err().map(|error| error.to_string()));
        }
    }
    missing
}

/// What an installation asks for: what the states of the repositories make of its answers, and what was taken before as far as
/// they still list it.
pub(super) async fn wanted(
    plan: &Plan,
    snapshots: &[Snapshot],
    mirror: &Proxy,
    learnt: &[String],
) -> anyhow::Result<Wanted> {
    let release = &plan.release;
    // A machine that is not there: which one it is decides nothing here, and the token opens nothing.
    let mac = plan.host.mac.unwrap_or(Mac([2, 0, 0, 0, 0, 1]));
    let urls = Secret([0; 32]).urls(mac, plan.endpoints(), &release.distro.answers);
    let asked = Asked::new(&plan.answer_context(mac, &urls.answers, &urls.callback))?;
    let states = snapshots.to_vec();
    let Resolved { files, unmet } = spawn_blocking(move || fetch::resolve(&states, &asked)).await??;
    let mut wanted = Wanted { missing: metadata(release, snapshots, mirror).await, ..Wanted::default() };
    for (repo, path, _) in files {
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        wanted.add(&release.archive().id, &format!("{}/{path}", release.repos[repo].path), name);
    }
    for (archive, path) in learnt.iter().filter_map(|file| file.split_once('/')) {
        match mirror.has(archive, path).await {
            Ok(_) => wanted.add(archive, path, path.rsplit('/').next().unwrap_or(path).to_owned()),
            // Another version has taken its place.
            Err(NotBrought { gone: true, .. }) => {}
            Err(error) => wanted.missing.push(error.to_string()),
        }
    }
    wanted.missing.extend(unmet);
    Ok(wanted)
}
