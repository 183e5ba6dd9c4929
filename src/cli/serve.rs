use anyhow::Context;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    console::Console,
    flags::{PlanFlags, ServeFlags},
    local::Link,
    password,
    prepare::{Prepared, prepare},
};
use crate::{
    events::Registry,
    model::{Event, EventKind},
    net::{Place, probe},
    plan::Plan,
    serve::{self, Signals},
};

/// `provisioner`: serves until ^C.
pub async fn run(flags: PlanFlags, serve_flags: ServeFlags, console: Console) -> anyhow::Result<()> {
    let Prepared { mut plan, notes, .. } = prepare(flags, Link::Real).await?;
    probe::privileges()?.check()?;
    announce(&console, &plan, &notes);
    password::ask(&mut plan.recipe)?;
    // Not before the prompt, which a signal ends in its own way.
    let mut signals = Signals::listen()?;
    rearm(&plan, &serve_flags, &console)?;

    let say = |line: &str| console.say(line);
    // Interrupted on the way: dropping it has put back whatever was changed by then.
    let Some(running) = signals.until(serve::start(plan, Place::Here, &say)).await else { return Ok(()) };
    let running = running?;
    // Before anything else is said: a machine may ask already.
    let news = running.registry().subscribe();
    tell_installed(running.registry(), &console);
    console.say("ready to provision!");
    signals.until(follow(news, &console)).await;
    running.stop().await?;
    console.say("ended: this machine is as it was");
    Ok(())
}

/// What was chosen, one line each, before anything happens.
pub fn announce(console: &Console, plan: &Plan, notes: &[String]) {
    console.chosen("interface", &plan.interface);
    console.chosen("cache prefix", format!("{}/", plan.prefix.display()));
    console.chosen("distro uid", plan.release.uid());
    console.chosen("mirror", plan.release.archive().shown());
    console.chosen("disk", format!("{} will be ERASED", plan.recipe.disk));
    for note in notes {
        console.say(note);
    }
}

/// `--reinstall`
fn rearm(plan: &Plan, flags: &ServeFlags, console: &Console) -> anyhow::Result<()> {
    if flags.reinstall.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(&plan.prefix).with_context(|| format!("making {}", plan.prefix.display()))?;
    let registry = Registry::open(&plan.journal)?;
    for &mac in &flags.reinstall {
        registry.record(mac, EventKind::Rearmed);
        console.say(&format!("{mac} {}", EventKind::Rearmed));
    }
    Ok(())
}

fn tell_installed(registry: &Registry, console: &Console) {
    for machine in registry.machines().iter().filter(|machine| machine.is_installed()) {
        let mac = machine.mac;
        console.say(&format!("{mac} is installed: it boots from its own disk; --reinstall {mac} installs it again"));
    }
}

/// Prints what machines do, for ever.
async fn follow(mut news: Receiver<Event>, console: &Console) {
    loop {
        match news.recv().await {
            Ok(Event { kind: EventKind::Leased { address }, mac, .. }) => {
                tracing::debug!("{mac} has address {address}")
            }
            Ok(event) => console.event(&event),
            Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} events were not shown; the journal has them"),
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
