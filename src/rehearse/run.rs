use std::{os::fd::AsRawFd, process};

use anyhow::Context;

use super::{Access, Options, Rehearsal, Report, StageTime, Vm, follow, follow::copy};
use crate::{
    model::{Hinted, Machine},
    net::Place,
    plan::Plan,
    serve::{Login, Signals},
};

/// ^C, or another signal that asks this process to end, before the rehearsal had shown what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the rehearsal was interrupted; nothing of it is left")]
pub struct Interrupted;

/// Rehearses `plan`: runs it against a virtual machine until the system that installed itself there takes logins.
///
/// With [`Options::keep`] the machine then runs on until ^C. In the end there is no process, no network and no file of it
/// left, except what [`Options::keep`] or a failure keeps for the operator.
///
/// # Errors
/// [`Hinted`] for what this host lacks and for a rehearsal that failed (with the place of its console's transcript),
/// [`Interrupted`].
pub async fn run(plan: Plan, options: Options, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Report> {
    let mut signals = Signals::listen()?;
    let uid = plan.release.uid().to_owned();
    let options = Options {
        handoff: plan.recipe.handoff.is_wanted(),
        passphrase: plan.recipe.encryption.as_ref().and_then(|encryption| encryption.passphrase.clone()),
        ..options
    };
    let mut rehearsal = signals.until(Rehearsal::set_up(plan, &options, say)).await.ok_or(Interrupted)??;
    let performed = signals.until(perform(&rehearsal, &options, say)).await;
    let outcome = match performed.unwrap_or_else(|| Err(Interrupted.into())) {
        Ok(Performance { vm, stages, machine }) => {
            let report = Report { uid, firmware: options.firmware, stages, machine, access: Access::Gone };
            end(vm, &mut rehearsal, report, &mut signals, &options, say).await
        }
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => Err(failed(&error, &mut rehearsal).into()),
    };
    match (outcome, rehearsal.tear_down().await) {
        (Err(error), Err(second)) => {
            tracing::error!("{second:#}");
            Err(error)
        }
        (outcome, torn_down) => outcome.and_then(|report| torn_down.map(|()| report)),
    }
}

/// A machine that has shown everything, and still runs.
struct Performance {
    vm: Vm,
    stages: Vec<StageTime>,
    machine: Machine,
}

/// Switches the machine on and follows it. After a failure its last words are told and it is off.
async fn perform(rehearsal: &Rehearsal, options: &Options, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Performance> {
    let news = rehearsal.registry().subscribe();
    let mut vm = rehearsal.power_on().await?;
    say(&format!("the virtual machine {} is on", rehearsal.mac()));
    match follow(&mut vm, news, rehearsal.place(), options, say).await {
        Ok(stages) => {
            let machine = rehearsal.registry().machine(vm.mac()).context("looking for the machine's events")?;
            Ok(Performance { vm, stages, machine })
        }
        Err(error) => {
            say("the last lines of its console:");
            vm.last_lines().for_each(|line| say(&format!("  {line}")));
            vm.power_off().await?;
            Err(error)
        }
    }
}

/// Switches the machine off: now, or when it has been kept for long enough.
async fn end(
    vm: Vm,
    rehearsal: &mut Rehearsal,
    report: Report,
    signals: &mut Signals,
    options: &Options,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Report> {
    if !options.keep {
        vm.power_off().await?;
        return Ok(report);
    }
    rehearsal.keep();
    say(&way_in(rehearsal.place(), rehearsal.login(), &report.machine));
    hold(vm, signals, options).await?;
    Ok(Report { access: Access::Disk(rehearsal.disk()), ..report })
}

fn failed(why: &anyhow::Error, rehearsal: &mut Rehearsal) -> Hinted {
    rehearsal.keep();
    let console = rehearsal.console_log();
    Hinted::new(
        format!("the rehearsal failed: {why:#}"),
        format!("its whole console is in {}, its disk beside it: remove both when done", console.display()),
    )
}

/// Keeps the machine running until it, or this process, is told to end.
async fn hold(mut vm: Vm, signals: &mut Signals, options: &Options) -> anyhow::Result<()> {
    loop {
        // Its serial port must be emptied, or the machine would wait for us at its next line.
        match signals.until(vm.console()).await {
            None => return vm.power_off().await,
            Some(Ok(text)) => copy(&text, options),
            // Somebody who logged in switched it off.
            Some(Err(_)) => return Ok(()),
        }
    }
}

/// The namespace has no name: it is reached by our own descriptor of it, as long as we run.
fn way_in(place: &Place, login: &Login, machine: &Machine) -> String {
    let namespace = match place {
        Place::Here => return "the machine runs on this host's own network until ^C".to_owned(),
        Place::Namespace(descriptor) => format!("/proc/{}/fd/{}", process::id(), descriptor.as_raw_fd()),
    };
    match login.command(machine) {
        Some(command) => format!("the machine runs until ^C; to get in: sudo nsenter --net={namespace} {command}"),
        None => format!("the machine runs until ^C; its network: sudo nsenter --net={namespace}"),
    }
}
