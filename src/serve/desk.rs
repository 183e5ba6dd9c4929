use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::{
    callback::{self, Unheard},
    handoff::{self, Code},
    installs::Installs,
    known_hosts::KnownHosts,
    tally::Tally,
};
use crate::{
    boot::{BootFile, Carrier, MachineUrls, Names, OwnDisk, Scripts, Secret, decide, own_disk},
    distro::{self, AnswerContext, ScriptKind},
    events::Registry,
    fetch::{BootSet, VerifiedFile},
    mirror::Served,
    model::{BootPlan, BootRequest, BootSpec, EventKind, Firmware, Known, Mac, Machine, Progress, Stage},
    plan::Plan,
};

/// The desk that all servers turn to: it knows the plan, asks `boot::decide`, and records what machines do.
#[derive(Debug)]
pub struct Desk {
    plan: Plan,
    registry: Registry,
    current: RwLock<Arc<Current>>,
    names: Names,
    scripts: Scripts,
    secret: Secret,
    packages: Tally,
    code: Option<Code>,
    known_hosts: Arc<KnownHosts>,
    /// Our own card on that link: the look for another DHCP server is not a machine to serve.
    own_mac: Option<Mac>,
}

/// What a run serves until it takes it anew.
#[derive(Debug)]
struct Current {
    files: BootSet,
    /// When the first of the archives' metadata stops being good.
    valid_until: Option<Timestamp>,
}

/// No installation takes longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// A boot file that was found.
#[derive(Debug)]
pub enum Opened {
    /// A script, made for who asked.
    Script(String),
    /// A file of the cache.
    File(VerifiedFile),
}

impl Desk {
    /// Everything is known; the answers are rendered once to see that they can be.
    pub fn new(
        plan: Plan,
        files: BootSet,
        valid_until: Option<Timestamp>,
        registry: Registry,
        secret: Secret,
        own_mac: Option<Mac>,
    ) -> anyhow::Result<Self> {
        let names = Names::new(&plan.release);
        let scripts = Scripts::new(&plan.release.distro.catalogue)?;
        let code = Code::pack(&plan.recipe.handoff, &plan.prefix)?;
        let known_hosts = Arc::new(KnownHosts::beside(&plan.journal));
        known_hosts.keep(&registry.machines());
        let packages = Tally::default();
        let current = RwLock::new(Arc::new(Current { files, valid_until }));
        let desk = Self { plan, registry, current, names, scripts, secret, packages, code, known_hosts, own_mac };
        let anyone = desk.plan.host.mac.unwrap_or(Mac([0x02, 0, 0, 0, 0, 1]));
        desk.render_answers(anyone).context("rendering the answers")?;
        desk.install_script(ScriptKind::Grub, Carrier::Tftp, anyone).context("rendering the loader script")?;
        Ok(desk)
    }

    /// From now on these are the boot files, and this is how long the archives' metadata are good.
    pub fn go_by(&self, files: BootSet, valid_until: Option<Timestamp>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Current { files, valid_until });
    }

    /// Whether an installation is under way that may still ask for something.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        let machines = self.registry.machines();
        machines.iter().any(|machine| machine.is_under_way() && now.duration_since(machine.last_seen) < LONGEST)
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
        decide(&self.plan, request, &self.registry.known(request.mac, request.uuid))
    }

    /// What DHCP tells it to load.
    pub fn first_file(&self, spec: &BootSpec) -> Option<String> {
        self.names.first_file(spec, self.plan.endpoints())
    }

    /// A machine was given an address.
    pub fn leased(&self, mac: Mac, address: Ipv4Addr, stage: Stage, boot: Option<(&BootRequest, &BootPlan)>) {
        let before = self.registry.known(mac, boot.and_then(|(request, _)| request.uuid));
        let machine = before.machine.as_ref();
        // First, so that what it asks for is the last that it did: iPXE asks for the same once more.
        if machine.and_then(|machine| machine.address) != Some(address) {
            self.registry.record(mac, EventKind::Leased { address });
            self.keep_known_hosts();
        }
        if let Some((request, plan)) = boot {
            self.note_boot(request, plan, &before);
        }
        let installed = machine.is_some_and(|m| m.is_installed() && m.progress < Progress::Running);
        if stage == Stage::Os && installed {
            self.registry.record(mac, EventKind::BootedFromDisk);
        }
    }

    fn note_boot(&self, request: &BootRequest, plan: &BootPlan, before: &Known) {
        let BootRequest { mac, firmware, arch, stage, .. } = *request;
        let uuid = before.uuid;
        match plan {
            // A loader of ours that asks a second time (iPXE after the ROM) continues the same boot.
            BootPlan::Install(_) if continues(stage, before) => {}
            BootPlan::Install(_) => {
                self.packages.restart(mac);
                self.registry.record(mac, EventKind::AskedToBoot { firmware, arch, uuid });
            }
            BootPlan::LocalDisk(_) => {
                let event = match own_disk(before) {
                    Some(OwnDisk::Held) => EventKind::Held,
                    Some(OwnDisk::SameAs(other)) => {
                        EventKind::SentToDisk { firmware, arch, uuid, same_as: Some(other) }
                    }
                    Some(OwnDisk::Installed) | None => EventKind::SentToDisk { firmware, arch, uuid, same_as: None },
                };
                self.registry.record_change(mac, event);
            }
            BootPlan::Ignore(_) => {}
        }
    }

    /// A boot file by name, for whoever is at `client`. `read` is false for a look that loads nothing (HTTP `HEAD`).
    pub fn open(&self, client: IpAddr, name: &str, carrier: Carrier, read: bool) -> anyhow::Result<Option<Opened>> {
        let machine = self.machine_at(client);
        match self.names.look_up(name) {
            None => Ok(None),
            Some(BootFile::Artifact(artifact)) => {
                if let (true, Some(machine)) = (read, &machine) {
                    self.note_loading(artifact, machine);
                }
                Ok(self.current().files.file(artifact).cloned().map(Opened::File))
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

    /// Where the code for a machine's hand-off is, if that is what is asked for.
    pub fn handoff_code(&self, mac: Mac, token: &str, file: &str) -> Option<PathBuf> {
        let code = self.code.as_ref().filter(|_| file == handoff::NAME)?;
        (self.serves(mac) && self.secret.accepts(mac, token)).then(|| code.path())
    }

    /// A callback of a machine, which its token proves.
    pub fn callback(&self, mac: Mac, token: &str, name: &str, body: &str) -> Result<(), Unheard> {
        if !self.serves(mac) || !self.secret.accepts(mac, token) {
            return Err(Unheard::Unknown);
        }
        let event = callback::event(name, body, self.plan.host.hostname.as_deref())?;
        let before = self.registry.machine(mac);
        match event {
            // It was run once; a report that is sent again, as one without an answer is, says nothing new.
            EventKind::HandedOff { .. } if before.is_some_and(|machine| machine.handed_off.is_some()) => return Ok(()),
            EventKind::Finishing | EventKind::Installed => {
                if let Some(rest) = self.packages.rest(mac) {
                    self.registry.record(mac, rest);
                }
            }
            _ => {}
        }
        if event == EventKind::Installed {
            self.learn(mac);
        }
        self.registry.record_change(mac, event);
        self.keep_known_hosts();
        Ok(())
    }

    fn keep_known_hosts(&self) {
        let (file, machines) = (Arc::clone(&self.known_hosts), self.registry.machines());
        self.registry.afterwards(move || file.keep(&machines));
    }

    /// Keeps which packages an installation took, for `provisioner fetch`.
    fn learn(&self, mac: Mac) {
        let Some((taken, whole)) = self.packages.taken(mac) else { return };
        let (path, recipe) = (Installs::path(&self.plan), self.plan.recipe.clone());
        self.registry.afterwards(move || {
            Installs::learn(&path, &recipe, taken, whole)
                .unwrap_or_else(|error| tracing::warn!("writing {}: {error}", path.display()));
        });
    }

    /// The mirror has answered: packages are counted, and one that a machine cannot have is told of. Installers stop there,
    /// most of them with a question on a screen that nobody watches.
    pub fn mirrored(&self, client: IpAddr, served: &Served) {
        let Some(Machine { mac, .. }) = self.machine_at(client) else { return };
        let file = || format!("{}/{}", served.mirror, served.path);
        let given = matches!(served.status, 200 | 206) && served.bytes > 0;
        if given && !served.verified {
            tracing::debug!("{mac} was given {}, which nothing here vouches for", file());
            self.packages.add_unverified(mac, file());
        }
        let suffixes = &self.plan.release.distro.package_suffixes;
        if !suffixes.iter().any(|suffix| served.path.ends_with(suffix)) {
            return;
        }
        if served.status >= 400 {
            let file = served.path.rsplit('/').next().unwrap_or_default().to_owned();
            self.registry.record_change(mac, EventKind::Refused { file, status: served.status });
        } else if served.complete
            && served.status == 200
            && let Some(event) = self.packages.add(mac, file(), served.bytes)
        {
            self.registry.record(mac, event);
        }
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn render_answers(&self, mac: Mac) -> anyhow::Result<BTreeMap<String, String>> {
        distro::answer_files(&self.context(mac, &self.urls(mac)))
    }

    fn install_script(&self, kind: ScriptKind, carrier: Carrier, mac: Mac) -> anyhow::Result<String> {
        let args = distro::kernel_args(&self.context(mac, &self.urls(mac)))?;
        let (release, folder) = (&self.plan.release, self.names.folder());
        Ok(self.scripts.install(kind, carrier, release, folder, self.plan.endpoints(), &args)?)
    }

    fn context<'a>(&'a self, mac: Mac, urls: &'a MachineUrls) -> AnswerContext<'a> {
        let handoff_code = self.code.as_ref().map(Code::sha256);
        let outdated = self.plan.offline || ends_soon(self.current().valid_until, Timestamp::now());
        AnswerContext { handoff_code, outdated, ..self.plan.answer_context(mac, &urls.answers, &urls.callback) }
    }

    fn script(&self, kind: ScriptKind, carrier: Carrier, machine: &Machine) -> anyhow::Result<String> {
        if self.goes_to_disk(machine) {
            let firmware = machine.firmware.unwrap_or(Firmware::Uefi);
            Ok(self.scripts.local_disk(kind, &self.plan.release, firmware)?)
        } else {
            self.install_script(kind, carrier, machine.mac)
        }
    }

    /// A loader asks for itself: what was journaled of its boot tells which machine it is of.
    fn goes_to_disk(&self, machine: &Machine) -> bool {
        own_disk(&self.registry.known(machine.mac, None)).is_some()
    }

    fn urls(&self, mac: Mac) -> MachineUrls {
        self.secret.urls(mac, self.plan.endpoints(), &self.plan.release.distro.answers)
    }

    fn note_loading(&self, artifact: &str, machine: &Machine) {
        let release = &self.plan.release;
        if artifact == release.kernel.name {
            self.registry.record_change(machine.mac, EventKind::LoadingKernel);
        } else if artifact != release.initrd.name && !self.goes_to_disk(machine) {
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

/// iPXE asks for an address again after the ROM that loaded it: that is the same boot, not another one. But some ROMs do not say
/// which machine they are in, and then iPXE is the first to do so: that must be in the journal.
fn continues(stage: Stage, before: &Known) -> bool {
    let same = |machine: &Machine| machine.last == Some(EventKind::LoadingLoader) && machine.uuid == before.uuid;
    stage == Stage::Ipxe && before.machine.as_ref().is_some_and(same)
}

/// Whether metadata stop being good before an installation that begins now has ended. A run that cannot take newer ones goes on
/// with what it has.
fn ends_soon(valid_until: Option<Timestamp>, now: Timestamp) -> bool {
    valid_until.is_some_and(|until| until < now + LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_must_be_good_until_an_installation_has_ended() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a date");
        for (until, soon) in [
            (None, false),
            (Some("2026-11-13T12:00:00Z"), true),
            (Some("2026-11-21T11:59:59Z"), true),
            (Some("2026-11-21T12:00:00Z"), false),
        ] {
            let valid_until = until.map(|until| until.parse().expect("a date"));
            assert_eq!(ends_soon(valid_until, now), soon, "{until:?}");
        }
    }
}
