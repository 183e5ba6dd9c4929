use std::fmt;

use super::ParseError;

/// How the disk is encrypted: LUKS2, one passphrase for every machine of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// What opens it; with `tpm2` it is the recovery key. `None` until the operator was asked for it.
    pub passphrase: Option<Passphrase>,
    /// Whether the machine's TPM 2.0 opens it too, so that it starts without anybody typing.
    pub tpm2: bool,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.tpm2 {
            false => "LUKS2, opened by a passphrase",
            true => "LUKS2, opened by the machine's TPM 2.0 or a recovery key",
        })
    }
}

/// A LUKS passphrase. Never printed: `Debug` redacts it.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// The passphrase. For answer files, and for showing a generated one once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

impl TryFrom<String> for Passphrase {
    type Error = ParseError;

    /// Printable ASCII without quotes, backslash or space at an end: every installer reads it the same, and every keyboard
    /// layout at boot can type it. Never empty: an installer takes that for "not answered" and stops.
    fn try_from(text: String) -> Result<Self, ParseError> {
        let clean = text.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && !matches!(b, b'"' | b'\'' | b'\\'));
        if text.len() >= 8 && clean && text.trim() == text {
            Ok(Self(text))
        } else {
            // It must not come back in the error.
            Err(ParseError::new(
                "(not shown)",
                "a passphrase of 8 or more ASCII characters without quotes or backslashes",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_that_installers_would_stumble_over_is_refused_without_showing_it() {
        for secret in ["", "short", "with \"quotes\"", " leading-space", "back\\slash-1", "line\nbreak-1"] {
            let error = Passphrase::try_from(secret.to_owned()).expect_err("no passphrase").to_string();
            assert!(error.contains("(not shown)"), "{error}");
        }
        let good = Passphrase::try_from("correct horse battery".to_owned()).expect("a passphrase");
        assert_eq!(format!("{good:?}"), "Passphrase(redacted)");
    }
}
