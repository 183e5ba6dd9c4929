use std::{fmt, str::FromStr};

use super::{Disk, Encryption, Handoff, ParseError};

/// Declared: the answers to an installer's questions, in no distribution's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallRecipe {
    /// POSIX locale, such as `en_US.UTF-8`.
    pub locale: String,
    /// Further locales that the installed system can speak.
    pub languages: Vec<String>,
    /// XKB layout name, such as `us`.
    pub keymap: String,
    /// Zone name of the tz database, such as `Europe/Berlin`.
    pub timezone: String,
    /// Time servers of the installed system, names or addresses; none leaves it to the distribution.
    pub time_servers: Vec<String>,
    /// crypt(3) hash of the password of every account made here; `None` locks them.
    pub password: Option<PasswordHash>,
    /// Lines for the `authorized_keys` of every account made here.
    pub ssh_keys: Vec<String>,
    /// Login name of an administrator (wheel, sudo) besides root.
    pub user: Option<String>,
    /// Root has no password, whatever the administrator has.
    pub lock_root: bool,
    /// The distribution's name for a set of packages (`minimal`, `standard`, `gnome`).
    pub flavour: String,
    /// Further packages, by the distribution's names.
    pub packages: Vec<String>,
    /// The disk that is erased.
    pub disk: Disk,
    /// What is made on it.
    pub layout: Layout,
    /// How it is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// What the new machine does when it starts for the first time.
    pub handoff: Handoff,
}

impl Default for InstallRecipe {
    /// American English, UTC, every account locked, one plain unencrypted file system on the first fixed disk.
    fn default() -> Self {
        Self {
            locale: "en_US.UTF-8".to_owned(),
            languages: Vec::new(),
            keymap: "us".to_owned(),
            timezone: "UTC".to_owned(),
            time_servers: Vec::new(),
            password: None,
            ssh_keys: Vec::new(),
            user: None,
            lock_root: false,
            flavour: String::new(),
            packages: Vec::new(),
            disk: Disk::default(),
            layout: Layout::default(),
            encryption: None,
            handoff: Handoff::default(),
        }
    }
}

impl InstallRecipe {
    /// The hash of root's password, if root has one.
    pub fn root_password(&self) -> Option<&PasswordHash> {
        self.password.as_ref().filter(|_| !self.lock_root)
    }
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
}
