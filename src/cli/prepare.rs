use std::sync::Arc;

use jiff::Timestamp;

use super::{
    flags::PlanFlags,
    local::{self, Link},
};
use crate::{
    distro::{Catalogue, Release},
    fetch::{self, Sources},
    plan::{self, Plan, Settings},
};

/// A plan, and what was found out on the way to it.
pub struct Prepared {
    pub plan: Plan,
    /// Lines for the operator: where the archive was not what one would expect.
    pub notes: Vec<String>,
}

/// From flags to a plan. Asks which release is the newest and which mirror has it, changes nothing but what is remembered of
/// that for a start without the network.
pub async fn prepare(flags: PlanFlags, link: Link) -> anyhow::Result<Prepared> {
    let catalogue = Catalogue::embedded();
    let settings = Settings::from(flags);
    let mirror = settings.mirror.clone();
    let local = local::gather(&settings, catalogue, link);
    let draft = plan::check(settings, local)?;
    let client = fetch::client()?;
    let keyring = fetch::keyring(catalogue, &draft.distro, &draft.extra_keys)?;
    let question = fetch::Question {
        distro: &draft.distro,
        mirror,
        version: draft.version.as_deref(),
        flavour: &draft.recipe.flavour,
        arch: draft.arch,
        prefix: &draft.prefix,
        offline: draft.offline,
        now: Timestamp::now(),
    };
    let Sources { release, mirrors, public_mirrors, notes } = fetch::discover(&question, &keyring, &client).await?;
    let mut release = Release::new(Arc::clone(&draft.distro), &release, &draft.recipe.flavour, draft.arch, mirrors)?;
    release.public_mirrors = public_mirrors;
    Ok(Prepared { plan: draft.with_release(release), notes })
}
