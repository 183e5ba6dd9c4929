use anyhow::Context;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{
    console::Console,
    flags::{PlanFlags, ServeFlags},
    local::Link,
    passphrase, password,
    plan::trust,
    prepare::{Prepared, Purpose, prepare},
};
use crate::{
    distro::Release,
    events::Registry,
    model::{Event, EventKind, Mac},
    net::{Place, probe},
    plan::Plan,
    serve::{self, Login, OnDone, Signals, Told},
};

/// MiB that one need not be told of.
pub const USUAL_MEMORY: u32 = 2048;

/// `provisioner`: serves until ^C.
pub async fn run(flags: PlanFlags, serve_flags: ServeFlags, console: Console) -> anyhow::Result<()> {
    let Prepared { mut plan, notes, .. } = prepare(flags, Link::Real, Purpose::Run).await?;
    probe::privileges()?.check()?;
    serve::check_handoff(&plan.recipe.handoff)?;
    announce(&console, &plan, &notes);
    password::ask(&mut plan.recipe)?;
    passphrase::ask(&mut plan, &console)?;
    // Not before the prompts, which a signal ends in its own way.
    let mut signals = Signals::listen()?;
    rearm(&plan, &serve_flags, &console)?;
    let login = Login::of(&plan);
    let on_done = serve_flags.on_done.map(|command| OnDone::new(command, &plan, Place::Here));

    let say = |line: &str| console.say(line);
    // Interrupted on the way: dropping it has put back whatever was changed by then.
    let Some(running) = signals.until(serve::start(plan, Place::Here, &say)).await else { return Ok(()) };
    let running = running?;
    let registry = running.registry();
    // Before anything else is said: a machine may ask already.
    let (news, news_of_done) = (registry.subscribe(), registry.subscribe());
    tell_installed(registry, &console);
    console.say("ready to provision!");
    let end = CancellationToken::new();
    let shown = async {
        signals.until(follow(news, registry, &login, &console)).await;
        end.cancel();
    };
    let hear = |mac: Mac, told: Told<'_>| match told {
        Told::Printed(line) => console.printed(mac, line),
        Told::Became(what) => console.about(mac, what),
    };
    let commands = async {
        if let Some(on_done) = &on_done {
            on_done.run(news_of_done, registry, &end, &hear).await;
        }
    };
    let renewals = async {
        if let Some(age) = serve_flags.refresh.0 {
            let _ = end.run_until_cancelled(running.keep_current(age, &say)).await;
        }
    };
    let link = async {
        let _ = end.run_until_cancelled(running.tell_of_link(&say)).await;
    };
    tokio::join!(shown, commands, renewals, link);
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
    console.chosen("trust", trust(plan));
    console.chosen("disk", format!("{} will be ERASED", plan.recipe.disk));
    if let Some(encryption) = &plan.recipe.encryption {
        console.chosen("disk encryption", encryption);
    }
    if plan.recipe.handoff.is_wanted() {
        console.chosen("hand-off", &plan.recipe.handoff);
    }
    if let Some(need) = memory_need(&plan.release) {
        console.chosen("memory", need);
    }
    for note in notes {
        console.say(note);
    }
}

/// What to say of the memory that the installer needs, when a machine may not have it.
pub fn memory_need(release: &Release) -> Option<String> {
    let need = release.distro.memory;
    (need > USUAL_MEMORY)
        .then(|| format!("a machine needs {need} MiB; with less its installer fails in ways that do not say so"))
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
async fn follow(mut news: Receiver<Event>, registry: &Registry, login: &Login, console: &Console) {
    loop {
        match news.recv().await {
            Ok(Event { kind: EventKind::Leased { address }, mac, .. }) => {
                tracing::debug!("{mac} has address {address}")
            }
            Ok(event) => {
                console.event(&event);
                if event.kind == EventKind::BootedFromDisk {
                    // It is in the file of host keys by then.
                    registry.settled().await;
                    tell_way_in(event.mac, registry, login, console);
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} events were not shown; the journal has them"),
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// How to log in to a machine that told its SSH host keys.
fn tell_way_in(mac: Mac, registry: &Registry, login: &Login, console: &Console) {
    let known = registry.machine(mac).filter(|machine| !machine.host_keys.is_empty());
    if let Some(command) = known.and_then(|machine| login.command(&machine)) {
        console.about(mac, &format!("can be logged in to: {command}"));
    }
}
