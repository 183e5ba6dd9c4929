//! The signed files of a suite, as one state.

use crate::fetch::{
    debian::{metadata, release_file::ReleaseFile},
    download::DownloadError,
    keyring::Keyring,
    openpgp::Signed,
};

/// The signed files of a suite as they came, and what they say.
pub struct Fetched {
    /// `InRelease`.
    pub in_release: Option<(Vec<u8>, Text)>,
    /// `Release` and `Release.gpg`.
    pub release: Option<(Vec<u8>, Vec<u8>, Text)>,
}

/// What was signed, read and as it stands.
pub type Text = (ReleaseFile, Signed);

impl Fetched {
    /// What they say, `InRelease` first.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let in_release = self.in_release.iter().map(|(_, text)| text);
        in_release.chain(self.release.iter().map(|(_, _, text)| text))
    }
}

/// Fetches the signed files of a suite: such as belong together.
///
/// # Errors
/// When they cannot be had, or the one that most clients read does not verify.
pub async fn fetch(suite: &metadata::Suite<'_>) -> anyhow::Result<Fetched> {
    let (in_release, text, signature) =
        tokio::join!(suite.get("InRelease"), suite.get("Release"), suite.get("Release.gpg"));
    let pair = match (text, signature) {
        (Ok(text), Ok(signature)) => suite.release(&text, &signature).map(|judged| (text, signature, judged)),
        (Err(error), _) | (_, Err(error)) => Err(suite.not_there(error)),
    };
    let in_release = match in_release {
        Ok(bytes) => {
            let judged = suite.in_release(&bytes)?;
            (bytes, judged)
        }
        Err(DownloadError::Gone { .. }) => return Ok(Fetched { in_release: None, release: Some(pair?) }),
        Err(error) => return Err(error.into()),
    };
    let release = match pair {
        Ok(pair) if belong_together(suite.keyring, &in_release.1, &pair.2) => pair,
        // Mirrors that are being updated have them of two days for hours.
        other => {
            let why = other.map_or_else(|why| format!("{why:#}"), |_| "it is of another day".to_owned());
            tracing::info!("Release of {} is taken out of InRelease: {why}", suite.name);
            detached(&in_release.0, &in_release.1)
        }
    };
    Ok(Fetched { in_release: Some(in_release), release: Some(release) })
}

/// `Release` and `Release.gpg`, as an `InRelease` has them in it.
///
/// debian-installer asks for no `InRelease`. What is signed in one is the text with CRLF at its line ends, up to the last of them
/// (RFC 9580 §7.1), and that is what gpgv hashes for a detached signature of this kind too.
fn detached(in_release: &[u8], text: &Text) -> (Vec<u8>, Vec<u8>, Text) {
    const ARMOR: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
    let at = in_release.windows(ARMOR.len()).rposition(|window| window == ARMOR);
    let signature = &in_release[at.expect("it was verified by it")..];
    (text.1.text.clone().into_bytes(), signature.to_vec(), text.clone())
}

/// `Release` says the same as `InRelease`, or somebody else signed it.
fn belong_together(keyring: &Keyring, (in_release, by): &Text, (release, other): &Text) -> bool {
    in_release.date == release.date || !keyring.are_of_one_archive(&by.signer, &other.signer)
}
