use std::{fmt, str::FromStr};

use super::ParseError;

/// An Ethernet hardware address (six octets).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `aa-bb-cc-dd-ee-ff`: the form that boot loaders put into file names and `BOOTIF` after the hardware type.
    pub fn dashed(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ParseError;

    /// Six pairs of hexadecimal digits separated by `:` or `-`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a MAC address such as 52:54:00:12:34:56");
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(error)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(error()),
        }
    }
}

as_text!(Mac);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_separators_and_writes_colons() {
        for text in ["52:54:00:AB:cd:ef", "52-54-00-ab-cd-ef"] {
            assert_eq!(text.parse::<Mac>().map(|mac| mac.to_string()), Ok("52:54:00:ab:cd:ef".to_owned()));
        }
        assert_eq!(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]).dashed(), "52-54-00-ab-cd-ef");
    }

    #[test]
    fn refuses_what_is_not_six_pairs() {
        for text in ["", "52:54", "52:54:00:ab:cd:ef:00", "52:54:00:ab:cd:e", "52:54:00:ab:cd:+f", "525400abcdef"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
