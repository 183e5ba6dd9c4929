use std::{mem, net::Ipv4Addr, time::Duration};

use super::StageTime;
use crate::model::EventKind;

/// What a rehearsed machine has shown so far, and when: durations are since power-on.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    reached: Vec<(EventKind, Duration)>,
    address: Option<Ipv4Addr>,
    /// Console text since the machine was sent to its disk; what the installer wrote before does not count.
    since_disk: Option<String>,
    login: Option<Duration>,
    handoff: bool,
    /// The line that the console is at has been answered.
    answered: bool,
}

/// What asks for the passphrase of a disk: cryptsetup's script in an initial RAM disk ("Please unlock disk vda3_crypt: "),
/// systemd's ("Please enter passphrase for disk …:").
const PASSPHRASE_PROMPTS: [&str; 2] = ["nlock disk", "passphrase for"];

/// What a getty of any system writes when somebody may log in.
const PROMPT: &str = "login:";

impl Timeline {
    /// `handoff`: it is complete only when the hand-off has run.
    pub(super) fn new(handoff: bool) -> Self {
        Self { handoff, ..Self::default() }
    }

    /// Notes an event of the machine.
    ///
    /// # Errors
    /// Why the rehearsal has failed, when this event says so.
    pub(super) fn event(&mut self, kind: &EventKind, at: Duration) -> Result<(), String> {
        match kind {
            EventKind::Failed { what } => return Err(format!("the installer reported a failure: {what}")),
            EventKind::HandedOff { status: 1.., .. } => return Err(kind.to_string()),
            EventKind::AskedToBoot { .. } if self.has(&EventKind::Installed) => {
                return Err("the machine was sent to the installer again after its installation".to_owned());
            }
            EventKind::AskedToBoot { .. } if self.has(&EventKind::AskedForAnswers) => {
                return Err("the machine restarted in the middle of its installation".to_owned());
            }
            EventKind::Leased { address } => self.address = Some(*address),
            EventKind::SentToDisk { .. } => self.since_disk = Some(String::new()),
            _ => {}
        }
        if is_milestone(kind) && !self.has(kind) {
            self.reached.push((kind.clone(), at));
        }
        Ok(())
    }

    /// Notes text from its console.
    pub(super) fn text(&mut self, text: &str, at: Duration) {
        let Some(since_disk) = &mut self.since_disk else { return };
        since_disk.push_str(text);
        if since_disk.contains(PROMPT) {
            self.login.get_or_insert(at);
        }
        // A prompt does not span lines.
        if let Some(end) = since_disk.rfind('\n') {
            since_disk.drain(..=end);
            self.answered = false;
        }
    }

    /// Whether its console waits for the passphrase of its disk. True once for each time it does.
    pub(super) fn wants_passphrase(&mut self) -> bool {
        let line = self.since_disk.as_deref().unwrap_or_default();
        let asks = !self.answered && PASSPHRASE_PROMPTS.iter().any(|prompt| line.contains(prompt));
        self.answered |= asks;
        asks
    }

    /// Notes that somebody can log in.
    pub(super) fn logs_in(&mut self, at: Duration) {
        self.login.get_or_insert(at);
    }

    /// Where to try whether it takes logins over the network: once its own system runs.
    pub(super) fn address(&self) -> Option<Ipv4Addr> {
        self.address.filter(|_| self.has(&EventKind::BootedFromDisk))
    }

    /// Whether the rehearsal has shown all there is.
    pub(super) fn is_complete(&self) -> bool {
        let handed_off = self.reached.iter().any(|(kind, _)| matches!(kind, EventKind::HandedOff { .. }));
        self.login.is_some() && self.has(&EventKind::BootedFromDisk) && (handed_off || !self.handoff)
    }

    /// How long each stage took: from the one before it, in the order they happened.
    pub(super) fn stages(&self) -> Vec<StageTime> {
        let mut moments: Vec<_> = self.reached.iter().map(|(kind, at)| (kind.to_string(), *at)).collect();
        moments.extend(self.login.map(|at| ("can be logged in to".to_owned(), at)));
        // The prompt may come before the installed system has asked for its address.
        moments.sort_by_key(|&(_, at)| at);
        let mut before = Duration::ZERO;
        let stages = moments.into_iter().map(|(what, at)| {
            let took = at.saturating_sub(before);
            before = at;
            StageTime { what, took }
        });
        stages.collect()
    }

    fn has(&self, kind: &EventKind) -> bool {
        self.reached.iter().any(|(reached, _)| mem::discriminant(reached) == mem::discriminant(kind))
    }
}

fn is_milestone(kind: &EventKind) -> bool {
    use EventKind as E;
    matches!(
        kind,
        E::AskedToBoot { .. }
            | E::LoadingKernel
            | E::AskedForAnswers
            | E::InstallerStarted
            | E::Partitioned
            | E::Installed
            | E::SentToDisk { .. }
            | E::BootedFromDisk
            | E::HandedOff { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arch, Firmware};

    const ASKED: EventKind = EventKind::AskedToBoot { firmware: Firmware::Bios, arch: Arch::X86_64, uuid: None };
    const TO_DISK: EventKind =
        EventKind::SentToDisk { firmware: Firmware::Bios, arch: Arch::X86_64, uuid: None, same_as: None };

    fn after(kinds: &[EventKind]) -> (Timeline, Duration) {
        let mut timeline = Timeline::default();
        let mut at = Duration::ZERO;
        for kind in kinds {
            at += Duration::from_secs(10);
            timeline.event(kind, at).expect("no failure");
        }
        (timeline, at)
    }

    #[test]
    fn an_installation_is_complete_with_a_prompt_from_its_own_disk() {
        use EventKind as E;
        let address = Ipv4Addr::new(192, 168, 42, 100);
        let story = [
            ASKED,
            E::Leased { address },
            ASKED, // iPXE in the card's ROM asks like its firmware did
            E::LoadingLoader,
            E::LoadingKernel,
            E::AskedForAnswers,
            E::InstallerStarted,
            E::Partitioned,
            E::Installed,
        ];
        let (mut timeline, at) = after(&story);
        timeline.text("the installer's shell login: \n", at);
        assert_eq!(timeline.address(), None, "the installer's own ssh does not count");
        timeline.event(&TO_DISK, Duration::from_secs(100)).expect("no failure");
        timeline.text("booting\ntarget log", Duration::from_secs(110));
        timeline.event(&E::BootedFromDisk, Duration::from_secs(120)).expect("no failure");
        assert!(!timeline.is_complete());
        assert_eq!(timeline.address(), Some(address));
        timeline.text("in: ", Duration::from_secs(121));
        assert!(timeline.is_complete());

        let stages: Vec<_> = timeline.stages().into_iter().map(|stage| (stage.what, stage.took.as_secs())).collect();
        let stages: Vec<_> = stages.iter().map(|(what, took)| (what.as_str(), *took)).collect();
        assert_eq!(
            stages,
            [
                ("asked to boot (BIOS x86_64)", 10),
                ("loading kernel", 40),
                ("installer asked for its answers", 10),
                ("installer started", 10),
                ("disk partitioned", 10),
                ("installed", 10),
                ("asked to boot (BIOS x86_64): sent to its own disk", 10),
                ("booted from disk", 20),
                ("can be logged in to", 1),
            ]
        );
    }

    #[test]
    fn a_prompt_may_come_before_the_address() {
        let (mut timeline, at) = after(&[ASKED, EventKind::Installed, TO_DISK]);
        timeline.text("target login: ", at);
        assert!(!timeline.is_complete());
        timeline.event(&EventKind::BootedFromDisk, at + Duration::from_secs(5)).expect("no failure");
        assert!(timeline.is_complete());
        assert_eq!(timeline.stages().last().map(|stage| stage.what.as_str()), Some("booted from disk"));
    }

    #[test]
    fn a_hand_off_is_waited_for_and_must_go_well() {
        let story = [ASKED, EventKind::Installed, TO_DISK, EventKind::BootedFromDisk];
        let handed_off = |status| EventKind::HandedOff { status, said: "no inventory".to_owned() };
        let mut timeline = Timeline::new(true);
        for kind in &story {
            timeline.event(kind, Duration::ZERO).expect("no failure");
        }
        timeline.logs_in(Duration::ZERO);
        assert!(!timeline.is_complete());
        let why = timeline.event(&handed_off(2), Duration::ZERO).expect_err("it failed");
        assert_eq!(why, "hand-off failed with status 2: no inventory");
        timeline.event(&handed_off(0), Duration::ZERO).expect("no failure");
        assert!(timeline.is_complete());
    }

    #[test]
    fn a_passphrase_is_typed_once_for_each_prompt_of_the_disks_own_system() {
        let mut timeline = Timeline::default();
        let wants = |timeline: &mut Timeline, text: &str| {
            timeline.text(text, Duration::ZERO);
            timeline.wants_passphrase()
        };
        assert!(!wants(&mut timeline, "Please unlock disk vda3_crypt: "), "it has not been sent to its disk");
        timeline.event(&TO_DISK, Duration::ZERO).expect("no failure");
        assert!(!wants(&mut timeline, "\nPlease un"));
        assert!(wants(&mut timeline, "lock disk vda3_crypt: "));
        assert!(!wants(&mut timeline, "****"));
        assert!(!wants(&mut timeline, "\ncryptsetup: wrong\n"));
        assert!(wants(&mut timeline, "Please enter passphrase for disk QEMU (luks-1): "));
    }

    #[test]
    fn failures_are_told_apart() {
        let failed = EventKind::Failed { what: "no disk".to_owned() };
        let table = [
            (&[ASKED][..], failed, "no disk"),
            (&[ASKED, EventKind::AskedForAnswers, EventKind::Installed][..], ASKED, "again after"),
            (&[ASKED, EventKind::AskedForAnswers][..], ASKED, "in the middle"),
        ];
        for (story, last, words) in table {
            let (mut timeline, at) = after(story);
            let why = timeline.event(&last, at).expect_err(words);
            assert!(why.contains(words), "{why}");
        }
    }
}
