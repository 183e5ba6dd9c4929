use std::{fmt, str::FromStr};

use super::ParseError;

/// Which disk is erased. "Fixed" is never removable, never USB, never on a storage network, never a memory card, never the one
/// the installer came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Disk {
    /// The first fixed disk.
    #[default]
    FirstFixed,
    /// The smallest fixed disk.
    Smallest,
    /// The one fixed disk of about this many bytes: within 5 % of it, which is more than makers disagree by. None or several
    /// such disks are an error.
    Size(u64),
    /// This device, such as `/dev/nvme0n1` or `/dev/disk/by-id/…`, whatever it is attached to.
    Device(String),
}

impl FromStr for Disk {
    type Err = ParseError;

    /// `smallest`, a size such as `500G` or `2T` (powers of 1000, as disks are sold), or a device name with or without `/dev/`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "smallest" {
            return Ok(Self::Smallest);
        }
        if let Some(bytes) = size(text) {
            return Ok(Self::Size(bytes));
        }
        let device = text.strip_prefix("/dev/").unwrap_or(text);
        let plain = device.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-.:+".contains(&b));
        if device.is_empty() || !plain || device.contains("..") || device.starts_with('/') {
            return Err(ParseError::new(
                text,
                "a disk: /dev/sda, nvme0n1, disk/by-id/…, a size such as 500G, or smallest",
            ));
        }
        Ok(Self::Device(format!("/dev/{device}")))
    }
}

fn size(text: &str) -> Option<u64> {
    let number = text.strip_suffix(['B', 'b']).unwrap_or(text);
    let (number, unit) = [("G", 1_000_000_000), ("T", 1_000_000_000_000)]
        .iter()
        .find_map(|(letter, unit)| Some((number.to_ascii_uppercase().strip_suffix(letter)?.to_owned(), *unit)))?;
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(unit)
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFixed => f.write_str("the first fixed disk (not removable, not USB, not on a storage network)"),
            Self::Smallest => f.write_str("the smallest fixed disk (not removable, not USB, not on a storage network)"),
            Self::Size(bytes) => write!(f, "the fixed disk of {} GB", bytes / 1_000_000_000),
            Self::Device(device) => f.write_str(device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_name_a_size_or_the_smallest() {
        let device = |name: &str| Ok(Disk::Device(name.to_owned()));
        for (text, disk) in [
            ("sda", device("/dev/sda")),
            ("/dev/disk/by-id/nvme-A_1", device("/dev/disk/by-id/nvme-A_1")),
            ("smallest", Ok(Disk::Smallest)),
            ("500G", Ok(Disk::Size(500_000_000_000))),
            ("2tb", Ok(Disk::Size(2_000_000_000_000))),
        ] {
            assert_eq!(text.parse(), disk, "{text}");
        }
        for wrong in ["", "/dev/", "/etc/passwd", "sda; reboot", "../sda", "/dev/$(x)"] {
            assert!(wrong.parse::<Disk>().is_err(), "{wrong}");
        }
        assert_eq!("0G".parse(), device("/dev/0G"), "no size, so a name that no machine has");
    }
}
