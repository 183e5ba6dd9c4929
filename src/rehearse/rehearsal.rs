use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use nix::unistd::geteuid;

use super::{Accel, Hardware, Medium, Options, Tap, Tools, Vm, WorkDir};
use crate::{
    events::Registry,
    model::{Arch, Disk, Firmware, Hinted, Mac},
    net::Place,
    plan::Plan,
    serve::{self, Login, Running},
};

/// The virtual machine's network card, unless the plan names one: from the range that QEMU's machines have.
const MAC: Mac = Mac([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

/// A plan that is served to an empty machine, which is still switched off.
///
/// Everything in it belongs to this process: dropping it ends the servers, the network, and, unless it is kept, the disk.
pub struct Rehearsal {
    // Dropped in this order: the servers leave the cable before it goes, the files go last.
    running: Running,
    tap: Tap,
    place: Place,
    login: Login,
    tools: Tools,
    hardware: Hardware,
    work: WorkDir,
}

impl Rehearsal {
    /// Makes the network and the machine's parts, and starts the servers.
    ///
    /// # Errors
    /// [`Hinted`] for what this host lacks, before anything is made; whatever keeps the servers from starting.
    pub async fn set_up(plan: Plan, options: &Options, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let tools = Tools::find(options.firmware)?;
        if plan.release.arch != Arch::X86_64 {
            let what = format!("a rehearsal's machine is x86_64; this plan installs {}", plan.release.arch);
            return Err(Hinted::new(what, "rehearse the plan without --arch").into());
        }
        if !geteuid().is_root() {
            let what = "a rehearsal needs root: it makes a network namespace and a virtual network interface";
            return Err(Hinted::new(what, "run it with sudo; this host's own network is not touched").into());
        }
        let work = WorkDir::create(&plan.prefix, Timestamp::now())?;
        work.make_disk(options.disk_gib)?;
        let hardware = Hardware {
            accel: Accel::here(),
            images: work.own_firmware(&tools.images)?,
            memory_mib: options.memory_mib,
            http_boot: options.firmware == Firmware::UefiHttp,
            mac: plan.host.mac.unwrap_or(MAC),
            first: Medium::Network,
            disk: work.disk(),
            console_log: work.console_log(),
        };
        if hardware.accel == Accel::Tcg {
            say("no KVM here: the virtual machine runs without it, many times slower");
        }
        let place = Place::private().context("making a network namespace")?;
        let tap = Tap::create(&place)?;
        let plan = for_the_rehearsal(plan, work.journal(), say);
        let login = Login::of(&plan);
        let running = serve::start(plan, place.clone(), say).await?;
        Ok(Self { running, tap, place, login, tools, hardware, work })
    }

    /// Switches the machine on. It may be switched off and on again.
    pub async fn power_on(&self) -> anyhow::Result<Vm> {
        Vm::power_on(&self.tools.qemu, &self.hardware, &self.tap, self.work.complaints()).await
    }

    /// The machine's network card.
    pub fn mac(&self) -> Mac {
        self.hardware.mac
    }

    /// What the machine did.
    pub fn registry(&self) -> &Registry {
        self.running.registry()
    }

    /// Where its network is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How one logs in to it.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Its disk, a raw image; not to be touched while it is on.
    pub fn disk(&self) -> PathBuf {
        self.work.disk()
    }

    /// Everything that came out of its serial port, as it came.
    pub fn console_log(&self) -> PathBuf {
        self.work.console_log()
    }

    /// Leaves its disk and its console's transcript when all else goes.
    pub fn keep(&mut self) {
        self.work.keep();
    }

    /// Ends the servers; nothing is left but what is kept.
    pub async fn tear_down(self) -> anyhow::Result<()> {
        self.running.stop().await.context("ending the rehearsal's servers")
    }
}

/// What has to be different on a virtual machine.
fn for_the_rehearsal(mut plan: Plan, journal: PathBuf, say: &(dyn Fn(&str) + Sync)) -> Plan {
    plan.interface = Tap::NAME.to_owned();
    plan.journal = journal;
    if let Disk::Device(device) = &plan.recipe.disk {
        say(&format!("the virtual machine has one disk: it stands for {device}"));
        plan.recipe.disk = Disk::FirstFixed;
    }
    let console = plan.release.distro.rehearse.kernel_args.iter().cloned();
    plan.kernel_args.splice(0..0, console);
    plan
}
