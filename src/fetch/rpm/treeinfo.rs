//! `.treeinfo`: what an install tree says of itself (productmd's format, of the INI family). Pure.

use std::collections::BTreeMap;

use crate::model::Sha256Digest;

/// The section `[checksums]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Treeinfo {
    files: BTreeMap<String, Sha256Digest>,
}

impl Treeinfo {
    /// Reads the text. What is no digest is passed over, so that another page in its place says nothing of any file.
    pub fn parse(text: &str) -> Self {
        let (mut files, mut inside) = (BTreeMap::new(), false);
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == "[checksums]";
            } else if inside
                && let Some((path, value)) = line.split_once('=')
                && let Some(digest) = value.trim().strip_prefix("sha256:")
                && let Ok(digest) = digest.parse()
            {
                files.insert(path.trim().to_owned(), digest);
            }
        }
        Self { files }
    }

    /// The digest of a file by its path below the tree, if it is listed. Not all are: those below `EFI/` never.
    pub fn file(&self, path: &str) -> Option<Sha256Digest> {
        self.files.get(path).copied()
    }

    /// Whether it lists any file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "bd285201494dd0ba09b54d05ac707de1401668b8512a573edb5922dcf9d7067e";

    #[test]
    fn reads_the_digests_and_nothing_else() {
        let text = format!(
            "[header]\ntype = productmd.treeinfo\nimages/x = sha256:{DIGEST}\n\n[checksums]\n\
             images/boot.iso = sha256:{DIGEST}\nimages/install.img=sha256:{DIGEST}\r\nimages/old = md5:abc\n\
             images/short = sha256:abc\n[general]\nimages/y = sha256:{DIGEST}\n"
        );
        let treeinfo = Treeinfo::parse(&text);
        let digest = DIGEST.parse().ok();
        for (path, expected) in [
            ("images/boot.iso", digest),
            ("images/install.img", digest),
            ("images/old", None),
            ("images/short", None),
            ("images/x", None),
            ("images/y", None),
        ] {
            assert_eq!(treeinfo.file(path), expected, "{path}");
        }
        assert!(Treeinfo::parse("<html>log in first</html>").is_empty());
    }
}
