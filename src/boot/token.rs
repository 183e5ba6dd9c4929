use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::{Endpoints, Mac, Sha256Digest};

/// What only this provisioner knows; a machine's token is derived from it, so that no table of tokens is kept.
///
/// SECURITY: the token is in the URLs of a machine's answers and callbacks. On a plain link whoever can listen can read
/// it: it keeps machines from taking each other's answers by accident or guess, it does not hide them from a listener.
#[derive(Clone)]
pub struct Secret(pub [u8; 32]);

/// The addresses that only one machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineUrls {
    /// Its answer file.
    pub answers: String,
    /// What it calls is below this.
    pub callback: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl Secret {
    /// The machine's token: 128 bits as 32 hexadecimal digits.
    pub fn token(&self, mac: Mac) -> String {
        // A prefix of a SHA-256 cannot be extended to another MAC: the input has a fixed length.
        let digest = Sha256::new().chain_update(self.0).chain_update(mac.0).finalize();
        let mut token = Sha256Digest(digest.into()).to_string();
        token.truncate(32);
        token
    }

    /// Where a machine finds its answers and where it calls back.
    pub fn urls(&self, mac: Mac, endpoints: Endpoints, answers: &str) -> MachineUrls {
        let token = self.token(mac);
        MachineUrls {
            answers: endpoints.url(&format!("/answers/{mac}/{token}/{answers}")),
            callback: endpoints.url(&format!("/callback/{mac}/{token}")),
        }
    }

    /// Whether `token` is the machine's.
    pub fn accepts(&self, mac: Mac, token: &str) -> bool {
        // Compared as digests: the time it takes says nothing about how much of a guess was right.
        Sha256::digest(self.token(mac)) == Sha256::digest(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_one_machine_and_one_secret() {
        let (one, two) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let (secret, other) = (Secret([7; 32]), Secret([8; 32]));
        let token = secret.token(one);
        assert_eq!(token.len(), 32);
        assert!(secret.accepts(one, &token));
        assert!(!secret.accepts(two, &token));
        assert!(!other.accepts(one, &token));
        assert!(!secret.accepts(one, &token[..31]));
        assert!(!secret.accepts(one, ""));
    }
}
