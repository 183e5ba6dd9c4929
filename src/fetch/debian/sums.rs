use super::table::{Table, TableBuilder};
use crate::{fetch::digest::Expected, model::Sha256Digest};

/// The digest of `path` in a `SHA256SUMS` file as `sha256sum` writes it (`digest`, two spaces or space and `*`, name).
///
/// Debian's installer images are listed as `./netboot/…`; `path` is given without the `./`.
pub fn find(sums: &str, path: &str) -> Option<Sha256Digest> {
    entries(sums).find_map(|(digest, name)| if name == path { digest.parse().ok() } else { None })
}

/// The files that a `SHA256SUMS` in `folder` lists.
///
/// # Errors
/// When it has two digests for one file.
pub fn table(sums: &str, folder: &str) -> anyhow::Result<Table> {
    let mut table = TableBuilder::default();
    for (digest, name) in entries(sums) {
        if let Ok(sha256) = digest.parse() {
            table.add(&format!("{folder}/{name}"), Expected { size: None, sha256 })?;
        }
    }
    table.finish()
}

fn entries(sums: &str) -> impl Iterator<Item = (&str, &str)> {
    sums.lines().filter_map(|line| {
        let (digest, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*'])?;
        Some((digest, name.strip_prefix("./").unwrap_or(name)))
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
            let table = table(&sums, "images").expect("a table");
            assert_eq!(table.find("images/netboot/linux").map(|linux| linux.sha256), DIGEST.parse().ok(), "{line}");
            assert_eq!(table.len(), 1);
        }
        assert_eq!(find("zz  netboot/linux", "netboot/linux"), None);
    }
}
