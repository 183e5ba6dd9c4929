//! Which OpenPGP keys may sign an archive's metadata.
//!
//! `pgp` gives the arithmetic, the policy is ours: a key counts only with a valid self-signature, a subkey only with a valid
//! binding in both directions, and no signature over SHA-1 or weaker is believed (RFC 9580 §5.2.3.10, §5.2.4, §10.1).

use anyhow::{Context, ensure};
use jiff::Timestamp;
use pgp::{
    composed::{Deserializable, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData},
    types::{KeyDetails, Tag},
};

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// The keys trusted for an archive's metadata.
#[derive(Debug, Clone)]
pub struct Keyring {
    pub(super) keys: Vec<SigningKey>,
}

/// A key that may sign data: a primary key or a subkey, as its owner's self-signatures describe it.
#[derive(Debug, Clone)]
pub(super) struct SigningKey {
    pub key: Public,
    /// Fingerprint of the primary key, upper-case hexadecimal.
    pub primary: String,
    pub expires: Option<Timestamp>,
    pub revoked: bool,
    /// The operator added it.
    pub extra: bool,
}

/// The two kinds of public key, which are two types in `pgp`.
#[derive(Debug, Clone)]
pub(super) enum Public {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

impl Public {
    /// Whether `signature` is this key's over `data`. Nothing is said of the key's age here.
    pub fn verify(&self, signature: &Signature, data: &[u8]) -> bool {
        match self {
            Self::Primary(key) => signature.verify(key, data),
            Self::Subkey(key) => signature.verify(key, data),
        }
        .is_ok()
    }

    /// Whether `signature` says that this key made it. A signature that names no key may be anybody's.
    pub fn is_named_by(&self, signature: &Signature) -> bool {
        let (fingerprint, id) = match self {
            Self::Primary(key) => (key.fingerprint(), key.legacy_key_id()),
            Self::Subkey(key) => (key.fingerprint(), key.legacy_key_id()),
        };
        let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        (fingerprints.is_empty() && ids.is_empty()) || fingerprints.contains(&&fingerprint) || ids.contains(&&id)
    }
}

impl Keyring {
    /// Reads the embedded keys and those the operator added. Each source may hold several keys, binary or armoured.
    ///
    /// # Errors
    /// A source without any key, or with one that is damaged or has no valid self-signature.
    pub fn load(embedded: &[u8], extra: &[Vec<u8>]) -> anyhow::Result<Self> {
        let mut keys = Vec::new();
        let extra = extra.iter().map(|bytes| (bytes.as_slice(), true));
        for (bytes, extra) in std::iter::once((embedded, false)).chain(extra) {
            let certificates = certificates(bytes).context("reading OpenPGP keys")?;
            ensure!(!certificates.is_empty(), "reading OpenPGP keys: there is no public key in the file");
            for certificate in &certificates {
                let fingerprint = format!("{:X}", certificate.fingerprint());
                keys.extend(
                    signing_keys(certificate, extra).with_context(|| format!("reading OpenPGP key {fingerprint}"))?,
                );
            }
        }
        Ok(Self { keys })
    }

    /// The keys that may sign a release which only `signer` signs: that one, and those that the operator added. All of them
    /// when `signer` is empty.
    pub fn pinned(&self, signer: &str) -> Self {
        let may = |key: &&SigningKey| signer.is_empty() || key.extra || key.primary.eq_ignore_ascii_case(signer);
        Self { keys: self.keys.iter().filter(may).cloned().collect() }
    }

    /// Whether what two of these keys signed are states of one archive, whose dates can be compared.
    ///
    /// SECURITY: a distributor signs with several keys, and whoever is in between can leave out signatures: were each key an
    /// archive of its own, an old state with only its second signature would pass. A key that the operator added is one.
    pub fn are_of_one_archive(&self, one: &str, other: &str) -> bool {
        let is_distributors = |signer: &str| self.keys.iter().any(|key| !key.extra && key.primary == signer);
        one == other || (is_distributors(one) && is_distributors(other))
    }

    /// Fingerprints of the primary keys, upper-case hexadecimal, in the order they were read.
    pub fn fingerprints(&self) -> Vec<&str> {
        let mut fingerprints: Vec<_> = self.keys.iter().map(|key| key.primary.as_str()).collect();
        fingerprints.dedup();
        fingerprints
    }
}

/// The certificates in a file, which may be several armoured blocks one after another.
fn certificates(bytes: &[u8]) -> anyhow::Result<Vec<SignedPublicKey>> {
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(SignedPublicKey::from_bytes_many(bytes)?.collect::<Result<_, _>>()?);
    }
    let mut all = Vec::new();
    for block in std::str::from_utf8(bytes)?.split(ARMOR).skip(1) {
        let armored = format!("{ARMOR}{block}");
        for certificate in SignedPublicKey::from_string_many(&armored)?.0 {
            all.push(certificate?);
        }
    }
    Ok(all)
}

/// The keys of a certificate that may sign data: the primary if its flags allow it, and every bound signing subkey.
fn signing_keys(certificate: &SignedPublicKey, extra: bool) -> anyhow::Result<Vec<SigningKey>> {
    let primary = &certificate.primary_key;
    let about = [newest(certifications(certificate)), newest(direct_signatures(certificate))];
    let about: Vec<_> = about.into_iter().flatten().collect();
    ensure!(!about.is_empty(), "it has no valid self-signature");
    // A revocation counts whatever its date and reason: it is the owner's last word.
    let revoked = certificate.details.revocation_signatures.iter().any(|signature| {
        signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(primary).is_ok()
    });
    // Debian's automatic keys state their end with the user id and something else, later, directly: the one must not hide
    // behind the other.
    let primary_expires = about.iter().filter_map(|about| expiry(primary, about)).min();
    let fingerprint = format!("{:X}", primary.fingerprint());

    let mut keys = Vec::new();
    if may_sign(&about) {
        let key = Public::Primary(primary.clone());
        keys.push(SigningKey { key, primary: fingerprint.clone(), expires: primary_expires, revoked, extra });
    }
    for subkey in &certificate.public_subkeys {
        let Some(binding) = newest(bindings(primary, subkey)).filter(|binding| binds_signer(primary, subkey, binding))
        else {
            continue;
        };
        keys.push(SigningKey {
            key: Public::Subkey(subkey.key.clone()),
            primary: fingerprint.clone(),
            expires: [primary_expires, expiry(&subkey.key, binding)].into_iter().flatten().min(),
            revoked: revoked || is_revoked(primary, subkey),
            extra,
        });
    }
    Ok(keys)
}

/// What the owner says of the primary key together with a user id.
fn certifications(certificate: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &certificate.primary_key;
    certificate.details.users.iter().flat_map(move |user| {
        user.signatures.iter().filter(move |signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && is_strong(signature)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    })
}

/// What the owner says of the primary key alone.
fn direct_signatures(certificate: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let primary = &certificate.primary_key;
    certificate.details.direct_signatures.iter().filter(move |signature| {
        signature.typ() == Some(SignatureType::Key) && is_strong(signature) && signature.verify_key(primary).is_ok()
    })
}

fn bindings<'a>(primary: &'a PublicKey, subkey: &'a SignedPublicSubKey) -> impl Iterator<Item = &'a Signature> {
    subkey.signatures.iter().filter(move |signature| {
        signature.typ() == Some(SignatureType::SubkeyBinding)
            && is_strong(signature)
            && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
    })
}

/// SECURITY: without the subkey's own signature over the primary key, anybody could adopt somebody else's subkey and pass its
/// signatures off as their own.
fn binds_signer(primary: &PublicKey, subkey: &SignedPublicSubKey, binding: &Signature) -> bool {
    let back = || binding.embedded_signature().filter(|back| is_strong(back));
    binding.key_flags().sign()
        && back().is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok())
}

fn is_revoked(primary: &PublicKey, subkey: &SignedPublicSubKey) -> bool {
    subkey.signatures.iter().any(|signature| {
        signature.typ() == Some(SignatureType::SubkeyRevocation)
            && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
    })
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Key flags with "sign", or none at all: then the algorithm decides, and only signing algorithms verify anything.
fn may_sign(about: &[&Signature]) -> bool {
    let subpackets = about.iter().filter_map(|about| about.config()).flat_map(|config| config.hashed_subpackets());
    let mut flags = subpackets.filter_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyFlags(flags) => Some(flags.sign()),
        _ => None,
    });
    flags.next().is_none_or(|first| first || flags.any(|more| more))
}

/// When a key ends; the field counts seconds from its making, and 0 stands for never (RFC 9580 §5.2.3.13).
fn expiry(key: &impl KeyDetails, about: &Signature) -> Option<Timestamp> {
    let lifetime = about.key_expiration_time().map(|lifetime| lifetime.as_secs()).filter(|&seconds| seconds > 0)?;
    Some(moment(u64::from(key.created_at().as_secs()) + u64::from(lifetime)))
}

/// Seconds since 1970, as OpenPGP counts them.
pub(super) fn moment(seconds: u64) -> Timestamp {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
}

/// SHA-256 or better: collisions of anything weaker are within reach, and a collision is a forged `Release`.
pub(super) fn is_strong(signature: &Signature) -> bool {
    use HashAlgorithm as H;
    matches!(signature.hash_alg(), Some(H::Sha256 | H::Sha384 | H::Sha512 | H::Sha3_256 | H::Sha3_512))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &[u8] = include_bytes!("../../templates/distros/debian/keys/archive.pgp");

    #[test]
    fn the_embedded_keys_are_debians() -> anyhow::Result<()> {
        // Published at https://ftp-master.debian.org/keys.html: automatic, security, stable of 11, 12 and 13.
        let mut published = [
            "1F89983E0081FDE018F3CC9673A4F27B8DD47936",
            "AC530D520F2F3269F5E98313A48449044AAD5C5D",
            "A4285295FC7B1A81600062A9605C66F00D6C9793",
            "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
            "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
            "4D64FEC119C2029067D6E791F8D2585B8783D481",
            "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
            "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
            "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
        ];
        let keyring = Keyring::load(DEBIAN, &[])?;
        let mut embedded = keyring.fingerprints();
        embedded.sort_unstable();
        published.sort_unstable();
        assert_eq!(embedded, published);
        // 9 primaries and the 6 subkeys of automatic and security, none without an end.
        assert_eq!(keyring.keys.len(), 15);
        assert!(keyring.keys.iter().all(|key| key.expires.is_some() && !key.revoked));
        Ok(())
    }

    #[test]
    fn what_holds_no_key_is_an_error() {
        for bytes in [&b""[..], b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"not a key", &DEBIAN[..100]] {
            let error = Keyring::load(DEBIAN, &[bytes.to_vec()]).expect_err("no key in it");
            assert!(format!("{error:#}").starts_with("reading OpenPGP keys"), "{error:#}");
        }
    }
}
