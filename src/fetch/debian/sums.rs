use crate::model::Sha256Digest;

/// The digest of `path` in a `SHA256SUMS` file as `sha256sum` writes it (`digest`, two spaces or space and `*`, name).
///
/// Debian's installer images are listed as `./netboot/…`; `path` is given without the `./`.
pub fn find(sums: &str, path: &str) -> Option<Sha256Digest> {
    sums.lines().find_map(|line| {
        let (digest, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*'])?;
        if name.strip_prefix("./").unwrap_or(name) == path { digest.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn finds_a_file_in_either_spelling() {
        for line in ["{}  ./netboot/linux", "{}  netboot/linux", "{} *netboot/linux"] {
            let sums = format!("garbage\n{}\n", line.replace("{}", DIGEST));
            assert_eq!(find(&sums, "netboot/linux"), DIGEST.parse().ok(), "{line}");
            assert_eq!(find(&sums, "linux"), None, "a suffix is not the file");
        }
        assert_eq!(find("zz  netboot/linux", "netboot/linux"), None);
    }
}
