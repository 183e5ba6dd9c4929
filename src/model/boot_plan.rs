use std::fmt;

use super::{Arch, Firmware, Stage};

/// Decision: what a machine that asked to boot shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootPlan {
    /// Do not answer at all.
    Ignore(Reason),
    /// Start from the local disk. It is an explicit answer: firmware left without one waits for minutes.
    LocalDisk(BootSpec),
    /// Load the installer.
    Install(BootSpec),
}

/// Which loader a machine is sent, and who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSpec {
    /// The firmware that will run the loader.
    pub firmware: Firmware,
    /// The instruction set of the loader.
    pub arch: Arch,
    /// Who asks: firmware gets a loader, iPXE gets a script.
    pub stage: Stage,
}

/// Why a machine gets no boot answer. Counted and logged; never an error of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `--mac` names another machine.
    NotOurMac,
    /// The plan's architecture and the machine's differ.
    OtherArch {
        /// What the machine is.
        machine: Arch,
        /// What the plan installs.
        plan: Arch,
    },
    /// No loader is known for this firmware on this architecture.
    NoLoader(Firmware, Arch),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurMac => f.write_str("--mac names another machine"),
            Self::OtherArch { machine, plan } => write!(f, "it is {machine}, this run installs {plan}"),
            Self::NoLoader(firmware, arch) => write!(f, "there is no loader for {firmware} on {arch}"),
        }
    }
}
