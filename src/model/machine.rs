use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Arch, Event, EventKind, Firmware, Mac};

/// Observed: what is known of a machine. The fold of its events, so that replaying the journal rebuilds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its network card.
    pub mac: Mac,
    /// Firmware of its last boot request.
    pub firmware: Option<Firmware>,
    /// Instruction set of its last boot request.
    pub arch: Option<Arch>,
    /// The address it was last given.
    pub address: Option<Ipv4Addr>,
    /// How far it is.
    pub progress: Progress,
    /// Packages fetched in this installation.
    pub packages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// What it last did.
    pub last: Option<EventKind>,
}

/// How far a machine is. Ordered: a later stage is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It was seen, no more.
    Seen,
    /// Its firmware was sent a loader.
    Booting,
    /// Its installer runs.
    Installing,
    /// The installer reported a failure; it is not retried by itself.
    Failed,
    /// Its disk is bootable, the installer is in its last steps.
    Finishing,
    /// The installer is done.
    Installed,
    /// The installed system was seen on the network.
    Running,
}

impl Machine {
    /// A machine of which nothing is known yet.
    pub fn new(mac: Mac, now: Timestamp) -> Self {
        Self {
            mac,
            firmware: None,
            arch: None,
            address: None,
            progress: Progress::Seen,
            packages: 0,
            bytes: 0,
            last_seen: now,
            last: None,
        }
    }

    /// Whether its disk holds a system of ours, so that booting the installer again would destroy it.
    ///
    /// True from [`Progress::Finishing`] on: the boot loader is on the disk by then, and a machine that loses power in the
    /// last minute must not be erased for it.
    pub fn is_installed(&self) -> bool {
        self.progress >= Progress::Finishing
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) {
        debug_assert_eq!(self.mac, event.mac);
        self.last_seen = event.at;
        self.last = Some(event.kind.clone());
        match &event.kind {
            EventKind::AskedToBoot { firmware, arch } => {
                (self.firmware, self.arch) = (Some(*firmware), Some(*arch));
                self.start_over(Progress::Booting);
            }
            EventKind::SentToDisk { firmware, arch } => (self.firmware, self.arch) = (Some(*firmware), Some(*arch)),
            EventKind::Leased { address } => self.address = Some(*address),
            EventKind::LoadingLoader | EventKind::LoadingKernel => self.reach(Progress::Booting),
            EventKind::AskedForAnswers | EventKind::InstallerStarted | EventKind::Partitioned => {
                self.reach(Progress::Installing);
            }
            EventKind::Packages { count, bytes } => (self.packages, self.bytes) = (*count, *bytes),
            EventKind::Finishing => self.reach(Progress::Finishing),
            EventKind::Installed => self.reach(Progress::Installed),
            EventKind::Failed { .. } => self.progress = Progress::Failed,
            EventKind::HostKeys { .. } => {}
            EventKind::BootedFromDisk | EventKind::HandedOff { .. } => self.reach(Progress::Running),
            EventKind::Rearmed => self.start_over(Progress::Seen),
        }
    }

    fn start_over(&mut self, progress: Progress) {
        self.progress = progress;
        (self.packages, self.bytes) = (0, 0);
    }

    /// Progress never goes backwards by itself: a late request of the loader must not undo "installed".
    fn reach(&mut self, progress: Progress) {
        self.progress = self.progress.max(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(kinds: &[EventKind]) -> Machine {
        let (mac, at) = (Mac([2, 0, 0, 0, 0, 1]), Timestamp::UNIX_EPOCH);
        let mut machine = Machine::new(mac, at);
        for kind in kinds {
            machine.apply(&Event { at, mac, kind: kind.clone() });
        }
        machine
    }

    const ASKED: EventKind = EventKind::AskedToBoot { firmware: Firmware::Uefi, arch: Arch::X86_64 };

    #[test]
    fn an_installation_ends_as_running_and_stays_installed() {
        use EventKind as E;
        let address = Ipv4Addr::new(192, 168, 42, 100);
        let story = [
            ASKED,
            E::Leased { address },
            E::LoadingKernel,
            E::AskedForAnswers,
            E::Packages { count: 3, bytes: 9 },
            E::Finishing,
            E::Installed,
            E::SentToDisk { firmware: Firmware::Uefi, arch: Arch::X86_64 },
            E::LoadingLoader,
            E::BootedFromDisk,
        ];
        let machine = fold(&story);
        assert_eq!((machine.progress, machine.packages, machine.address), (Progress::Running, 3, Some(address)));
        assert!(fold(&story[..6]).is_installed(), "bootable before the very end");
        assert!(!fold(&story[..5]).is_installed());
    }

    #[test]
    fn rearming_forgets_that_it_was_installed() {
        assert!(!fold(&[ASKED, EventKind::Installed, EventKind::Rearmed]).is_installed());
    }
}
