use std::time::Duration;

use crate::model::{Firmware, Passphrase};

/// The machine that a rehearsal makes, and how it is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its firmware, and how that boots from the network.
    pub firmware: Firmware,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// The size of its disk in GiB. The file is sparse: it takes what the installation writes.
    pub disk_gib: u32,
    /// Copy its serial console to stderr as it is written.
    pub console: bool,
    /// After success, keep it running until ^C, and its disk after that.
    pub keep: bool,
    /// Its rehearsal is over only when it has run what it is handed over to, and that went well.
    pub handoff: bool,
    /// What is typed when the system on its disk asks for it.
    pub passphrase: Option<Passphrase>,
    /// Give up when nothing happened (no event, no console output) for this long.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            firmware: Firmware::Uefi,
            memory_mib: 2048,
            disk_gib: 20,
            console: false,
            keep: false,
            handoff: false,
            passphrase: None,
            // Without KVM an initial RAM disk alone may take 20 silent minutes on a busy machine.
            stall: Duration::from_mins(45),
        }
    }
}
