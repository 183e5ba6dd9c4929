use std::{fmt, path::PathBuf, time::Duration};

use crate::model::{Firmware, Machine, Unverified};

/// How a rehearsal went that succeeded: the installed system booted from its own disk and takes logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was installed: the distro uid.
    pub uid: String,
    /// The virtual machine's firmware.
    pub firmware: Firmware,
    /// Its stages from power-on to login, in the order they happened.
    pub stages: Vec<StageTime>,
    /// The machine as the servers saw it.
    pub machine: Machine,
    /// What is left of it.
    pub access: Access,
}

/// A stage and how long it took to reach it from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTime {
    /// What the machine had reached.
    pub what: String,
    /// From the stage before, or from power-on.
    pub took: Duration,
}

/// What is left of a rehearsed machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Gone,
    /// Its disk.
    Disk(PathBuf),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} installed itself on a virtual {} machine and booted from its disk", self.uid, self.firmware)?;
        for StageTime { what, took } in &self.stages {
            writeln!(f, "{:>15}  {what}", clock(*took))?;
        }
        let in_all = self.stages.iter().map(|stage| stage.took).sum();
        writeln!(f, "{:>15}  in all, from power-on", clock(in_all))?;
        let megabytes = self.machine.bytes / 1_000_000;
        let Machine { packages, unverified, .. } = self.machine;
        writeln!(f, "it fetched {packages} packages, {megabytes} MB{}", Unverified(unverified))?;
        match &self.access {
            Access::Gone => f.write_str("nothing of it is left; --keep keeps it running to log in to"),
            Access::Disk(path) => write!(f, "its disk is {}", path.display()),
        }
    }
}

/// `1 h 02 min 03 s`, without what is zero in front.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes) => format!("{hours} h {minutes:02} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::Mac;

    #[test]
    fn times_line_up_and_add_up() {
        let stage = |what: &str, seconds| StageTime { what: what.to_owned(), took: Duration::from_secs(seconds) };
        let mut machine = Machine::new(Mac([2, 0, 0, 0, 0, 1]), Timestamp::UNIX_EPOCH);
        (machine.packages, machine.bytes) = (328, 246_000_000);
        let mut report = Report {
            uid: "distro13-x86_64".to_owned(),
            firmware: Firmware::Uefi,
            stages: vec![stage("loading kernel", 59), stage("installed", 3661), stage("booted from disk", 65)],
            machine,
            access: Access::Gone,
        };
        assert_eq!(
            report.to_string(),
            "distro13-x86_64 installed itself on a virtual UEFI machine and booted from its disk\n\
             \x20          59 s  loading kernel\n\
             1 h 01 min 01 s  installed\n\
             \x20    1 min 05 s  booted from disk\n\
             1 h 03 min 05 s  in all, from power-on\n\
             it fetched 328 packages, 246 MB\n\
             nothing of it is left; --keep keeps it running to log in to"
        );
        report.access = Access::Disk("/x/disk.raw".into());
        assert!(report.to_string().ends_with("\nits disk is /x/disk.raw"));
    }
}
