use std::sync::Arc;

use jiff::Timestamp;

use super::{
    flags::PlanFlags,
    local::{self, Link},
    render::anyone,
};
use crate::{
    boot::{Names, Scripts},
    distro::{self, Release},
    fetch::{self, Sources},
    model::Hinted,
    plan::{self, Plan, Problems, Settings},
};

/// A plan, and what was found out on the way to it.
pub struct Prepared {
    pub plan: Plan,
    /// Lines for the operator: where the archive was not what one would expect.
    pub notes: Vec<String>,
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out.
    Run,
    /// To be looked at.
    Show,
}

/// From flags to a plan. Asks which release is the newest and which mirror has it; what is carried out remembers that for a start
/// without the network. Changes nothing else.
pub async fn prepare(flags: PlanFlags, link: Link, purpose: Purpose) -> anyhow::Result<Prepared> {
    let settings = Settings::from(flags);
    let problem = |problem| Problems(vec![problem]);
    let catalogue = local::catalogue(&settings).map_err(problem)?;
    let scripts = Scripts::new(&catalogue).map_err(problem)?;
    let mirror = settings.mirror.clone();
    let local = local::gather(&settings, &catalogue, link);
    let draft = plan::check(settings, local)?;
    let client = fetch::client()?;
    let keyring = fetch::keyring(&draft.distro, &draft.extra_keys)?;
    let question = fetch::Question {
        distro: &draft.distro,
        mirror,
        version: draft.version.as_deref(),
        flavour: &draft.recipe.flavour,
        arch: draft.arch,
        prefix: &draft.prefix,
        remember: purpose == Purpose::Run,
        offline: draft.offline,
        now: Timestamp::now(),
    };
    let Sources { release, mirrors, public_mirrors, mut notes } = fetch::discover(&question, &keyring, &client).await?;
    let mut release = Release::new(Arc::clone(&draft.distro), &release, &draft.recipe.flavour, draft.arch, mirrors)?;
    release.public_mirrors = public_mirrors;
    if draft.trust > Some(release.strictest_trust()) {
        return Err(problem(unsigned(&release)).into());
    }
    let plan = draft.with_release(release);
    fill_in(&plan, &scripts)?;
    let unused = catalogue.unused();
    if !unused.is_empty() {
        notes.push(format!("--templates: nothing uses {}", unused.join(", ")));
    }
    Ok(Prepared { plan, notes })
}

/// Why `--trust signed` cannot be met.
fn unsigned(release: &Release) -> Hinted {
    let what = format!(
        "--trust signed: nothing that is signed is known of the boot files of {} {}",
        release.distro.name, release.version
    );
    Hinted::new(what, "--trust https takes them by the word of the server, or the directory, that they come from")
}

/// Fills every template in once, for a machine that is not there: what is wrong with one is told now, not when a machine asks.
fn fill_in(plan: &Plan, scripts: &Scripts) -> anyhow::Result<()> {
    let (mac, urls) = anyone(plan);
    let context = plan.answer_context(mac, &urls.answers, &urls.callback);
    distro::answer_files(&context)?;
    let args = distro::kernel_args(&context)?;
    Ok(scripts.try_all(&plan.release, Names::new(&plan.release).folder(), plan.endpoints(), &args)?)
}
