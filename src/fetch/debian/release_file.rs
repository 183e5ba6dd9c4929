//! `Release`: the signed table of contents of a suite.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use jiff::{Timestamp, fmt::rfc2822};

use crate::{fetch::digest::Expected, model::Sha256Digest};

/// What a suite's `Release` (or the signed text of its `InRelease`) says, as far as it is used here.
///
/// Format: <https://wiki.debian.org/DebianRepository/Format>.
#[derive(Debug, Clone)]
pub struct ReleaseFile {
    /// `stable`, `testing`, …
    pub suite: String,
    /// `trixie`, …
    pub codename: String,
    /// `13.7`; testing has none.
    pub version: Option<String>,
    /// When it was made.
    pub date: Timestamp,
    /// After this it must not be believed any more; stable suites have none.
    pub valid_until: Option<Timestamp>,
    /// Whether indexes may be asked for by digest, which no mirror update can race with.
    pub by_hash: bool,
    /// Whether packages for all architectures are listed apart from each architecture's own.
    pub all_apart: bool,
    /// The suite's files by path below `dists/<suite>/`.
    files: HashMap<String, Expected>,
}

impl ReleaseFile {
    /// Reads the text; the caller has verified it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (mut fields, mut files) = (HashMap::new(), HashMap::new());
        let mut field = "";
        for line in text.lines() {
            if let Some(continuation) = line.strip_prefix([' ', '\t']) {
                if field == "SHA256" {
                    let (path, expected) = parse_file(continuation).with_context(|| format!("reading {line:?}"))?;
                    files.insert(path, expected);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                field = name;
                fields.insert(name, value.trim());
            }
        }
        let date = |name: &str| fields.get(name).map(|value| parse_date(value)).transpose();
        let has = |name: &str, word| fields.get(name).is_some_and(|value| value.split(' ').any(|other| other == word));
        ensure!(!files.is_empty(), "it lists no file with a SHA-256 digest");
        Ok(Self {
            suite: fields.get("Suite").map_or_else(String::new, |suite| (*suite).to_owned()),
            codename: (*fields.get("Codename").context("it has no Codename")?).to_owned(),
            version: fields.get("Version").map(|version| (*version).to_owned()),
            date: date("Date")?.context("it has no Date")?,
            valid_until: date("Valid-Until")?,
            by_hash: fields.get("Acquire-By-Hash") == Some(&"yes"),
            all_apart: has("Architectures", "all") && !has("No-Support-for-Architecture-all", "Packages"),
            files,
        })
    }

    /// What the file at `path` (below `dists/<suite>/`) has to be.
    pub fn file(&self, path: &str) -> Option<Expected> {
        self.files.get(path).copied()
    }

    /// Every listed file, by its path below `dists/<suite>/`.
    pub fn files(&self) -> impl Iterator<Item = (&str, Expected)> {
        self.files.iter().map(|(path, expected)| (path.as_str(), *expected))
    }

    /// The digests of all listed files.
    pub fn digests(&self) -> impl Iterator<Item = Sha256Digest> {
        self.files.values().map(|expected| expected.sha256)
    }

    /// `13.7`, or the codename of a suite that has no version.
    pub fn version_or_codename(&self) -> &str {
        self.version.as_deref().unwrap_or(&self.codename)
    }
}

/// `digest size path`, separated by blanks.
fn parse_file(line: &str) -> anyhow::Result<(String, Expected)> {
    let mut words = line.split_ascii_whitespace();
    let (Some(digest), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next()) else {
        anyhow::bail!("a line of the SHA256 field is digest, size and path");
    };
    Ok((path.to_owned(), Expected { size: Some(size.parse().context("reading the size")?), sha256: digest.parse()? }))
}

/// RFC 2822 with the zone `UTC`, which that RFC does not know.
fn parse_date(text: &str) -> anyhow::Result<Timestamp> {
    let numeric = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |text| format!("{text}+0000"));
    rfc2822::DateTimeParser::new().parse_timestamp(&numeric).with_context(|| format!("reading the date {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian
Suite: stable
Version: 13.7
Codename: trixie
Date: Sat, 12 Sep 2026 07:55:41 UTC
Acquire-By-Hash: yes
MD5Sum:
 d41d8cd98f00b204e9800998ecf8427e        0 main/binary-amd64/Packages.xz
SHA256:
 7778d3e3f303b7ddb8ce0fe7c8d57473a076c6bf2e8f241f75421d2396352498  9678380 main/binary-amd64/Packages.xz
";

    #[test]
    fn reads_what_is_used() -> anyhow::Result<()> {
        let release = ReleaseFile::parse(TEXT)?;
        assert_eq!((release.suite.as_str(), release.codename.as_str()), ("stable", "trixie"));
        assert_eq!((release.version.as_deref(), release.by_hash, release.valid_until), (Some("13.7"), true, None));
        assert_eq!(release.date.to_string(), "2026-09-12T07:55:41Z");
        let packages = release.file("main/binary-amd64/Packages.xz").context("listed")?;
        assert_eq!(packages.size, Some(9_678_380), "the entry of SHA256, not of MD5Sum");
        assert_eq!(release.file("main/binary-arm64/Packages.xz"), None);
        assert_eq!(release.files().collect::<Vec<_>>(), [("main/binary-amd64/Packages.xz", packages)]);
        Ok(())
    }

    #[test]
    fn packages_for_all_architectures_are_apart_only_where_clients_shall_look_there() -> anyhow::Result<()> {
        for (fields, apart) in [
            ("", false),
            ("Architectures: amd64 arm64\n", false),
            ("Architectures: all amd64\n", true),
            ("Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n", false),
        ] {
            assert_eq!(ReleaseFile::parse(&format!("{fields}{TEXT}"))?.all_apart, apart, "{fields}");
        }
        Ok(())
    }

    #[test]
    fn refuses_what_would_leave_a_hole() {
        for (cut, put, why) in [
            ("Codename: trixie\n", "", "no Codename"),
            ("Date: Sat, 12 Sep 2026 07:55:41 UTC\n", "", "no Date"),
            ("12 Sep", "12 Foo", "reading the date"),
            ("SHA256:", "SHA1:", "no file with a SHA-256 digest"),
            (" 9678380", "", "digest, size and path"),
            (" 9678380", " -1", "reading the size"),
            (" 7778d3", " zz78d3", "SHA-256 digest"),
        ] {
            let error = ReleaseFile::parse(&TEXT.replace(cut, put)).expect_err(why);
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
