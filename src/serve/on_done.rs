//! `--on-done`: a command of the operator's, run on this host once for each machine that is done.
//!
//! A machine is done when it has booted from its disk, and when it was handed over to something, when that has ended. Only
//! what happens now counts: a machine that the journal knows as done is not done again because this program was restarted.

use std::{env, net::Ipv4Addr, process::Command, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{
        Semaphore,
        broadcast::{Receiver, error::RecvError},
    },
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    job,
    login::{Login, takes_logins},
};
use crate::{
    events::Registry,
    model::{Event, EventKind, Mac, Machine},
    net::Place,
    plan::Plan,
    sudo::Invoker,
};

/// Commands at the same time; further machines queue. A laptop has a few cores, and a rack may be done at once.
const AT_ONCE: usize = 4;

/// How long a machine that has booted may take until its SSH server listens.
const SSH_PATIENCE: Duration = Duration::from_secs(120);

/// How often it is tried.
const SSH_PAUSE: Duration = Duration::from_secs(1);

/// The command, and what all machines have in common.
#[derive(Debug)]
pub struct OnDone {
    command: String,
    facts: [(&'static str, String); 6],
    hostname: String,
    after_handoff: bool,
    place: Place,
}

/// What is told of a machine's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// A line that it printed.
    Printed(&'a str),
    /// What became of it.
    Became(&'a str),
}

type Hear<'a> = &'a (dyn Fn(Mac, Told<'_>) + Sync);

impl OnDone {
    /// For the machines of a plan, which are reached from `place`.
    pub fn new(command: String, plan: &Plan, place: Place) -> Self {
        let login = Login::of(plan);
        let release = &plan.release;
        let facts = [
            ("PROVISIONER_DISTRO", release.distro.id.clone()),
            ("PROVISIONER_VERSION", release.version.clone()),
            ("PROVISIONER_ARCH", release.arch.to_string()),
            ("PROVISIONER_FLAVOUR", plan.recipe.flavour.clone()),
            ("PROVISIONER_USER", login.user().to_owned()),
            ("PROVISIONER_KNOWN_HOSTS", login.known_hosts().display().to_string()),
        ];
        let hostname = plan.host.hostname.clone().unwrap_or_default();
        Self { command, facts, hostname, after_handoff: plan.recipe.handoff.is_wanted(), place }
    }

    /// Runs the command for every machine that gets done, until `end`. What runs then is told to end, and has when this
    /// returns.
    pub async fn run(&self, mut news: Receiver<Event>, registry: &Registry, end: &CancellationToken, hear: Hear<'_>) {
        let slots = Semaphore::new(AT_ONCE);
        let mut jobs = FuturesUnordered::new();
        let mut listening = true;
        while listening || !jobs.is_empty() {
            tokio::select! {
                () = end.cancelled(), if listening => listening = false,
                Some(()) = jobs.next(), if !jobs.is_empty() => {}
                event = news.recv(), if listening => match event {
                    Ok(Event { mac, kind, .. }) if self.is_done(&kind) => {
                        if let Some(machine) = registry.machine(mac) {
                            jobs.push(self.queue(machine, registry, &slots, end, hear));
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => tracing::warn!("{missed} events were not looked at for --on-done"),
                    Err(RecvError::Closed) => listening = false,
                }
            }
        }
    }

    fn is_done(&self, kind: &EventKind) -> bool {
        match kind {
            EventKind::BootedFromDisk => !self.after_handoff,
            EventKind::HandedOff { .. } => self.after_handoff,
            _ => false,
        }
    }

    async fn queue(
        &self,
        machine: Machine,
        registry: &Registry,
        slots: &Semaphore,
        end: &CancellationToken,
        hear: Hear<'_>,
    ) {
        let mac = machine.mac;
        // The machine is in the file of host keys by then.
        registry.settled().await;
        // The semaphore is never closed.
        let _slot = slots.acquire().await;
        let Some(answers) = end.run_until_cancelled(self.until_it_answers(machine.address)).await else { return };
        if !answers {
            hear(mac, Told::Became("does not answer on port 22; --on-done is run all the same"));
        }
        let outcome = job::run(self.command_for(&machine), end, &|line| hear(mac, Told::Printed(line))).await;
        let became = match outcome {
            Ok(status) if status.success() => "--on-done is done".to_owned(),
            Ok(status) => format!("--on-done failed: {status}"),
            Err(error) => format!("--on-done failed: {error:#}"),
        };
        hear(mac, Told::Became(&became));
    }

    async fn until_it_answers(&self, address: Option<Ipv4Addr>) -> bool {
        let Some(address) = address else { return false };
        let answers = async {
            while !takes_logins(&self.place, address).await {
                sleep(SSH_PAUSE).await;
            }
        };
        timeout(SSH_PATIENCE, answers).await.is_ok()
    }

    /// SECURITY: of our own environment it gets nothing that was meant for us, such as the hash in PROVISIONER_PASSWORD; and
    /// under sudo it runs as whoever called that: it is their command, and root was wanted for the network only.
    fn command_for(&self, machine: &Machine) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&self.command);
        let ours = |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b"PROVISIONER_");
        for name in env::vars_os().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        let number = |value: Option<String>| value.unwrap_or_default();
        command
            .envs(self.facts.iter().map(|(name, value)| (name, value)))
            .env("PROVISIONER_MAC", machine.mac.to_string())
            .env("PROVISIONER_IP", number(machine.address.map(|address| address.to_string())))
            .env("PROVISIONER_HOSTNAME", &self.hostname)
            .env("PROVISIONER_HANDOFF_STATUS", number(machine.handed_off.map(|status| status.to_string())));
        if let Some(invoker) = Invoker::of_this_process() {
            invoker.run_as_them(&mut command);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn a_machine_is_done_when_all_that_was_asked_for_has_happened() {
        let on_done = |exec: Option<&str>| {
            let mut plan = plan();
            plan.recipe.handoff.exec = exec.map(str::to_owned);
            OnDone::new("true".to_owned(), &plan, Place::Here)
        };
        let handed_off = EventKind::HandedOff { status: 1, said: String::new() };
        let done = |exec, kind| on_done(exec).is_done(kind);
        assert!(done(None, &EventKind::BootedFromDisk) && !done(None, &handed_off));
        assert!(done(Some("make"), &handed_off) && !done(Some("make"), &EventKind::BootedFromDisk));
        assert!(!done(None, &EventKind::Installed));
    }

    #[test]
    fn the_command_is_told_the_machine_and_none_of_our_secrets() {
        let on_done = OnDone::new("ansible-playbook site.yml".to_owned(), &plan(), Place::Here);
        let mut machine = Machine::new(Mac([2, 0, 0, 0, 0, 1]), jiff::Timestamp::UNIX_EPOCH);
        (machine.address, machine.handed_off) = (Some(Ipv4Addr::new(192, 168, 42, 7)), Some(0));
        let command = on_done.command_for(&machine);
        let told: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?)))
            .filter(|variable| variable.starts_with("PROVISIONER_"))
            .collect();
        assert_eq!(
            told,
            [
                "PROVISIONER_ARCH=x86_64",
                "PROVISIONER_DISTRO=debian",
                "PROVISIONER_FLAVOUR=standard",
                "PROVISIONER_HANDOFF_STATUS=0",
                "PROVISIONER_HOSTNAME=",
                "PROVISIONER_IP=192.168.42.7",
                "PROVISIONER_KNOWN_HOSTS=/nonexistent/prefix/known_hosts",
                "PROVISIONER_MAC=02:00:00:00:00:01",
                "PROVISIONER_USER=root",
                "PROVISIONER_VERSION=13",
            ]
        );
    }
}
