use jiff::Timestamp;

use crate::{
    model::{BootPlan, BootRequest, BootSpec, Known, Mac, Machine, Reason, Stage},
    plan::Plan,
};

/// Install, local disk, or no answer. The only place that says so.
///
/// A machine that this provisioner has installed is sent to its own disk, whatever its firmware tries first: an installer
/// that starts by itself a second time erases what the first one made. `--reinstall` is the way back. That is so for each of
/// its network cards: firmware that fails with one, or that our own local-disk script has returned to, asks with the next.
///
/// A machine whose installation did not end well is installed again, since much that fails once works the next time, but at
/// most [`RETRIES`] times in one run. Anaconda restarts the machine three minutes after an error: without an end to it, it
/// would erase the disk for ever. After that the machine is *held*: it is sent to its own disk, for which firmware and its
/// user need not wait, and the operator is told. Starting the program again is the decision to try again.
pub fn decide(plan: &Plan, request: &BootRequest, known: &Known) -> BootPlan {
    if plan.host.mac.is_some_and(|mac| mac != request.mac) {
        return BootPlan::Ignore(Reason::NotOurMac);
    }
    if request.arch != plan.release.arch {
        return BootPlan::Ignore(Reason::OtherArch { machine: request.arch, plan: plan.release.arch });
    }
    // iPXE needs no loader of ours: it reads the script itself.
    if request.stage != Stage::Ipxe && plan.release.loader(request.firmware).is_none() {
        return BootPlan::Ignore(Reason::NoLoader(request.firmware, request.arch));
    }
    let spec = BootSpec { firmware: request.firmware, arch: request.arch, stage: request.stage };
    if own_disk(known).is_some() { BootPlan::LocalDisk(spec) } else { BootPlan::Install(spec) }
}

/// How often a machine is installed again by itself in one run, after an installation that did not end well.
pub const RETRIES: u32 = 2;

/// Why a machine's next boot is from its own disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnDisk {
    /// It is installed.
    Installed,
    /// It is not installed again by itself, although its installation did not end well.
    Held,
    /// It is one or the other by this card of its, and asks with another.
    SameAs(Mac),
}

/// Whether a machine's next boot is from its own disk, and why. Every stage of a boot asks this.
///
/// An installation that is under way with one card does not keep another card from beginning anew: that is one more try of the
/// same machine. Each card counts its own tries, and the first one that is held holds them all, so that there is an end to it.
pub fn own_disk(known: &Known) -> Option<OwnDisk> {
    let rearmed = match &known.machine {
        Some(machine) if machine.is_installed() => return Some(OwnDisk::Installed),
        Some(machine) if is_held(machine) => return Some(OwnDisk::Held),
        Some(machine) => machine.rearmed,
        None => None,
    };
    let other = known.others.iter().find(|other| holds_for_all(other, rearmed))?;
    Some(OwnDisk::SameAs(other.mac))
}

fn is_held(machine: &Machine) -> bool {
    machine.is_unfinished() && machine.retries >= RETRIES
}

/// Whether a machine that was installed or is held with a card must not be installed with another one, for which `--reinstall`
/// was said at `rearmed`.
///
/// SECURITY: `--reinstall` is for what was there when it was said. A machine that has been installed since, with another card,
/// is not erased for it once more.
fn holds_for_all(other: &Machine, rearmed: Option<Timestamp>) -> bool {
    is_held(other) || other.installed.is_some_and(|installed| rearmed.is_none_or(|rearmed| rearmed <= installed))
}

#[cfg(test)]
mod tests;
