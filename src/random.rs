//! Random bytes for salts, secrets and passphrases.

/// `N` bytes from the kernel's generator (getrandom(2)).
pub fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("asking the kernel for random bytes: {error}"))?;
    Ok(bytes)
}
