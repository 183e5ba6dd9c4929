//! Metalink 3.0 as MirrorManager writes it: which `repomd.xml` is right, and who has it. Pure.

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::xml::Xml;
use crate::{fetch::digest::Expected, model::Sha256Digest};

/// The longest that is read; Fedora's have some 50 kB.
pub const LIMIT: usize = 4 << 20;

/// What a metalink says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metalink {
    /// The `repomd.xml` that is right today.
    pub current: Expected,
    /// Those before it, which mirrors that are a little behind may still have (`mm0:alternates`).
    pub earlier: Vec<Expected>,
    /// Where it is, best first: https before http, then MirrorManager's own order (distance, then a draw by bandwidth).
    pub urls: Vec<Url>,
}

impl Metalink {
    /// Reads it.
    ///
    /// # Errors
    /// Whatever is not a metalink of a `repomd.xml`. MirrorManager reports its own errors as a comment, with HTTP 200: it is
    /// repeated.
    pub fn parse(document: &[u8]) -> anyhow::Result<Self> {
        let mut xml = Xml::new(document, LIMIT as u64);
        let (mut current, mut earlier, mut urls) = (None, Vec::new(), Vec::new());
        xml.root("metalink", |xml, element| {
            if element.name != "files" {
                return Ok(());
            }
            xml.children(|xml, file| {
                if file.name != "file" || file.attribute("name") != Some("repomd.xml") {
                    return Ok(());
                }
                current = Some(details(xml, &mut earlier, &mut urls)?);
                Ok(())
            })
        })?;
        xml.finish()?;
        let Some(current) = current.flatten() else {
            let said = xml.comments();
            let said = if said.is_empty() { String::new() } else { format!(": {said:?}") };
            anyhow::bail!("it names no repomd.xml with a SHA-256 digest{said}");
        };
        // Stable: what is equal here stays in MirrorManager's order.
        urls.sort_by_key(|(preference, url): &(u32, Url)| (url.scheme() != "https", std::cmp::Reverse(*preference)));
        Ok(Self { current, earlier, urls: urls.into_iter().map(|(_, url)| url).collect() })
    }
}

/// Whether a file of this length and digest is the known one.
pub fn is(known: &Expected, actual: Expected) -> bool {
    known.sha256 == actual.sha256 && (known.size.is_none() || known.size == actual.size)
}

/// Length and digest of bytes in memory.
pub fn seen(bytes: &[u8]) -> Expected {
    let sha256 = Sha256Digest(Sha256::digest(bytes).into());
    Expected { size: Some(bytes.len() as u64), sha256 }
}

/// The content of `<file>`, and of `<mm0:alternate>`, which is a file without addresses.
fn details<R: std::io::BufRead>(
    xml: &mut Xml<R>,
    earlier: &mut Vec<Expected>,
    urls: &mut Vec<(u32, Url)>,
) -> anyhow::Result<Option<Expected>> {
    let (mut size, mut sha256) = (None, None);
    xml.children(|xml, element| {
        match element.name.as_str() {
            "size" => size = Some(xml.text()?.parse().context("reading the size of repomd.xml")?),
            "verification" => xml.children(|xml, hash| {
                if hash.name == "hash" && hash.attribute("type") == Some("sha256") {
                    sha256 = Some(xml.text()?.parse().context("reading the digest of repomd.xml")?);
                }
                Ok(())
            })?,
            "alternates" => xml.children(|xml, alternate| {
                if alternate.name == "alternate" {
                    // What is nested in an alternate is none.
                    earlier.extend(details(xml, &mut Vec::new(), &mut Vec::new())?);
                }
                Ok(())
            })?,
            "resources" => xml.children(|xml, url| {
                if url.name == "url" {
                    let preference = url.attribute("preference").and_then(|value| value.parse().ok()).unwrap_or(0);
                    // An address that we cannot ask, such as rsync's, is somebody else's.
                    let address = Url::parse(&xml.text()?).ok();
                    let asked = |address: &Url| matches!(address.scheme(), "http" | "https") && address.has_host();
                    urls.extend(address.filter(asked).map(|address| (preference, address)));
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(sha256.map(|sha256| Expected { size, sha256 }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METALINK: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" pubdate="Mon, 23 Nov 2026 02:00:00 GMT"
 generator="mirrormanager" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="other.xml"><verification><hash type="sha256">zz</hash></verification></file>
  <file name="repomd.xml">
   <mm0:timestamp>1795399200</mm0:timestamp>
   <size>4711</size>
   <verification>
    <hash type="md5">0123</hash>
    <hash type="sha256">1111111111111111111111111111111111111111111111111111111111111111</hash>
   </verification>
   <mm0:alternates>
    <mm0:alternate>
     <mm0:timestamp>1795312800</mm0:timestamp>
     <size>4710</size>
     <verification><hash type="sha256">2222222222222222222222222222222222222222222222222222222222222222</hash></verification>
    </mm0:alternate>
    <mm0:alternate><verification><hash type="md5">0123</hash></verification></mm0:alternate>
   </mm0:alternates>
   <resources maxconnections="1">
    <url protocol="rsync" type="rsync" location="DE" preference="100">rsync://a.test/x/repodata/repomd.xml</url>
    <url protocol="http" type="http" location="DE" preference="100">http://a.test/x/repodata/repomd.xml</url>
    <url protocol="https" type="https" location="DE" preference="98">https://b.test/x/repodata/repomd.xml</url>
    <url protocol="https" type="https" location="CZ" preference="99">https://c.test/x&amp;y/repodata/repomd.xml</url>
    <url protocol="https" type="https" location="FR" preference="98">https://d.test/x/repodata/repomd.xml</url>
    <url>not an address</url>
   </resources>
  </file>
 </files>
</metalink>"#;

    fn expected(digit: &str, size: u64) -> Expected {
        Expected { size: Some(size), sha256: digit.repeat(64).parse().expect("a digest") }
    }

    #[test]
    fn digests_and_addresses_in_order_of_preference() {
        let metalink = Metalink::parse(METALINK.as_bytes()).expect("a metalink");
        assert_eq!(metalink.current, expected("1", 4711));
        assert_eq!(metalink.earlier, [expected("2", 4710)]);
        let unsized_one = Expected { size: None, ..expected("2", 0) };
        assert!(is(&metalink.earlier[0], expected("2", 4710)) && is(&unsized_one, expected("2", 4711)));
        assert!(!is(&metalink.earlier[0], expected("2", 4711)) && !is(&unsized_one, expected("1", 4711)));
        let urls: Vec<_> = metalink.urls.iter().map(Url::as_str).collect();
        assert_eq!(
            urls,
            [
                "https://c.test/x&y/repodata/repomd.xml",
                "https://b.test/x/repodata/repomd.xml",
                "https://d.test/x/repodata/repomd.xml",
                "http://a.test/x/repodata/repomd.xml"
            ]
        );
    }

    #[test]
    fn an_error_that_comes_as_a_comment_is_repeated() {
        let document = "<?xml version=\"1.0\"?>\n<metalink version=\"3.0\"><!--\n repo = fedora-99,\n error: invalid \
                        repository or arch\n--></metalink>";
        let error = Metalink::parse(document.as_bytes()).expect_err("no metalink");
        assert_eq!(
            error.to_string(),
            "it names no repomd.xml with a SHA-256 digest: \"repo = fedora-99, error: invalid repository or arch\""
        );
    }

    #[test]
    fn what_is_no_metalink_is_an_error() {
        let rows = [
            (METALINK.replace("sha256", "md5"), "it names no repomd.xml with a SHA-256 digest"),
            (METALINK.replace("1111", "xyz"), "reading the digest of repomd.xml"),
            (METALINK.replace("4711", "-1"), "reading the size of repomd.xml"),
            (METALINK.split("<mm0:alternates>").next().unwrap_or_default().to_owned(), "it ends in the middle"),
            ("<html><body>Please log in</body></html>".to_owned(), "it is a <html>, not a <metalink>"),
        ];
        for (document, expected) in rows {
            let error = format!("{:#}", Metalink::parse(document.as_bytes()).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_damage_ends_in_a_verdict(at in 0..METALINK.len(), byte: u8, cut in 0..METALINK.len()) {
            let mut document = METALINK.as_bytes().to_vec();
            document[at] = byte;
            let _ = Metalink::parse(&document);
            prop_assert!(Metalink::parse(&METALINK.as_bytes()[..cut]).is_err());
        }
    }
}
