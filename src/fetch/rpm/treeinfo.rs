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

/// What a disc says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// `Fedora`, `Rocky Linux`.
    pub name: String,
    /// `44`, `10.1`.
    pub version: String,
    /// `x86_64`.
    pub arch: String,
    /// Folders of repositories by the names of their variants, such as `BaseOS`; the root is the empty one.
    repositories: BTreeMap<String, String>,
}

impl Described {
    /// Reads the text. `[general]`, which is older, counts where `[release]` and `[tree]` say nothing.
    pub fn parse(text: &str) -> Self {
        let (mut described, mut section) = (Self::default(), "");
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            let (slot, preferred) = match (section, key) {
                ("release", "name") => (&mut described.name, true),
                ("general", "family") => (&mut described.name, false),
                ("release", "version") => (&mut described.version, true),
                ("general", "version") => (&mut described.version, false),
                ("tree", "arch") => (&mut described.arch, true),
                ("general", "arch") => (&mut described.arch, false),
                (_, "repository") => {
                    if let (Some(variant), Some(folder)) = (section.strip_prefix("variant-"), folder(value)) {
                        described.repositories.insert(variant.to_owned(), folder);
                    }
                    continue;
                }
                _ => continue,
            };
            if preferred || slot.is_empty() {
                value.clone_into(slot);
            }
        }
        described
    }

    /// The folder of a repository by its id, which is its variant's name but for capitals. The main one may be the only one, or the
    /// root.
    pub fn repository(&self, id: &str, main: bool) -> Option<&str> {
        let named = self.repositories.iter().find(|(variant, _)| variant.eq_ignore_ascii_case(id));
        let only = || self.repositories.iter().next().filter(|_| self.repositories.len() == 1);
        let root = || self.repositories.iter().find(|(_, folder)| folder.is_empty());
        let found = named.or_else(|| if main { root().or_else(only) } else { None });
        found.map(|(_, folder)| folder.as_str())
    }
}

/// SECURITY: a folder below the disc's root, and nothing that leads out of it.
fn folder(path: &str) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!path.starts_with('/') && !parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "bd285201494dd0ba09b54d05ac707de1401668b8512a573edb5922dcf9d7067e";

    #[test]
    fn a_disc_says_what_it_is_and_where_its_repositories_are() {
        let dvd = Described::parse(
            "[general]\narch = x86_64\nfamily = AlmaLinux\nversion = 10\n[header]\ntype = productmd.treeinfo\n\
             [release]\nname = AlmaLinux\nversion = 10.1\n[tree]\narch = x86_64\n\
             [variant-BaseOS]\nid = BaseOS\nrepository = BaseOS\n[variant-AppStream]\nrepository = ./AppStream/\n\
             [variant-Out]\nrepository = ../../etc\n[variant-Far]\nrepository = /etc\n",
        );
        let named = (dvd.name.as_str(), dvd.version.as_str(), dvd.arch.as_str());
        assert_eq!(named, ("AlmaLinux", "10.1", "x86_64"));
        for (id, main, expected) in [
            ("baseos", true, Some("BaseOS")),
            ("appstream", false, Some("AppStream")),
            ("out", false, None),
            ("far", false, None),
            ("crb", true, None),
        ] {
            assert_eq!(dvd.repository(id, main), expected, "{id}");
        }
        let old = Described::parse("[general]\nfamily = Fedora\nversion = 44\n[variant-Server]\nrepository = .\n");
        assert_eq!((old.name.as_str(), old.version.as_str()), ("Fedora", "44"));
        assert_eq!((old.repository("fedora", true), old.repository("updates", false)), (Some(""), None));
    }

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
