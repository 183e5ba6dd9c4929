//! What a run changes on this host, and what runs before it have left.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    model::Hinted,
    net::{
        Place,
        probe::{self, Interface},
        setup::{self, Change, Integrations, Leftover, Records, Tools},
    },
    plan::Plan,
};

/// What is changed on this host for a plan.
pub(super) fn needed(plan: &Plan, place: &Place, tools: &Tools) -> anyhow::Result<Vec<Change>> {
    let (interfaces, integrations) = look(plan, place, tools)?;
    needed_there(plan, &interfaces, &integrations)
}

/// What would be put back first, because a killed run has left it, and what would then be changed on this host for a plan.
pub fn planned_changes(plan: &Plan, place: &Place, tools: &Tools) -> anyhow::Result<(Vec<Leftover>, Vec<Change>)> {
    let leftovers = setup::leftovers(place, &records(plan, place))?;
    let (mut interfaces, mut integrations) = look(plan, place, tools)?;
    for leftover in &leftovers {
        leftover.put_back_in(&mut interfaces, &plan.interface, &mut integrations);
    }
    let changes = needed_there(plan, &interfaces, &integrations)?;
    Ok((leftovers, changes))
}

fn look(plan: &Plan, place: &Place, tools: &Tools) -> anyhow::Result<(Vec<Interface>, Integrations)> {
    let interfaces = probe::interfaces(place)?;
    let integrations = Integrations::probe(place, tools, &plan.interface).context("looking for network managers")?;
    Ok((interfaces, integrations))
}

fn needed_there(plan: &Plan, interfaces: &[Interface], integrations: &Integrations) -> anyhow::Result<Vec<Change>> {
    let interface = named(&plan.interface, interfaces)?;
    Ok(setup::needed(interface, interfaces, plan.network.router_net(), integrations)?)
}

/// The interface of this name.
pub(super) fn named<'a>(name: &str, interfaces: &'a [Interface]) -> Result<&'a Interface, Hinted> {
    interfaces.iter().find(|interface| interface.name == name).ok_or_else(|| {
        let hint = "see `ip link` for those there are, and name one with --interface";
        Hinted::new(format!("interface {name} is gone"), hint)
    })
}

/// Where changes are recorded: a place that every run finds again, whatever its `--prefix`, where this user can write one.
pub(super) fn records(plan: &Plan, place: &Place) -> Records {
    let beside_the_journal = || plan.journal.parent().map(PathBuf::from).unwrap_or_default();
    Records::in_folder(match place {
        Place::Here if nix::unistd::Uid::effective().is_root() => PathBuf::from("/run"),
        Place::Here | Place::Namespace(_) => beside_the_journal(),
    })
}
