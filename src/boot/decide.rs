use crate::{
    model::{BootPlan, BootRequest, BootSpec, Machine, Reason, Stage},
    plan::Plan,
};

/// Install, local disk, or no answer. The only place that says so.
///
/// A machine that this provisioner has installed is sent to its own disk, whatever its firmware tries first: an installer
/// that starts by itself a second time erases what the first one made. `--reinstall` is the way back.
///
/// A machine whose installation did not end well is installed again, since much that fails once works the next time, but at
/// most [`RETRIES`] times in one run. Anaconda restarts the machine three minutes after an error: without an end to it, it
/// would erase the disk for ever. After that the machine is *held*: it is sent to its own disk, for which firmware and its
/// user need not wait, and the operator is told. Starting the program again is the decision to try again.
pub fn decide(plan: &Plan, request: &BootRequest, machine: Option<&Machine>) -> BootPlan {
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
    if machine.is_some_and(goes_to_disk) { BootPlan::LocalDisk(spec) } else { BootPlan::Install(spec) }
}

/// How often a machine is installed again by itself in one run, after an installation that did not end well.
pub const RETRIES: u32 = 2;

/// Whether a machine's next boot is from its own disk.
pub fn goes_to_disk(machine: &Machine) -> bool {
    machine.is_installed() || is_held(machine)
}

/// Whether a machine is not installed again by itself, although its installation did not end well.
pub fn is_held(machine: &Machine) -> bool {
    machine.is_unfinished() && machine.retries >= RETRIES
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        model::{Arch, Event, EventKind, Firmware, Mac},
        plan::tests::plan,
    };

    const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

    fn request() -> BootRequest {
        BootRequest { mac: MAC, uuid: None, firmware: Firmware::Uefi, arch: Arch::X86_64, stage: Stage::Rom }
    }

    fn machine(kind: EventKind) -> Machine {
        let mut machine = Machine::new(MAC, Timestamp::UNIX_EPOCH);
        machine.apply(&Event { at: Timestamp::UNIX_EPOCH, mac: MAC, kind });
        machine
    }

    #[test]
    fn installs_what_is_new_or_failed_and_never_what_is_installed() {
        let spec = BootSpec { firmware: Firmware::Uefi, arch: Arch::X86_64, stage: Stage::Rom };
        let failed = EventKind::Failed { what: "no disk".into() };
        let rows = [
            (None, BootPlan::Install(spec)),
            (Some(machine(EventKind::LoadingKernel)), BootPlan::Install(spec)),
            (Some(machine(EventKind::Partitioned)), BootPlan::Install(spec)),
            (Some(machine(failed)), BootPlan::Install(spec)),
            (Some(machine(EventKind::Finishing)), BootPlan::LocalDisk(spec)),
            (Some(machine(EventKind::Installed)), BootPlan::LocalDisk(spec)),
            (Some(machine(EventKind::BootedFromDisk)), BootPlan::LocalDisk(spec)),
            (Some(machine(EventKind::Rearmed)), BootPlan::Install(spec)),
        ];
        for (machine, expected) in rows {
            assert_eq!(decide(&plan(), &request(), machine.as_ref()), expected, "{machine:?}");
        }
    }

    #[test]
    fn an_installation_that_keeps_failing_ends_in_a_held_machine() {
        let at = Timestamp::UNIX_EPOCH;
        let ends = [
            EventKind::Failed { what: "no disk".into() },
            // It may also restart without a word: its kernel crashed, or somebody lost patience.
            EventKind::Partitioned,
        ];
        for end in ends {
            let mut machine = Machine::new(MAC, at);
            let mut installations = 0;
            while let BootPlan::Install(BootSpec { firmware, arch, .. }) = decide(&plan(), &request(), Some(&machine)) {
                machine.apply(&Event { at, mac: MAC, kind: EventKind::AskedToBoot { firmware, arch } });
                assert!(!is_held(&machine), "its loader is given what its firmware was promised");
                machine.apply(&Event { at, mac: MAC, kind: end.clone() });
                installations += 1;
            }
            assert_eq!(installations, 1 + RETRIES, "{end:?}");
            assert!(is_held(&machine) && goes_to_disk(&machine));
            machine.begin_run();
            assert!(matches!(decide(&plan(), &request(), Some(&machine)), BootPlan::Install(_)));
        }
    }

    #[test]
    fn ignores_other_machines_other_architectures_and_unknown_firmware() {
        let mut only = plan();
        only.host.mac = Some(Mac([2, 0, 0, 0, 0, 9]));
        assert_eq!(decide(&only, &request(), None), BootPlan::Ignore(Reason::NotOurMac));

        let arm = BootRequest { arch: Arch::Aarch64, ..request() };
        let reason = Reason::OtherArch { machine: Arch::Aarch64, plan: Arch::X86_64 };
        assert_eq!(decide(&plan(), &arm, None), BootPlan::Ignore(reason));

        let mut bare = plan();
        bare.release.loaders.clear();
        let reason = Reason::NoLoader(Firmware::Uefi, Arch::X86_64);
        assert_eq!(decide(&bare, &request(), None), BootPlan::Ignore(reason));
        let ipxe = BootRequest { stage: Stage::Ipxe, ..request() };
        assert!(matches!(decide(&bare, &ipxe, None), BootPlan::Install(_)), "iPXE needs no loader");
    }
}
