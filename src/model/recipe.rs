use std::{fmt, str::FromStr};

use super::ParseError;

/// Declared: the answers to an installer's questions, in no distribution's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRecipe {
    /// POSIX locale, such as `en_US.UTF-8`.
    pub locale: String,
    /// XKB layout name, such as `us`.
    pub keymap: String,
    /// Zone name of the tz database, such as `Europe/Berlin`.
    pub timezone: String,
    /// crypt(3) hash of root's password; `None` locks the account's password.
    pub root_password: Option<PasswordHash>,
    /// Lines for root's `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// The distribution's name for a set of packages (`minimal`, `standard`, `gnome`).
    pub flavour: String,
    /// Further packages, by the distribution's names.
    pub packages: Vec<String>,
    /// The disk that is erased.
    pub disk: Disk,
    /// What is made on it.
    pub layout: Layout,
}

/// A crypt(3) hash. Never printed: `Debug` redacts it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash as `shadow(5)` has it. For answer files only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

impl FromStr for PasswordHash {
    type Err = ParseError;

    /// `$id$…` of crypt(5), which has no space, colon or control character in it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fields = text.split('$').count();
        let clean = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b':' | b'"' | b'\'' | b'\\'));
        if text.starts_with('$') && fields >= 4 && clean {
            Ok(Self(text.to_owned()))
        } else {
            // The text may be somebody's password typed by mistake: it must not come back in the error.
            Err(ParseError::new("(not shown)", "a crypt(5) hash such as $6$salt$hash"))
        }
    }
}

/// Which disk is erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Disk {
    /// The first fixed disk: never removable, never USB, never the one the installer came from.
    #[default]
    FirstFixed,
    /// This device, such as `/dev/nvme0n1` or `/dev/disk/by-id/…`, whatever it is attached to.
    Device(String),
}

impl FromStr for Disk {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let device = text.strip_prefix("/dev/").map_or(text, |rest| rest);
        let plain = device.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-.:+".contains(&b));
        if device.is_empty() || !plain || device.contains("..") || device.starts_with('/') {
            return Err(ParseError::new(text, "a disk such as /dev/sda, nvme0n1 or /dev/disk/by-id/…"));
        }
        Ok(Self::Device(format!("/dev/{device}")))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFixed => f.write_str("the first fixed disk (not removable, not USB)"),
            Self::Device(device) => f.write_str(device),
        }
    }
}

/// What is made on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// Partitions with ext4.
    #[default]
    Plain,
    /// A volume group with ext4 volumes.
    Lvm,
    /// Partitions with btrfs.
    Btrfs,
}

impl Layout {
    /// Every layout, in the order of the help text.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Lvm, Self::Btrfs];
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Lvm => "lvm",
            Self::Btrfs => "btrfs",
        })
    }
}

impl FromStr for Layout {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.to_string() == text)
            .ok_or_else(|| ParseError::new(text, "a layout: plain, lvm or btrfs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_given_for_a_hash_is_refused_without_showing_it() {
        for secret in ["hunter2", "$6$only", "$6$a b$c", "$6$a$b\nd-i x"] {
            let error = secret.parse::<PasswordHash>().expect_err("no crypt hash").to_string();
            assert!(!error.contains(secret), "{error}");
        }
        let hash: PasswordHash = "$6$saltsalt$abcdef./".parse().expect("a crypt hash");
        assert_eq!(format!("{hash:?}"), "PasswordHash(redacted)");
    }

    #[test]
    fn disks_are_device_names_only() {
        assert_eq!("sda".parse(), Ok(Disk::Device("/dev/sda".into())));
        assert_eq!("/dev/disk/by-id/nvme-A_1".parse(), Ok(Disk::Device("/dev/disk/by-id/nvme-A_1".into())));
        for wrong in ["", "/dev/", "/etc/passwd", "sda; reboot", "../sda", "/dev/$(x)"] {
            assert!(wrong.parse::<Disk>().is_err(), "{wrong}");
        }
    }
}
