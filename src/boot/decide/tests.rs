use std::collections::BTreeMap;

use super::*;
use crate::{
    model::{Arch, Event, EventKind, Firmware, SystemUuid},
    plan::tests::plan,
};

const ONE: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
const TWO: Mac = Mac([0x52, 0x54, 0, 0, 0, 2]);
const UUID: SystemUuid =
    SystemUuid([0x9f, 0x3c, 0x5a, 0x10, 0x0c, 0x2e, 0x4b, 0x71, 0x8d, 0x6f, 0x52, 0x54, 0, 0x12, 0xab, 0x34]);
/// The same in the other byte order.
const SWAPPED: SystemUuid =
    SystemUuid([0x10, 0x5a, 0x3c, 0x9f, 0x2e, 0x0c, 0x71, 0x4b, 0x8d, 0x6f, 0x52, 0x54, 0, 0x12, 0xab, 0x34]);
const OTHER: SystemUuid = SystemUuid([7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
/// AMI's.
const PLACEHOLDER: SystemUuid = SystemUuid([3, 0, 2, 0, 4, 0, 5, 0, 0, 6, 0, 7, 0, 8, 0, 9]);
const SPEC: BootSpec = BootSpec { firmware: Firmware::Uefi, arch: Arch::X86_64, stage: Stage::Rom };

fn asks(mac: Mac, uuid: impl Into<Option<SystemUuid>>) -> BootRequest {
    BootRequest { mac, uuid: uuid.into(), firmware: Firmware::Uefi, arch: Arch::X86_64, stage: Stage::Rom }
}

fn failed() -> EventKind {
    EventKind::Failed { what: "no disk".into() }
}

/// All that is known, one second after another.
#[derive(Default)]
struct Journal {
    machines: BTreeMap<Mac, Machine>,
    seconds: i64,
}

impl Journal {
    fn note(&mut self, mac: Mac, kind: EventKind) {
        self.seconds += 1;
        let at = Timestamp::from_second(self.seconds).expect("a second");
        self.machines.entry(mac).or_insert_with(|| Machine::new(mac, at)).apply(&Event { at, mac, kind });
    }

    /// Firmware asks; what is decided goes into the journal, and holds for the loader that asks next.
    fn boots(&mut self, request: &BootRequest) -> Option<OwnDisk> {
        let BootRequest { mac, uuid, firmware, arch, .. } = *request;
        let known = Known::among(&self.machines, mac, uuid);
        let why = own_disk(&known);
        let plan = decide(&plan(), request, &known);
        assert_eq!(plan, if why.is_some() { BootPlan::LocalDisk(SPEC) } else { BootPlan::Install(SPEC) });
        let uuid = known.uuid;
        self.note(
            mac,
            match why {
                None => EventKind::AskedToBoot { firmware, arch, uuid },
                Some(OwnDisk::Held) => EventKind::Held,
                Some(_) => EventKind::SentToDisk { firmware, arch, uuid, same_as: None },
            },
        );
        assert_eq!(own_disk(&Known::among(&self.machines, mac, None)), why, "its loader is given what was promised");
        why
    }

    /// The whole of an installation.
    fn installs(&mut self, request: &BootRequest) {
        assert_eq!(self.boots(request), None);
        for kind in [EventKind::Partitioned, EventKind::Finishing, EventKind::Installed] {
            self.note(request.mac, kind);
        }
    }
}

#[test]
fn installs_what_is_new_or_failed_and_never_what_is_installed() {
    let rows = [
        (None, BootPlan::Install(SPEC)),
        (Some(EventKind::LoadingKernel), BootPlan::Install(SPEC)),
        (Some(EventKind::Partitioned), BootPlan::Install(SPEC)),
        (Some(failed()), BootPlan::Install(SPEC)),
        (Some(EventKind::Finishing), BootPlan::LocalDisk(SPEC)),
        (Some(EventKind::Installed), BootPlan::LocalDisk(SPEC)),
        (Some(EventKind::BootedFromDisk), BootPlan::LocalDisk(SPEC)),
        (Some(EventKind::Rearmed), BootPlan::Install(SPEC)),
    ];
    for (kind, expected) in rows {
        let mut journal = Journal::default();
        if let Some(kind) = &kind {
            journal.note(ONE, kind.clone());
        }
        let known = Known::among(&journal.machines, ONE, None);
        assert_eq!(decide(&plan(), &asks(ONE, None), &known), expected, "{kind:?}");
    }
}

#[test]
fn an_installation_that_keeps_failing_ends_in_a_held_machine() {
    // It may also restart without a word: its kernel crashed, or somebody lost patience. And its firmware may take turns.
    for (end, cards) in [(failed(), [ONE, ONE]), (EventKind::Partitioned, [ONE, ONE]), (failed(), [ONE, TWO])] {
        let mut journal = Journal::default();
        let mut tries = 0;
        let mut card = cards.iter().cycle();
        let mut next = || *card.next().expect("it goes round");
        let mut last = next();
        while journal.boots(&asks(last, UUID)).is_none() {
            journal.note(last, end.clone());
            tries += 1;
            last = next();
        }
        let each = 1 + RETRIES;
        assert_eq!(tries, if cards == [ONE, ONE] { each } else { 2 * each - 1 }, "{end:?}");
        assert_eq!(journal.boots(&asks(ONE, UUID)), Some(OwnDisk::Held));
        assert_eq!(journal.boots(&asks(TWO, UUID)), Some(OwnDisk::SameAs(ONE)));
        journal.machines.values_mut().for_each(Machine::begin_run);
        assert_eq!(journal.boots(&asks(last, UUID)), None);
    }
}

#[test]
fn what_was_installed_with_one_card_is_not_erased_with_another() {
    let same = Some(OwnDisk::SameAs(ONE));
    let rows = [
        (Some(UUID), Some(UUID), same),
        (Some(UUID), Some(SWAPPED), same),
        (Some(UUID), Some(OTHER), None),
        (Some(UUID), None, None),
        (None, Some(UUID), None),
        (None, None, None),
        (Some(PLACEHOLDER), Some(PLACEHOLDER), None),
    ];
    for (first, second, expected) in rows {
        let mut journal = Journal::default();
        journal.installs(&asks(ONE, first));
        assert_eq!(journal.boots(&asks(TWO, second)), expected, "{first:?}, then {second:?}");
        assert_eq!(journal.boots(&asks(ONE, first)), Some(OwnDisk::Installed));
    }
}

#[test]
fn a_machine_whose_journal_knows_no_uuid_says_it_on_its_next_way_to_the_disk() {
    let mut journal = Journal::default();
    journal.installs(&asks(ONE, None));
    journal.boots(&asks(ONE, UUID));
    // An adapter that goes to another machine leaves the name of the one that was installed.
    journal.boots(&asks(ONE, OTHER));
    assert_eq!(journal.boots(&asks(TWO, UUID)), Some(OwnDisk::SameAs(ONE)));
    assert_eq!(journal.boots(&asks(TWO, None)), Some(OwnDisk::SameAs(ONE)), "as it said before");
}

#[test]
fn an_installation_may_begin_with_one_card_and_end_with_another() {
    let mut journal = Journal::default();
    assert_eq!(journal.boots(&asks(ONE, UUID)), None);
    journal.note(ONE, EventKind::Partitioned);
    journal.installs(&asks(TWO, UUID));
    assert_eq!(journal.boots(&asks(ONE, UUID)), Some(OwnDisk::SameAs(TWO)));
}

#[test]
fn reinstall_is_for_the_machine_and_once() {
    // With the card that it was installed with.
    let mut journal = Journal::default();
    journal.installs(&asks(ONE, UUID));
    journal.note(ONE, EventKind::Rearmed);
    journal.installs(&asks(ONE, UUID));
    assert_eq!(journal.boots(&asks(TWO, UUID)), Some(OwnDisk::SameAs(ONE)));
    // Its firmware then takes the other one.
    journal.note(ONE, EventKind::Rearmed);
    journal.installs(&asks(TWO, UUID));
    assert_eq!(journal.boots(&asks(ONE, UUID)), Some(OwnDisk::SameAs(TWO)), "that was what --reinstall asked for");

    // With the other card, over what the first one's record says, through all attempts.
    let mut journal = Journal::default();
    journal.installs(&asks(ONE, UUID));
    journal.note(TWO, EventKind::Rearmed);
    assert_eq!(journal.boots(&asks(TWO, UUID)), None);
    journal.note(TWO, failed());
    journal.installs(&asks(TWO, UUID));
    assert_eq!(journal.boots(&asks(TWO, UUID)), Some(OwnDisk::Installed));
    assert_eq!(journal.boots(&asks(ONE, UUID)), Some(OwnDisk::Installed));

    // Nothing was known of the card that it was said for.
    let mut journal = Journal::default();
    journal.note(ONE, EventKind::Rearmed);
    journal.installs(&asks(TWO, UUID));
    assert_eq!(journal.boots(&asks(ONE, UUID)), Some(OwnDisk::SameAs(TWO)));
}

#[test]
fn ignores_other_machines_other_architectures_and_unknown_firmware() {
    let new = Known::default();
    let mut only = plan();
    only.host.mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    assert_eq!(decide(&only, &asks(ONE, UUID), &new), BootPlan::Ignore(Reason::NotOurMac));

    let arm = BootRequest { arch: Arch::Aarch64, ..asks(ONE, None) };
    let reason = Reason::OtherArch { machine: Arch::Aarch64, plan: Arch::X86_64 };
    assert_eq!(decide(&plan(), &arm, &new), BootPlan::Ignore(reason));

    let mut bare = plan();
    bare.release.loaders.clear();
    let reason = Reason::NoLoader(Firmware::Uefi, Arch::X86_64);
    assert_eq!(decide(&bare, &asks(ONE, None), &new), BootPlan::Ignore(reason));
    let ipxe = BootRequest { stage: Stage::Ipxe, ..asks(ONE, None) };
    assert!(matches!(decide(&bare, &ipxe, &new), BootPlan::Install(_)), "iPXE needs no loader");
}
