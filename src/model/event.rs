use std::{fmt, net::Ipv4Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Arch, Firmware, Mac, SystemUuid};

/// Observed: something a machine did, at a moment. One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When we saw it (UTC).
    pub at: Timestamp,
    /// Which machine.
    pub mac: Mac,
    /// What it did.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What a machine did. Tagged `"event"` in the journal; names are kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum EventKind {
    /// Its firmware asked to boot and was sent the installer's loader.
    AskedToBoot {
        /// Kind of firmware.
        firmware: Firmware,
        /// Instruction set.
        arch: Arch,
        /// The machine that the card is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uuid: Option<SystemUuid>,
    },
    /// Its firmware asked to boot and was sent to its own disk.
    SentToDisk {
        /// Kind of firmware.
        firmware: Firmware,
        /// Instruction set.
        arch: Arch,
        /// The machine that the card is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uuid: Option<SystemUuid>,
        /// The other card that this machine was installed with, or is held with: why it is not installed with this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        same_as: Option<Mac>,
    },
    /// It was given an address.
    Leased {
        /// The address.
        address: Ipv4Addr,
    },
    /// It asked for the boot loader.
    LoadingLoader,
    /// It asked for the kernel.
    LoadingKernel,
    /// Its installer asked for the answer file.
    AskedForAnswers,
    /// Its installer runs our answers.
    InstallerStarted,
    /// Its disk has been partitioned; the old content is gone.
    Partitioned,
    /// It fetched packages through our mirror: totals of this installation so far.
    Packages {
        /// How many packages.
        count: u64,
        /// Their size in bytes.
        bytes: u64,
        /// Files, packages or not, whose content nothing here vouches for.
        #[serde(default, skip_serializing_if = "is_none")]
        unverified: u64,
    },
    /// It asked our mirror for a package and was not given it.
    Refused {
        /// Name of the package's file.
        file: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// The installer is in its last steps: the disk is bootable, the machine still runs the installer.
    Finishing,
    /// The installer is done and about to restart the machine.
    Installed,
    /// The installer reported a failure.
    Failed {
        /// In the installer's words.
        what: String,
    },
    /// Its firmware asked to boot after too many installations that did not end well: it is not installed once more by itself.
    Held,
    /// It told us the public SSH host keys of the system on its disk.
    HostKeys {
        /// Lines as in `ssh_host_*_key.pub`, without comments.
        keys: Vec<String>,
        /// The name that we gave it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
    },
    /// The installed system asked for an address.
    BootedFromDisk,
    /// What it was handed over to ran on its first start (`--handoff-exec`).
    HandedOff {
        /// Exit status; above 128 a signal ended it, as shells count.
        status: u8,
        /// The last line it printed.
        said: String,
    },
    /// The operator asked for a new installation (`--reinstall`).
    Rearmed,
}

/// How many of the files that a machine took nothing here vouches for; none is not worth a word.
pub struct Unverified(pub u64);

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(", 1 file not verified"),
            files => write!(f, ", {files} files not verified"),
        }
    }
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl fmt::Display for EventKind {
    /// In plain words, for the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AskedToBoot { firmware, arch, .. } => write!(f, "asked to boot ({firmware} {arch})"),
            Self::SentToDisk { firmware, arch, same_as, .. } => {
                write!(f, "asked to boot ({firmware} {arch}): sent to its own disk")?;
                match same_as {
                    None => Ok(()),
                    // Not the other card's MAC: were they two machines after all, it would have the other one erased.
                    Some(mac) => write!(
                        f,
                        ", because its UUID is that of the machine {mac}; --reinstall with the MAC of this card installs it"
                    ),
                }
            }
            Self::Leased { address } => write!(f, "has address {address}"),
            Self::LoadingLoader => f.write_str("loading boot loader"),
            Self::LoadingKernel => f.write_str("loading kernel"),
            Self::AskedForAnswers => f.write_str("installer asked for its answers"),
            Self::InstallerStarted => f.write_str("installer started"),
            Self::Partitioned => f.write_str("disk partitioned"),
            Self::Packages { count, bytes, unverified } => {
                write!(f, "packages {count}, {} MB{}", bytes / 1_000_000, Unverified(*unverified))
            }
            Self::Refused { file, status: 404 } => write!(f, "asked for {file}, which the mirror does not have"),
            Self::Refused { file, status } => write!(f, "was not given {file} (status {status}): see the log"),
            Self::Finishing => f.write_str("finishing"),
            Self::Installed => f.write_str("installed"),
            Self::Failed { what } => write!(f, "failed: {what}"),
            Self::Held => f.write_str(
                "asked to boot again, but its installation fails: held until the next start of this program",
            ),
            Self::HostKeys { keys, .. } => write!(f, "reported {} SSH host keys", keys.len()),
            Self::BootedFromDisk => f.write_str("booted from disk"),
            Self::HandedOff { status: 0, .. } => f.write_str("hand-off done"),
            Self::HandedOff { status, said } => write!(f, "hand-off failed with status {status}: {said}"),
            Self::Rearmed => f.write_str("will be installed again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_of_before_uuids_is_read_and_one_with_them_is_written() {
        let line = |more: &str| {
            let known = r#""at":"1970-01-01T00:00:00Z","mac":"52:54:00:00:00:02","event":"sent-to-disk""#;
            format!(r#"{{{known},"firmware":"uefi","arch":"x86_64"{more}}}"#)
        };
        let uuid = "9f3c5a10-0c2e-4b71-8d6f-52540012ab34";
        let kind = |uuid: Option<&str>, same_as: Option<&str>| EventKind::SentToDisk {
            firmware: Firmware::Uefi,
            arch: Arch::X86_64,
            uuid: uuid.map(|text| text.parse().expect("a UUID")),
            same_as: same_as.map(|text| text.parse().expect("a MAC")),
        };
        let one = "52:54:00:00:00:01";
        for (line, kind) in [
            (line(""), kind(None, None)),
            (line(&format!(r#","uuid":"{uuid}""#)), kind(Some(uuid), None)),
            (line(&format!(r#","uuid":"{uuid}","same-as":"{one}""#)), kind(Some(uuid), Some(one))),
        ] {
            let event: Event = serde_json::from_str(&line).expect(&line);
            assert_eq!(event.kind, kind);
            assert_eq!(serde_json::to_string(&event).expect("JSON"), line);
        }
    }
}
