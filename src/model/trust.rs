use std::{fmt, str::FromStr};

use super::ParseError;

/// What has to vouch for boot files. Ordered: a stricter level is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The distributor's own web server, as its TLS certificate says.
    Https,
    /// A signature by the distributor's OpenPGP key.
    Signed,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Https => "https",
            Self::Signed => "signed",
        })
    }
}

impl FromStr for Trust {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "https" => Ok(Self::Https),
            "signed" => Ok(Self::Signed),
            _ => Err(ParseError::new(text, "a level of trust: signed or https")),
        }
    }
}
