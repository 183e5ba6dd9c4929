use std::fmt::{self, Write as _};
use std::io::Write as _;

use super::{
    flags::VerbFlags,
    local::Link,
    prepare::{Prepared, prepare},
};
use crate::{
    boot::Names,
    net::{Place, setup::Tools},
    plan::Plan,
    serve,
};

/// `provisioner plan`: what would be served and changed. Touches nothing.
pub async fn run(flags: VerbFlags) -> anyhow::Result<()> {
    let Prepared { plan, notes, .. } = prepare(flags.plan, Link::Real).await?;
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
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    writeln!(f, "interface      {}", plan.interface)?;
    writeln!(f, "network        {} (we are {})", network.subnet, network.router)?;
    writeln!(f, "name servers   {}", list(&mut network.dns.iter().map(ToString::to_string)))?;
    match (host.mac, host.address) {
        (Some(mac), Some(address)) => writeln!(f, "machines       {mac} only, at {address}")?,
        (Some(mac), None) => writeln!(f, "machines       {mac} only")?,
        (None, _) => writeln!(f, "machines       every one that boots from the network")?,
    }
    if let Some(hostname) = &host.hostname {
        writeln!(f, "hostname       {hostname}")?;
    }
    writeln!(f, "system         {} {} ({}), {}", release.distro.name, release.version, release.arch, recipe.flavour)?;
    if !recipe.packages.is_empty() {
        writeln!(f, "packages       {}", recipe.packages.join(", "))?;
    }
    writeln!(f, "disk           {} will be ERASED, layout {}", recipe.disk, recipe.layout)?;
    let password = if recipe.password.is_some() { "password set" } else { "password asked for at the start" };
    writeln!(f, "root           {password}, {} SSH keys", recipe.ssh_keys.len())?;
    for mirror in &release.mirrors {
        writeln!(f, "mirror         {} → {}", endpoints.url(&format!("/mirror/{}/", mirror.id)), mirror.shown())?;
    }
    writeln!(f, "boot files     verified, from the mirror, below {}", endpoints.url("/"))?;
    let names = Names::new(release);
    for artifact in release.artifacts() {
        writeln!(f, "               {}/{}", names.folder(), artifact.name)?;
    }
    for config in &release.grub_configs {
        writeln!(f, "               {config} (made for each machine)")?;
    }
    writeln!(f, "listens        {}: UDP 67 (DHCP), UDP 69 (TFTP), TCP {} (HTTP)", plan.interface, plan.http_port)?;
    writeln!(f, "keeps          {}", plan.prefix.display())?;
    if plan.offline {
        writeln!(f, "offline        nothing is asked upstream")?;
    }
    Ok(())
}
