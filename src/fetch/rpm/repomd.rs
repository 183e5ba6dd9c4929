//! `repomd.xml`: the table of contents of a repository. Pure.

use anyhow::{Context as _, ensure};

use super::xml::Xml;
use crate::fetch::digest::Expected;

/// The longest that is read; Fedora's have some 5 kB.
pub const LIMIT: usize = 1 << 20;

/// A file that it lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is: `primary`, `filelists`, `group`, …
    pub kind: String,
    /// Its path below the repository.
    pub path: String,
    /// What it has to be.
    pub expected: Expected,
    /// Its length once unpacked, in bytes.
    pub open_size: Option<u64>,
}

impl Listed {
    /// Whether dnf or Anaconda may read it while they install: neither the databases, which are yum's, nor the changelogs, which
    /// dnf fetches when it is asked for them. Of a list in several forms each program takes one.
    pub fn is_read(&self) -> bool {
        !self.kind.ends_with("_db") && !matches!(self.kind.as_str(), "other" | "other_zck")
    }
}

/// The files that have a SHA-256 digest: those with a weaker one are as good as not listed.
///
/// # Errors
/// Whatever is not a `repomd.xml`, and paths that leave the repository.
pub fn parse(document: &[u8]) -> anyhow::Result<Vec<Listed>> {
    let mut xml = Xml::new(document, LIMIT as u64);
    let mut listed = Vec::new();
    xml.root("repomd", |xml, data| {
        if data.name != "data" {
            return Ok(());
        }
        let kind = data.required("type")?.to_owned();
        let (mut path, mut sha256, mut size, mut open_size) = (None, None, None, None);
        let read = xml.children(|xml, element| {
            match element.name.as_str() {
                "location" => path = Some(below(element.required("href")?)?.to_owned()),
                "checksum" if element.attribute("type") == Some("sha256") => sha256 = Some(xml.text()?.parse()?),
                "size" => size = Some(xml.text()?.parse()?),
                "open-size" => open_size = Some(xml.text()?.parse()?),
                _ => {}
            }
            Ok(())
        });
        read.with_context(|| format!("reading what it says of {kind:?}"))?;
        if let Some(sha256) = sha256 {
            let path = path.with_context(|| format!("it does not say where {kind:?} is"))?;
            listed.push(Listed { kind, path, expected: Expected { size, sha256 }, open_size });
        }
        Ok(())
    })?;
    xml.finish()?;
    Ok(listed)
}

/// The path, should it be one below a repository.
///
/// SECURITY: it becomes part of a URL and is compared with what machines ask for; no list may name what is elsewhere.
pub fn below(path: &str) -> anyhow::Result<&str> {
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.chars().any(char::is_control);
    ensure!(plain, "{path:?} is not a path below the repository");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPOMD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1795399200</revision>
  <data type="primary">
    <checksum type="sha256">1111111111111111111111111111111111111111111111111111111111111111</checksum>
    <open-checksum type="sha256">2222222222222222222222222222222222222222222222222222222222222222</open-checksum>
    <location href="repodata/1111-primary.xml.zst"/>
    <timestamp>1795399200</timestamp>
    <size>20</size>
    <open-size>200</open-size>
  </data>
  <data type="group"><checksum type="sha">123</checksum><location href="repodata/comps.xml"/></data>
  <data type="group_gz">
    <checksum type="sha256">3333333333333333333333333333333333333333333333333333333333333333</checksum>
    <location href="repodata/comps.xml.gz"/>
  </data>
</repomd>"#;

    #[test]
    fn files_with_a_strong_digest_are_listed() {
        let listed = parse(REPOMD.as_bytes()).expect("a repomd.xml");
        let sha256 = |digit: &str| digit.repeat(64).parse().expect("a digest");
        let entry = |kind: &str, path: &str, digit, size, open_size| Listed {
            kind: kind.into(),
            path: path.into(),
            expected: Expected { size, sha256: sha256(digit) },
            open_size,
        };
        assert_eq!(
            listed,
            [
                entry("primary", "repodata/1111-primary.xml.zst", "1", Some(20), Some(200)),
                entry("group_gz", "repodata/comps.xml.gz", "3", None, None)
            ]
        );
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        let rows = [
            (REPOMD.replace("repodata/1111", "../1111"), "\"../1111-primary.xml.zst\" is not a path below"),
            (REPOMD.replace("repodata/1111", "/1111"), "is not a path below the repository"),
            (REPOMD.replace("repodata/1111", "https://x.test/1111"), "is not a path below the repository"),
            (REPOMD.replace("<size>20<", "<size>20 bytes<"), "reading what it says of \"primary\""),
            (
                REPOMD.replace("2222", "22").replace("<checksum type=\"sha256\">11", "<checksum type=\"sha256\">"),
                "SHA-256",
            ),
            (REPOMD.replace("<location href=\"repodata/1111-primary.xml.zst\"/>", ""), "it does not say where"),
            (REPOMD.replace(" type=\"primary\"", ""), "<data> has no type"),
            (REPOMD.split("<timestamp>").next().unwrap_or_default().to_owned(), "it ends in the middle"),
        ];
        for (document, expected) in rows {
            let error = format!("{:#}", parse(document.as_bytes()).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_damage_ends_in_a_verdict(at in 0..REPOMD.len(), byte: u8, cut in 0..REPOMD.len()) {
            let mut document = REPOMD.as_bytes().to_vec();
            document[at] = byte;
            let _ = parse(&document);
            prop_assert!(parse(&REPOMD.as_bytes()[..cut]).is_err());
        }
    }
}
