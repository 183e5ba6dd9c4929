use serde_json::json;

use super::{
    console::Console,
    flags::VerbFlags,
    local::Link,
    prepare::{Prepared, Purpose, prepare},
    serve::memory_need,
};
use crate::{
    boot::Names,
    distro::Release,
    model::{InstallRecipe, Trust},
    net::{Place, setup::Tools},
    plan::Plan,
    serve,
};

/// What it is, and how it was decided.
type Row = (&'static str, String);

/// `provisioner plan`: what would be served and changed. Does none of it.
pub async fn run(flags: VerbFlags) -> anyhow::Result<()> {
    let Prepared { plan, notes, .. } = prepare(flags.plan, Link::Real, Purpose::Show).await?;
    serve::check_handoff(&plan.recipe.handoff)?;
    let mut rows = describe(&plan);
    let (leftovers, changes) = serve::planned_changes(&plan, &Place::Here, &Tools::default())?;
    let left = leftovers.iter().flat_map(|left| left.changes.iter().map(|change| change.on(&left.interface)));
    rows.extend(left.map(|change| ("puts back", format!("what an earlier run had left: {change}"))));
    rows.extend(
        changes.iter().map(|change| ("changes", format!("{}; reverted at the end", change.on(&plan.interface)))),
    );
    rows.extend(notes.into_iter().map(|note| ("note", note)));
    let console = Console::new(flags.log.log_format);
    for (key, value) in rows {
        console.row(&format!("{key:<14} {value}"), &json!({"planned": key, "value": value}));
    }
    Ok(())
}

/// Everything that would be served, for the operator.
fn describe(plan: &Plan) -> Vec<Row> {
    let Plan { network, recipe, release, host, .. } = plan;
    let mut rows = vec![
        ("interface", plan.interface.clone()),
        ("network", format!("{} (we are {})", network.subnet, network.router)),
        ("name servers", list(&network.dns)),
    ];
    rows.push(match (host.mac, host.address) {
        (Some(mac), Some(address)) => ("machines", format!("{mac} only, at {address}")),
        (Some(mac), None) => ("machines", format!("{mac} only")),
        (None, _) => ("machines", "every one that boots from the network".to_owned()),
    });
    if let Some(hostname) = &host.hostname {
        rows.push(("hostname", hostname.clone()));
    }
    rows.extend(describe_system(release, recipe));
    rows.extend(describe_source(plan));
    let ports = format!("UDP 67 (DHCP), UDP 69 (TFTP), TCP {} (HTTP)", plan.http_port);
    rows.push(("listens", format!("{}: {ports}", plan.interface)));
    let limit = plan.cache_size.map(|size| format!(", of the archives at most {size}")).unwrap_or_default();
    rows.push(("keeps", format!("{}{limit}", plan.prefix.display())));
    if plan.offline {
        rows.push(("offline", "nothing is asked upstream".to_owned()));
    }
    rows
}

/// What is installed.
fn describe_system(release: &Release, recipe: &InstallRecipe) -> Vec<Row> {
    let system = format!("{} {} ({}), {}", release.distro.name, release.version, release.arch, recipe.flavour);
    let mut rows = vec![("system", system)];
    if !recipe.packages.is_empty() {
        rows.push(("packages", recipe.packages.join(", ")));
    }
    rows.extend(memory_need(release).map(|need| ("memory", need)));
    rows.push(("language", list([&recipe.locale].into_iter().chain(&recipe.languages))));
    rows.push(("keyboard", recipe.keymap.clone()));
    rows.push(("time zone", recipe.timezone.clone()));
    if !recipe.time_servers.is_empty() {
        rows.push(("time servers", recipe.time_servers.join(", ")));
    }
    rows.push(("disk", format!("{} will be ERASED, layout {}", recipe.disk, recipe.layout)));
    if let Some(encryption) = &recipe.encryption {
        let known = if encryption.passphrase.is_some() { "set" } else { "asked for at the start" };
        rows.push(("encryption", format!("{encryption}; passphrase {known}")));
    }
    let password = if recipe.password.is_some() { "password set" } else { "password asked for at the start" };
    let root = if recipe.lock_root { "no password" } else { password };
    rows.push(("root", format!("{root}, {} SSH keys", recipe.ssh_keys.len())));
    if let Some(user) = &recipe.user {
        rows.push(("administrator", format!("{user}, {password}, {} SSH keys", recipe.ssh_keys.len())));
    }
    if recipe.handoff.is_wanted() {
        rows.push(("hand-off", format!("{}, once, on its first start", recipe.handoff)));
    }
    rows
}

/// What vouches for boot files in this run.
pub fn trust(plan: &Plan) -> String {
    let (strictest, archive) = (plan.release.strictest_trust(), plan.release.archive());
    if archive.is_local() && plan.release.tree.is_some() && plan.trust != Some(Trust::Signed) {
        let unless = match (strictest, plan.trust) {
            (Trust::Signed, None) => ", unless it has signatures",
            _ => "",
        };
        return format!("by the directory {} that you named{unless}", archive.shown());
    }
    match (plan.trust.unwrap_or(strictest), strictest) {
        (Trust::Signed, _) => format!("signed, by the OpenPGP keys of {}", plan.release.distro.name),
        (Trust::Https, Trust::Https) => {
            format!("https, by the server of {}: it signs nothing that can be followed", plan.release.distro.name)
        }
        (Trust::Https, Trust::Signed) => "https, although there are signatures (--trust)".to_owned(),
    }
}

/// What machines are given without anybody's word for it.
fn unverified(plan: &Plan) -> Vec<String> {
    let release = &plan.release;
    let mut list = vec!["the answers, on their way: they travel in clear on the cable".to_owned()];
    for repo in release.repos.iter().filter(|repo| repo.metalink.is_none()) {
        let master = &release.public_mirrors[0];
        if master.url.scheme() != "https" && !release.archive().is_local() {
            list.push(format!("packages of {}: {} is not asked over https", repo.id, master.shown()));
        }
    }
    list
}

/// Where it comes from, and what machines are given of it.
fn describe_source(plan: &Plan) -> Vec<Row> {
    let (release, endpoints) = (&plan.release, plan.endpoints());
    let mirrors = release.mirrors.iter().map(|mirror| {
        let ours = endpoints.url(&format!("/mirror/{}/", mirror.id));
        ("mirror", format!("{ours} → {}", mirror.shown()))
    });
    let mut rows: Vec<Row> = mirrors.collect();
    rows.push(("trust", trust(plan)));
    rows.extend(unverified(plan).into_iter().map(|unverified| ("not verified", unverified)));
    let answers = match (&plan.own_answers, &plan.append_answers) {
        (Some(_), _) => "your own, and our callbacks",
        (None, Some(_)) => "ours, and your own lines",
        (None, None) => "ours",
    };
    rows.push(("answers", answers.to_owned()));
    let names = Names::new(release);
    for artifact in release.artifacts() {
        rows.push(("boot file", endpoints.url(&format!("/{}/{}", names.folder(), artifact.name))));
    }
    for config in &release.grub_configs {
        rows.push(("boot file", format!("{} (made for each machine)", endpoints.url(&format!("/{config}")))));
    }
    rows
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
