use std::{fmt, str::FromStr};

use super::ParseError;

/// A number of bytes as people write it, in powers of 1000 as disks are sold: `950 kB`, `151 MB`, `1.3 GB`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes @ ..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
            bytes @ ..1_000_000_000 => format!("{} MB", (bytes + 500_000) / 1_000_000),
            bytes => {
                let tenths = bytes / 100_000_000;
                format!("{}.{} GB", tenths / 10, tenths % 10)
            }
        };
        f.pad(&text)
    }
}

impl FromStr for Bytes {
    type Err = ParseError;

    /// `500M`, `50G`, `2TB`. The unit is not left out: who writes 50 does not mean a cache of 50 bytes.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a size, such as 500M, 50G or 2T");
        let number = text.strip_suffix(['B', 'b']).unwrap_or(text);
        let (unit, digits) = [('k', 1000), ('m', 1_000_000), ('g', 1_000_000_000), ('t', 1_000_000_000_000)]
            .into_iter()
            .find_map(|(letter, unit)| Some((unit, number.strip_suffix([letter, letter.to_ascii_uppercase()])?)))
            .ok_or_else(error)?;
        // `parse` would take a sign.
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| plain);
        number.and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_as_people_do() {
        for (text, bytes, shown) in [
            ("0k", 0, "0 kB"),
            ("950kB", 950_000, "950 kB"),
            ("500M", 500_000_000, "500 MB"),
            ("50G", 50_000_000_000, "50.0 GB"),
            ("2tb", 2_000_000_000_000, "2000.0 GB"),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
        for (bytes, shown) in [(1, "1 kB"), (999_999, "1000 kB"), (1_500_000, "2 MB"), (1_390_000_000, "1.3 GB")] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
        assert_eq!(format!("{:>8}", Bytes(1000)), "    1 kB");
        for wrong in ["", "50", "G", "-1G", "+1G", "1.5G", "50 G", "50GiB", "99999999999999999999T", "99999999999T"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }
}
