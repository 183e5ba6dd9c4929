use crate::{
    model::{BootPlan, BootRequest, BootSpec, Machine, Reason, Stage},
    plan::Plan,
};

/// Install, local disk, or no answer. The only place that says so.
///
/// A machine that this provisioner has installed is sent to its own disk, whatever its firmware tries first: an installer
/// that starts by itself a second time erases what the first one made. `--reinstall` is the way back.
///
/// A machine whose installation *failed* is installed again: debian-installer does not restart by itself after an error, so
/// a boot request is somebody's decision.
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
    if machine.is_some_and(Machine::is_installed) { BootPlan::LocalDisk(spec) } else { BootPlan::Install(spec) }
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
