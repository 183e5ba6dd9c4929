use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Context;

use super::tally::Tally;
use crate::{
    boot::{BootFile, Carrier, MachineUrls, Names, Scripts, Secret, decide},
    distro::{self, ScriptKind},
    events::Registry,
    fetch::{BootSet, VerifiedFile},
    model::{BootPlan, BootRequest, BootSpec, EventKind, Firmware, Mac, Machine, Progress, Stage},
    plan::Plan,
};

/// The desk that all servers turn to: it knows the plan, asks `boot::decide`, and records what machines do.
#[derive(Debug)]
pub struct Desk {
    plan: Plan,
    registry: Registry,
    files: BootSet,
    names: Names,
    scripts: Scripts,
    secret: Secret,
    packages: Tally,
    /// Our own card on that link: the look for another DHCP server is not a machine to serve.
    own_mac: Option<Mac>,
}

/// A boot file that was found.
#[derive(Debug)]
pub enum Opened<'a> {
    /// A script, made for who asked.
    Script(String),
    /// A file of the cache.
    File(&'a VerifiedFile),
}

impl Desk {
    /// Everything is known; the answers are rendered once to see that they can be.
    pub fn new(
        plan: Plan,
        files: BootSet,
        registry: Registry,
        secret: Secret,
        own_mac: Option<Mac>,
    ) -> anyhow::Result<Self> {
        let names = Names::new(&plan.release);
        let scripts = Scripts::new(&plan.release.distro.catalogue)?;
        let desk = Self { names, scripts, packages: Tally::default(), plan, registry, files, secret, own_mac };
        let anyone = desk.plan.host.mac.unwrap_or(Mac([0x02, 0, 0, 0, 0, 1]));
        desk.render_answers(anyone).context("rendering the answers")?;
        desk.install_script(ScriptKind::Grub, Carrier::Tftp, anyone).context("rendering the loader script")?;
        Ok(desk)
    }

    /// What machines did.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The address that each known machine has.
    pub fn known_addresses(&self) -> Vec<(Mac, Ipv4Addr)> {
        let machines = self.registry.machines().into_iter();
        machines.filter_map(|machine| Some((machine.mac, machine.address?))).collect()
    }

    /// Whether this machine is served at all: `--mac` lets it in, and it is not our own card.
    pub fn serves(&self, mac: Mac) -> bool {
        self.own_mac != Some(mac) && self.plan.host.mac.is_none_or(|only| only == mac)
    }

    /// What a machine that asks to boot shall do.
    pub fn decide(&self, request: &BootRequest) -> BootPlan {
        decide(&self.plan, request, self.registry.machine(request.mac).as_ref())
    }

    /// What DHCP tells it to load.
    pub fn first_file(&self, spec: &BootSpec) -> Option<String> {
        self.names.first_file(spec, self.plan.endpoints())
    }

    /// A machine was given an address.
    pub fn leased(&self, mac: Mac, address: Ipv4Addr, stage: Stage, boot: Option<(&BootRequest, &BootPlan)>) {
        let before = self.registry.machine(mac);
        if let Some((BootRequest { firmware, arch, .. }, plan)) = boot {
            let (firmware, arch) = (*firmware, *arch);
            match plan {
                // A loader of ours that asks a second time (iPXE after the ROM) continues the same boot.
                BootPlan::Install(_) if continues(stage, before.as_ref()) => {}
                BootPlan::Install(_) => {
                    self.packages.restart(mac);
                    self.registry.record(mac, EventKind::AskedToBoot { firmware, arch });
                }
                BootPlan::LocalDisk(_) => self.registry.record_change(mac, EventKind::SentToDisk { firmware, arch }),
                BootPlan::Ignore(_) => {}
            }
        }
        if before.as_ref().and_then(|machine| machine.address) != Some(address) {
            self.registry.record(mac, EventKind::Leased { address });
        }
        let installed = before.is_some_and(|m| m.is_installed() && m.progress < Progress::Running);
        if stage == Stage::Os && installed {
            self.registry.record(mac, EventKind::BootedFromDisk);
        }
    }

    /// A boot file by name, for whoever is at `client`. `read` is false for a look that loads nothing (HTTP `HEAD`).
    pub fn open(&self, client: IpAddr, name: &str, carrier: Carrier, read: bool) -> anyhow::Result<Option<Opened<'_>>> {
        let machine = self.machine_at(client);
        match self.names.look_up(name) {
            None => Ok(None),
            Some(BootFile::Artifact(artifact)) => {
                if let (true, Some(machine)) = (read, &machine) {
                    self.note_loading(artifact, machine);
                }
                Ok(self.files.file(artifact).map(Opened::File))
            }
            // A script is for a machine we know: without a lease of ours there is nobody to make it for.
            Some(BootFile::Script(kind)) => match machine {
                Some(machine) => self.script(*kind, carrier, &machine).map(|script| Some(Opened::Script(script))),
                None => Ok(None),
            },
        }
    }

    /// A file of a machine's answers; the first one is the answer file itself.
    pub fn answer_file(&self, mac: Mac, token: &str, file: &str) -> anyhow::Result<Option<String>> {
        if !self.serves(mac) || !self.secret.accepts(mac, token) {
            return Ok(None);
        }
        let mut files = self.render_answers(mac)?;
        if file == self.plan.release.distro.answers {
            self.registry.record_change(mac, EventKind::AskedForAnswers);
        }
        Ok(files.remove(file))
    }

    /// A callback from the answers; false if it is not from that machine or not known.
    pub fn callback(&self, mac: Mac, token: &str, name: &str, detail: &str) -> bool {
        if !self.serves(mac) || !self.secret.accepts(mac, token) {
            return false;
        }
        let event = match name {
            "started" => EventKind::InstallerStarted,
            "partitioned" => EventKind::Partitioned,
            "finishing" => EventKind::Finishing,
            "installed" => EventKind::Installed,
            "failed" => EventKind::Failed { what: one_line(detail) },
            _ => return false,
        };
        if matches!(event, EventKind::Finishing | EventKind::Installed)
            && let Some(rest) = self.packages.rest(mac)
        {
            self.registry.record(mac, rest);
        }
        self.registry.record_change(mac, event);
        true
    }

    /// The mirror has sent a file; packages are counted.
    pub fn mirrored(&self, client: IpAddr, path: &str, bytes: u64) {
        if !(path.ends_with(".deb") || path.ends_with(".udeb") || path.ends_with(".rpm")) {
            return;
        }
        if let Some(machine) = self.machine_at(client)
            && let Some(event) = self.packages.add(machine.mac, bytes)
        {
            self.registry.record(machine.mac, event);
        }
    }

    fn render_answers(&self, mac: Mac) -> anyhow::Result<BTreeMap<String, String>> {
        let urls = self.urls(mac);
        distro::answer_files(&self.plan.answer_context(mac, &urls.answers, &urls.callback))
    }

    fn install_script(&self, kind: ScriptKind, carrier: Carrier, mac: Mac) -> anyhow::Result<String> {
        let urls = self.urls(mac);
        let args = distro::kernel_args(&self.plan.answer_context(mac, &urls.answers, &urls.callback))?;
        Ok(self.scripts.install(
            kind,
            carrier,
            &self.plan.release,
            self.names.folder(),
            self.plan.endpoints(),
            &args,
        )?)
    }

    fn script(&self, kind: ScriptKind, carrier: Carrier, machine: &Machine) -> anyhow::Result<String> {
        if machine.is_installed() {
            let firmware = machine.firmware.unwrap_or(Firmware::Uefi);
            Ok(self.scripts.local_disk(kind, &self.plan.release, firmware)?)
        } else {
            self.install_script(kind, carrier, machine.mac)
        }
    }

    fn urls(&self, mac: Mac) -> MachineUrls {
        self.secret.urls(mac, self.plan.endpoints(), &self.plan.release.distro.answers)
    }

    fn note_loading(&self, artifact: &str, machine: &Machine) {
        let release = &self.plan.release;
        if artifact == release.kernel.name {
            self.registry.record_change(machine.mac, EventKind::LoadingKernel);
        } else if artifact != release.initrd.name && !machine.is_installed() {
            self.registry.record_change(machine.mac, EventKind::LoadingLoader);
        }
    }

    fn machine_at(&self, client: IpAddr) -> Option<Machine> {
        match client {
            IpAddr::V4(address) => self.registry.machine_at(address),
            IpAddr::V6(_) => None,
        }
    }
}

/// iPXE asks for an address again after the ROM that loaded it: that is the same boot, not another one.
fn continues(stage: Stage, machine: Option<&Machine>) -> bool {
    stage == Stage::Ipxe && machine.is_some_and(|m| matches!(m.last, Some(EventKind::LoadingLoader)))
}

/// A callback's detail as one line of printable text: it goes to terminals and to the journal.
fn one_line(detail: &str) -> String {
    let clean: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    let clean = clean.trim();
    if clean.is_empty() { "the installer gave no reason".to_owned() } else { clean.to_owned() }
}
