//! Signatures over an archive's metadata: clear-signed (`InRelease`) and detached (`Release.gpg`).
//!
//! One good signature by a trusted key is enough, as for apt: archives sign with the keys of several releases, and no machine
//! has to know all of them.

use jiff::{SignedDuration, Timestamp};
use pgp::{
    composed::{Deserializable, DetachedSignature},
    packet::{Signature, SignatureType, SignatureVersion},
};

use super::keyring::{Keyring, is_strong, moment};

const BEGIN_MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

/// How far a signature may lie in our future: the clock of a laptop that was long asleep, a time zone set wrong.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

/// Signatures looked at; Debian makes three. Each costs a pass over the text, and anybody may add more.
const MAX_SIGNATURES: usize = 16;

/// Versions of signatures that are believed over text.
const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V4, SignatureVersion::V6];

/// Text that a trusted key has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Exactly what was signed, with `\n` at line ends; nothing outside of it is kept.
    pub text: String,
    /// Fingerprint of the signer's primary key, upper-case hexadecimal.
    pub signer: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// Why a text is not vouched for. The sentence is about "it", the file that the context names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature at all, as in a login page that a hotel's network put in the file's place.
    #[error("it is not signed")]
    NotSigned,
    /// The frame around text and signature is damaged.
    #[error("its signature cannot be read: {0}")]
    Malformed(String),
    /// Every signature is by a key outside the keyring.
    #[error("it is signed only by keys that are not trusted here: {}", .keys.join(", "))]
    UnknownSigner {
        /// Key ids or fingerprints, as the signatures name them.
        keys: Vec<String>,
    },
    /// The signer's key is too old to be believed.
    #[error("it is signed by {signer}, a key that expired on {}", day(.since))]
    ExpiredKey {
        /// Fingerprint of the primary key.
        signer: String,
        /// When the key expired.
        since: Timestamp,
    },
    /// The owner has revoked the key.
    #[error("it is signed by {signer}, a key that its owner revoked")]
    RevokedKey {
        /// Fingerprint of the primary key.
        signer: String,
    },
    /// The signature is over a digest that can be forged, or of a kind that is not meant for data.
    #[error("the signature by {signer} is of a kind that is not believed ({kind})")]
    WeakSignature {
        /// Fingerprint of the primary key.
        signer: String,
        /// Digest and type of the signature.
        kind: String,
    },
    /// The signature ended by its own word.
    #[error("the signature by {signer} expired on {}", day(.since))]
    ExpiredSignature {
        /// Fingerprint of the primary key.
        signer: String,
        /// When it expired.
        since: Timestamp,
    },
    /// The signature lies in the future.
    #[error("the signature by {signer} was made on {}, which is in the future: is this machine's clock right?", day(.at))]
    FutureSignature {
        /// Fingerprint of the primary key.
        signer: String,
        /// When it says it was made.
        at: Timestamp,
    },
    /// Text and signature do not belong together.
    #[error("its text was altered: the signature by {signer} does not match it")]
    Altered {
        /// Fingerprint of the primary key.
        signer: String,
    },
}

/// `2026-11-23`.
pub(crate) fn day(at: &Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

impl SignatureError {
    /// Of several signatures that fail, the one that tells most is reported: an altered text before a stranger's signature.
    fn weight(&self) -> u8 {
        match self {
            Self::NotSigned => 0,
            Self::UnknownSigner { .. } => 1,
            Self::Malformed(_) => 2,
            Self::WeakSignature { .. } | Self::FutureSignature { .. } | Self::ExpiredSignature { .. } => 3,
            Self::ExpiredKey { .. } | Self::RevokedKey { .. } => 4,
            Self::Altered { .. } => 5,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::UnknownSigner { mut keys }, Self::UnknownSigner { keys: more }) => {
                keys.extend(more);
                Self::UnknownSigner { keys }
            }
            (a, b) if b.weight() > a.weight() => b,
            (a, _) => a,
        }
    }
}

impl Keyring {
    /// Verifies a clear-signed message (RFC 9580 §7) and returns the text that was signed.
    pub fn verify_cleartext(&self, message: &[u8], now: Timestamp) -> Result<Signed, SignatureError> {
        let (text, armor) = split_cleartext(message)?;
        let signatures = signatures(armor.as_bytes())?;
        // What is signed has CRLF at its line ends.
        let (signer, signed_at) = self.judge(&signatures, text.replace('\n', "\r\n").as_bytes(), now, &VERSIONS)?;
        Ok(Signed { text, signer, signed_at })
    }

    /// Verifies `text` by a signature in a file of its own, armoured or binary.
    pub fn verify_detached(&self, text: &[u8], signature: &[u8], now: Timestamp) -> Result<Signed, SignatureError> {
        let plain = std::str::from_utf8(text).ok().filter(|text| !text.contains('\r'));
        let plain = plain.ok_or_else(|| SignatureError::Malformed("the text is not plain UTF-8".to_owned()))?;
        let (signer, signed_at) = self.judge(&signatures(signature)?, text, now, &VERSIONS)?;
        Ok(Signed { text: plain.to_owned(), signer, signed_at })
    }

    /// Verifies the header of an RPM by the signatures of its package; returns fingerprint and time as [`Signed`] has them.
    ///
    /// Some distributors (CentOS among them) still make signatures of OpenPGP's version 3 here, which say no more than kind,
    /// time and key. What is hashed cannot be mistaken for another version's: where theirs ends on 0xff, this has the kind.
    pub fn verify_header(
        &self,
        header: &[u8],
        signature: &[u8],
        now: Timestamp,
    ) -> Result<(String, Timestamp), SignatureError> {
        let versions = [SignatureVersion::V3, SignatureVersion::V4, SignatureVersion::V6];
        self.judge(&signatures(signature)?, header, now, &versions)
    }

    fn judge(
        &self,
        signatures: &[Signature],
        data: &[u8],
        now: Timestamp,
        versions: &[SignatureVersion],
    ) -> Result<(String, Timestamp), SignatureError> {
        let mut failure = SignatureError::NotSigned;
        for signature in signatures {
            match self.judge_one(signature, data, now, versions) {
                Ok(signer) => return Ok(signer),
                Err(error) => failure = failure.and(error),
            }
        }
        Err(failure)
    }

    fn judge_one(
        &self,
        signature: &Signature,
        data: &[u8],
        now: Timestamp,
        versions: &[SignatureVersion],
    ) -> Result<(String, Timestamp), SignatureError> {
        let named = || self.keys.iter().filter(|key| key.key.is_named_by(signature));
        let Some(signer) = named().next().map(|key| key.primary.clone()) else {
            return Err(SignatureError::UnknownSigner { keys: issuers(signature) });
        };
        let for_data = matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text))
            && versions.contains(&signature.version());
        if !for_data || !is_strong(signature) {
            let digest = signature.hash_alg().map_or_else(String::new, |hash| format!("{hash}, "));
            return Err(SignatureError::WeakSignature { signer, kind: format!("{digest}{:?}", signature.typ()) });
        }
        let Some(key) = named().find(|key| key.key.verify(signature, data)) else {
            return Err(SignatureError::Altered { signer });
        };
        let signer = key.primary.clone();
        if key.revoked {
            return Err(SignatureError::RevokedKey { signer });
        }
        if let Some(since) = key.expires.filter(|&since| since <= now) {
            return Err(SignatureError::ExpiredKey { signer, since });
        }
        // RFC 9580 §5.2.3.11: a signature without its time is not valid.
        let made = signature.created().ok_or_else(|| SignatureError::Malformed("it has no date".to_owned()))?;
        let made = u64::from(made.as_secs());
        let at = moment(made);
        if at.duration_since(now) > CLOCK_SLACK {
            return Err(SignatureError::FutureSignature { signer, at });
        }
        let lifetime = signature.signature_expiration_time().map_or(0, |lifetime| u64::from(lifetime.as_secs()));
        if lifetime > 0 && moment(made + lifetime) <= now {
            return Err(SignatureError::ExpiredSignature { signer, since: moment(made + lifetime) });
        }
        Ok((signer, at))
    }
}

fn signatures(bytes: &[u8]) -> Result<Vec<Signature>, SignatureError> {
    if bytes.trim_ascii().is_empty() {
        return Err(SignatureError::NotSigned);
    }
    let malformed = |error: pgp::errors::Error| SignatureError::Malformed(error.to_string());
    let (parsed, _) = DetachedSignature::from_reader_many(bytes).map_err(malformed)?;
    parsed.take(MAX_SIGNATURES).map(|signature| Ok(signature.map_err(malformed)?.signature)).collect()
}

fn issuers(signature: &Signature) -> Vec<String> {
    let fingerprints: Vec<_> = signature.issuer_fingerprint().iter().map(|print| format!("{print:X}")).collect();
    if fingerprints.is_empty() {
        signature.issuer_key_id().iter().map(|id| id.to_string().to_uppercase()).collect()
    } else {
        fingerprints
    }
}

/// Takes a clear-signed message apart: the signed text, without its dash escapes and trailing blanks, and the armour.
///
/// Done here and not by `pgp`, whose reader searches everything read so far after each line: minutes of work for a few
/// megabytes of newlines, which anybody between us and the mirror could send.
fn split_cleartext(message: &[u8]) -> Result<(String, &str), SignatureError> {
    let malformed = |what: &str| SignatureError::Malformed(what.to_owned());
    let not_signed = |_| SignatureError::NotSigned;
    let message = std::str::from_utf8(message).map_err(not_signed)?;
    let headers = message.strip_prefix(BEGIN_MESSAGE).ok_or(SignatureError::NotSigned)?;
    let mut rest = headers.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n').ok_or(SignatureError::NotSigned)?;
    loop {
        let (header, after) = rest.split_once('\n').ok_or_else(|| malformed("it ends before its text"))?;
        rest = after;
        match header.trim_end() {
            "" => break,
            header if header.starts_with("Hash:") => {}
            _ => return Err(malformed("there is an unknown header before its text")),
        }
    }
    let mut lines = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n').ok_or_else(|| malformed("it ends before its signature"))?;
        let line = match line.strip_prefix("- ") {
            Some(unescaped) => unescaped,
            None if line.starts_with('-') => break,
            None => line,
        };
        let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
        // SECURITY: OpenPGP hashes a lone CR and a line end alike, a reader of the text does not.
        if line.contains('\r') {
            return Err(malformed("there is a carriage return inside a line"));
        }
        lines.push(line);
        rest = after;
    }
    match rest.split_once(END_SIGNATURE) {
        Some((_, behind)) if behind.trim().is_empty() => Ok((lines.join("\n"), rest)),
        Some(_) => Err(malformed("there is text behind it")),
        None => Err(malformed("it has no end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_message_apart() {
        let armor = format!("-----BEGIN PGP SIGNATURE-----\n{END_SIGNATURE}\n");
        let message = format!("{BEGIN_MESSAGE}\r\nHash: SHA256\n\nA: b \t\r\n- -----x\n- From\n\n{armor}");
        assert_eq!(split_cleartext(message.as_bytes()), Ok(("A: b\n-----x\nFrom\n".to_owned(), armor.as_str())));
    }

    #[test]
    fn refuses_what_is_no_message() {
        let begin = BEGIN_MESSAGE;
        for page in ["", "<html>log in first</html>", &format!("x{begin}\n\n"), &format!("{begin}x\n\n"), begin] {
            assert_eq!(split_cleartext(page.as_bytes()), Err(SignatureError::NotSigned), "{page}");
        }
        for damaged in [
            format!("{begin}\nHash: SHA256\n"),
            format!("{begin}\nComment: x\n\ntext\n-----"),
            format!("{begin}\n\ntext\nno signature follows"),
            format!("{begin}\n\nA: b\n-----BEGIN PGP SIGNATURE-----\n"),
            format!("{begin}\n\nA: b\n-----BEGIN PGP SIGNATURE-----\n{END_SIGNATURE}\nC: d\n"),
            format!("{begin}\n\nA: b\rC: d\n-----BEGIN PGP SIGNATURE-----\n{END_SIGNATURE}\n"),
        ] {
            assert!(matches!(split_cleartext(damaged.as_bytes()), Err(SignatureError::Malformed(_))), "{damaged}");
        }
    }

    #[test]
    fn a_long_message_is_taken_apart_in_one_pass() {
        let message =
            format!("{BEGIN_MESSAGE}\n\n{}-----BEGIN PGP SIGNATURE-----\n{END_SIGNATURE}", "\n".repeat(4 << 20));
        assert_eq!(split_cleartext(message.as_bytes()).map(|(text, _)| text.len()), Ok((4 << 20) - 1));
    }
}
