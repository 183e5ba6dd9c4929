use std::{io::Write, time::Duration};

use anyhow::{anyhow, bail};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{Options, StageTime, Vm, report::clock, timeline::Timeline};
use crate::{model::Event, net::Place, serve::takes_logins};

/// How often the installed system is asked whether it takes logins over the network.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Follows a machine that was just switched on until the system on its disk takes logins, and tells how long each stage took.
///
/// `news` is what the servers record, subscribed to before the machine was switched on; `place` is where its network is.
/// What the machine does is told to `say` as it happens.
///
/// # Errors
/// A failure that the installer or the hand-off reports, a machine that ends or starts over, or nothing happening for `options.stall`.
pub async fn follow(
    vm: &mut Vm,
    mut news: Receiver<Event>,
    place: &Place,
    options: &Options,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<StageTime>> {
    let power_on = Instant::now();
    let mut timeline = Timeline::new(options.handoff);
    let mut last_sign = power_on;
    let mut probe = interval(PROBE_EVERY);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !timeline.is_complete() {
        tokio::select! {
            event = news.recv() => match event {
                Ok(event) if event.mac == vm.mac() => {
                    say(&format!("{} {}", event.mac, event.kind));
                    timeline.event(&event.kind, power_on.elapsed()).map_err(|why| anyhow!(why))?;
                    last_sign = Instant::now();
                }
                // Another machine cannot be on this cable; a backlog this long was of packages.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => bail!("the servers ended"),
            },
            text = vm.console() => {
                let text = text?;
                timeline.text(&text, power_on.elapsed());
                copy(&text, options);
                last_sign = Instant::now();
                if let Some(passphrase) = options.passphrase.as_ref().filter(|_| timeline.wants_passphrase()) {
                    say(&format!("{} asks for the passphrase of its disk", vm.mac()));
                    vm.type_line(passphrase.expose()).await?;
                }
            }
            _ = probe.tick() => {
                if let Some(address) = timeline.address() && takes_logins(place, address).await {
                    timeline.logs_in(power_on.elapsed());
                }
            }
            () = sleep_until(last_sign + options.stall) => {
                bail!("nothing happened for {}: no event, no console output", clock(options.stall));
            }
        }
    }
    Ok(timeline.stages())
}

/// Copies console text to stderr, if that was asked for.
pub(super) fn copy(text: &str, options: &Options) {
    if options.console {
        // A terminal that went away must not end an installation.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
