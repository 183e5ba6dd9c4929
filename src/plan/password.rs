use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};

use crate::{model::PasswordHash, random};

/// Random bytes of a salt. Twelve make sixteen characters, which is all that crypt(3) looks at: with sha-crypt's own
/// default of sixteen bytes (22 characters) crypt(3) computes another hash and nobody could log in.
const SALT_BYTES: usize = 12;

/// Rounds of SHA-512 crypt: twenty times the default of crypt(5), still well under a second at a login.
const ROUNDS: u32 = 100_000;

/// Hashes a password for `shadow(5)` as SHA-512 crypt (`$6$`, crypt(5)).
pub fn hash_password(password: &str) -> anyhow::Result<PasswordHash> {
    hash_with_salt(password, random::bytes()?)
}

fn hash_with_salt(password: &str, salt: [u8; SALT_BYTES]) -> anyhow::Result<PasswordHash> {
    let params =
        Params::new(ROUNDS).map_err(|error| anyhow::anyhow!("setting the rounds of SHA-512 crypt: {error}"))?;
    let hash = ShaCrypt::new(Algorithm::Sha512Crypt, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow::anyhow!("hashing the password: {error}"))?;
    Ok(hash.as_str().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_has_the_sixteen_characters_that_crypt_looks_at() {
        let hash = hash_with_salt("pass word", [7; SALT_BYTES]).expect("a hash");
        let fields: Vec<_> = hash.expose().split('$').collect();
        assert_eq!(fields[..3], ["", "6", "rounds=100000"]);
        assert_eq!(fields[3].len(), 16);
        assert_eq!(fields[4].len(), 86);
    }
}
