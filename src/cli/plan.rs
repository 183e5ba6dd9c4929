use std::fmt::{self, Write as _};
use std::io::Write as _;

use super::{
    flags::VerbFlags,
    local::Link,
    prepare::{Prepared, prepare},
    serve::memory_need,
};
use crate::{
    boot::Names,
    distro::Release,
    model::{Endpoints, InstallRecipe, Trust},
    net::{Place, setup::Tools},
    plan::Plan,
    serve,
};

/// `provisioner plan`: what would be served and changed. Touches nothing.
pub async fn run(flags: VerbFlags) -> anyhow::Result<()> {
    let Prepared { plan, notes, .. } = prepare(flags.plan, Link::Real).await?;
    serve::check_handoff(&plan.recipe.handoff)?;
    let mut text = String::new();
    describe(&plan, &mut text)?;
    for change in serve::needed_changes(&plan, &Place::Here, &Tools::default())? {
        writeln!(text, "changes        {}; reverted at the end", change.on(&plan.interface))?;
    }
    for note in notes {
        writeln!(text, "note           {note}")?;
    }
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// Everything that would be served, for the operator.
fn describe(plan: &Plan, f: &mut String) -> fmt::Result {
    let endpoints = plan.endpoints();
    let Plan { network, recipe, release, host, .. } = plan;
    writeln!(f, "interface      {}", plan.interface)?;
    writeln!(f, "network        {} (we are {})", network.subnet, network.router)?;
    writeln!(f, "name servers   {}", list(&network.dns))?;
    match (host.mac, host.address) {
        (Some(mac), Some(address)) => writeln!(f, "machines       {mac} only, at {address}")?,
        (Some(mac), None) => writeln!(f, "machines       {mac} only")?,
        (None, _) => writeln!(f, "machines       every one that boots from the network")?,
    }
    if let Some(hostname) = &host.hostname {
        writeln!(f, "hostname       {hostname}")?;
    }
    describe_system(release, recipe, f)?;
    describe_source(plan, endpoints, f)?;
    writeln!(f, "listens        {}: UDP 67 (DHCP), UDP 69 (TFTP), TCP {} (HTTP)", plan.interface, plan.http_port)?;
    let limit = plan.cache_size.map(|size| format!(", of the archives at most {size}")).unwrap_or_default();
    writeln!(f, "keeps          {}{limit}", plan.prefix.display())?;
    if plan.offline {
        writeln!(f, "offline        nothing is asked upstream")?;
    }
    Ok(())
}

/// What is installed.
fn describe_system(release: &Release, recipe: &InstallRecipe, f: &mut String) -> fmt::Result {
    writeln!(f, "system         {} {} ({}), {}", release.distro.name, release.version, release.arch, recipe.flavour)?;
    if !recipe.packages.is_empty() {
        writeln!(f, "packages       {}", recipe.packages.join(", "))?;
    }
    if let Some(need) = memory_need(release) {
        writeln!(f, "memory         {need}")?;
    }
    writeln!(f, "language       {}", list([&recipe.locale].into_iter().chain(&recipe.languages)))?;
    writeln!(f, "keyboard       {}", recipe.keymap)?;
    writeln!(f, "time zone      {}", recipe.timezone)?;
    if !recipe.time_servers.is_empty() {
        writeln!(f, "time servers   {}", recipe.time_servers.join(", "))?;
    }
    writeln!(f, "disk           {} will be ERASED, layout {}", recipe.disk, recipe.layout)?;
    if let Some(encryption) = &recipe.encryption {
        let known = if encryption.passphrase.is_some() { "set" } else { "asked for at the start" };
        writeln!(f, "encryption     {encryption}; passphrase {known}")?;
    }
    let password = if recipe.password.is_some() { "password set" } else { "password asked for at the start" };
    let root = if recipe.lock_root { "no password" } else { password };
    writeln!(f, "root           {root}, {} SSH keys", recipe.ssh_keys.len())?;
    if let Some(user) = &recipe.user {
        writeln!(f, "administrator  {user}, {password}, {} SSH keys", recipe.ssh_keys.len())?;
    }
    if recipe.handoff.is_wanted() {
        writeln!(f, "hand-off       {}, once, on its first start", recipe.handoff)?;
    }
    Ok(())
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
fn describe_source(plan: &Plan, endpoints: Endpoints, f: &mut String) -> fmt::Result {
    let release = &plan.release;
    for mirror in &release.mirrors {
        writeln!(f, "mirror         {} → {}", endpoints.url(&format!("/mirror/{}/", mirror.id)), mirror.shown())?;
    }
    writeln!(f, "trust          {}", trust(plan))?;
    for unverified in unverified(plan) {
        writeln!(f, "not verified   {unverified}")?;
    }
    let answers = match (&plan.own_answers, &plan.append_answers) {
        (Some(_), _) => "your own, and our callbacks",
        (None, Some(_)) => "ours, and your own lines",
        (None, None) => "ours",
    };
    writeln!(f, "answers        {answers}")?;
    writeln!(f, "boot files     below {}", endpoints.url("/"))?;
    let names = Names::new(release);
    for artifact in release.artifacts() {
        writeln!(f, "               {}/{}", names.folder(), artifact.name)?;
    }
    for config in &release.grub_configs {
        writeln!(f, "               {config} (made for each machine)")?;
    }
    Ok(())
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
