use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Arch, Event, EventKind, Firmware, Mac, SystemUuid};

/// Observed: what is known of a machine. The fold of its events, so that replaying the journal rebuilds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its network card.
    pub mac: Mac,
    /// The machine that the card is in: once it is installed, the one that was.
    pub uuid: Option<SystemUuid>,
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
    /// Files of this installation whose content nothing here vouched for.
    pub unverified: u64,
    /// Installations begun after one that did not end well, in this run of the program.
    pub retries: u32,
    /// Since when its disk holds a system of ours.
    pub installed: Option<Timestamp>,
    /// When the operator last asked for a new installation.
    pub rearmed: Option<Timestamp>,
    /// Public SSH host keys of the system on its disk.
    pub host_keys: Vec<String>,
    /// The name that it had when it told them.
    pub hostname: Option<String>,
    /// Exit status of the hand-off, once it ran.
    pub handed_off: Option<u8>,
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
    /// The installer reported a failure. What it reports afterwards says that somebody made it go on.
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
            uuid: None,
            firmware: None,
            arch: None,
            address: None,
            progress: Progress::Seen,
            packages: 0,
            bytes: 0,
            unverified: 0,
            retries: 0,
            installed: None,
            rearmed: None,
            host_keys: Vec::new(),
            hostname: None,
            handed_off: None,
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
            EventKind::AskedToBoot { firmware, arch, uuid } => {
                (self.firmware, self.arch) = (Some(*firmware), Some(*arch));
                self.uuid = uuid.or(self.uuid);
                self.retries += u32::from(self.is_unfinished());
                self.start_over(Progress::Booting);
            }
            EventKind::SentToDisk { firmware, arch, uuid, .. } => {
                (self.firmware, self.arch) = (Some(*firmware), Some(*arch));
                // An adapter that was installed with and is plugged into another machine does not take that name along.
                self.uuid = if self.is_installed() { self.uuid.or(*uuid) } else { uuid.or(self.uuid) };
            }
            EventKind::Leased { address } => self.address = Some(*address),
            EventKind::LoadingLoader | EventKind::LoadingKernel => self.reach(Progress::Booting),
            EventKind::AskedForAnswers | EventKind::InstallerStarted => self.install(),
            EventKind::Partitioned => {
                self.install();
                self.host_keys.clear();
            }
            EventKind::Packages { count, bytes, unverified } => {
                (self.packages, self.bytes, self.unverified) = (*count, *bytes, *unverified);
            }
            EventKind::Finishing => self.reach(Progress::Finishing),
            EventKind::Installed => self.reach(Progress::Installed),
            // SECURITY: not after the end: a late report must not have an installed system erased.
            EventKind::Failed { .. } if self.progress < Progress::Installed => self.progress = Progress::Failed,
            EventKind::Failed { .. } | EventKind::Held => {}
            EventKind::Refused { .. } => {}
            EventKind::HostKeys { keys, hostname } => {
                (self.host_keys, self.hostname) = (keys.clone(), hostname.clone());
            }
            EventKind::BootedFromDisk => self.reach(Progress::Running),
            EventKind::HandedOff { status, .. } => {
                self.handed_off = Some(*status);
                self.reach(Progress::Running);
            }
            EventKind::Rearmed => {
                (self.retries, self.rearmed) = (0, Some(event.at));
                self.start_over(Progress::Seen);
            }
        }
        self.installed = self.is_installed().then(|| self.installed.unwrap_or(event.at));
    }

    /// Whether an installation was begun that neither ended well nor is followed by another.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.progress, Progress::Installing | Progress::Failed)
    }

    /// Whether it was sent into an installation that may go on.
    pub fn is_under_way(&self) -> bool {
        use Progress as P;
        matches!(self.progress, P::Booting | P::Installing | P::Failed | P::Finishing)
    }

    /// Another run of the program begins. Whoever started it had a look at what failed before, and may have changed what is
    /// installed.
    pub fn begin_run(&mut self) {
        self.retries = 0;
    }

    fn start_over(&mut self, progress: Progress) {
        self.progress = progress;
        (self.packages, self.bytes, self.unverified) = (0, 0, 0);
        self.handed_off = None;
    }

    /// Its installer works: also one that had failed, and in which somebody chose to try again.
    fn install(&mut self) {
        if self.progress == Progress::Failed {
            self.progress = Progress::Installing;
        }
        self.reach(Progress::Installing);
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

    const ASKED: EventKind = EventKind::AskedToBoot { firmware: Firmware::Uefi, arch: Arch::X86_64, uuid: None };

    #[test]
    fn an_installation_ends_as_running_and_stays_installed() {
        use EventKind as E;
        let address = Ipv4Addr::new(192, 168, 42, 100);
        let story = [
            ASKED,
            E::Leased { address },
            E::LoadingKernel,
            E::AskedForAnswers,
            E::Packages { count: 3, bytes: 9, unverified: 0 },
            E::Finishing,
            E::Installed,
            E::SentToDisk { firmware: Firmware::Uefi, arch: Arch::X86_64, uuid: None, same_as: None },
            E::LoadingLoader,
            E::BootedFromDisk,
        ];
        let machine = fold(&story);
        assert_eq!((machine.progress, machine.packages, machine.address), (Progress::Running, 3, Some(address)));
        assert!(fold(&story[..6]).is_installed(), "bootable before the very end");
        assert!(!fold(&story[..5]).is_installed());
    }

    #[test]
    fn an_installer_that_goes_on_after_a_failure_is_installing() {
        use EventKind as E;
        let failed = E::Failed { what: "no disk".to_owned() };
        let story = [ASKED, E::InstallerStarted, failed.clone(), E::Partitioned, E::Finishing, E::Installed];
        let reached = |length| fold(&story[..length]).progress;
        assert_eq!([reached(3), reached(4), reached(6)], [Progress::Failed, Progress::Installing, Progress::Installed]);
        assert!(!fold(&[ASKED, E::Finishing, failed.clone()]).is_installed(), "its last steps went wrong");
        assert!(fold(&[ASKED, E::Installed, failed]).is_installed(), "a late report does not have it erased");
    }

    #[test]
    fn only_what_erases_counts_as_another_try() {
        use EventKind as E;
        let failed = E::Failed { what: "no disk".to_owned() };
        let rows: [(&[EventKind], u32); 5] = [
            (&[ASKED, E::LoadingKernel, ASKED, ASKED], 0),
            (&[ASKED, failed.clone(), ASKED], 1),
            (&[ASKED, E::AskedForAnswers, ASKED, E::AskedForAnswers, ASKED], 2),
            (&[ASKED, failed.clone(), E::Partitioned, failed.clone(), ASKED], 1),
            (&[ASKED, failed, ASKED, E::Rearmed, ASKED], 0),
        ];
        for (story, retries) in rows {
            assert_eq!(fold(story).retries, retries, "{story:?}");
        }
    }

    #[test]
    fn host_keys_go_with_the_disk_they_are_on() {
        use EventKind as E;
        let keys = |key: &str| E::HostKeys { keys: vec![key.to_owned()], hostname: None };
        let story = [keys("one"), E::BootedFromDisk, ASKED, E::Partitioned, keys("two")];
        let known = |length| fold(&story[..length]).host_keys;
        assert_eq!([known(3), known(4), known(5)], [vec!["one".to_owned()], vec![], vec!["two".to_owned()]]);
    }

    #[test]
    fn an_installation_is_under_way_until_its_end() {
        use EventKind as E;
        let failed = E::Failed { what: "no disk".to_owned() };
        let story = [ASKED, E::InstallerStarted, failed, E::Finishing, E::Installed, E::BootedFromDisk];
        let under_way = |length| fold(&story[..length]).is_under_way();
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(under_way), [false, true, true, true, true, false, false]);
    }

    #[test]
    fn rearming_forgets_that_it_was_installed() {
        assert!(!fold(&[ASKED, EventKind::Installed, EventKind::Rearmed]).is_installed());
    }
}
