use axum::http::StatusCode;

use super::immutable::Immutable;
use crate::{distro::Mirror, model::Sha256Digest};

/// Which file of which archive a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Index of the archive in the list that was routed over.
    pub mirror: usize,
    /// Path below the archive's root: decoded, without empty or `.` components, never climbing. One file, one path.
    pub path: String,
    /// Whether its content can change.
    pub class: Class,
    /// The digest that the path itself promises.
    pub promised: Option<Sha256Digest>,
}

/// Whether what stands behind a path can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Never: a new content gets a new name. Served from the store without asking upstream.
    Immutable,
    /// At any time: upstream is asked whether the stored copy is still right.
    Volatile,
}

/// Why a path is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The first component is no archive of the plan. This is what keeps the mirror from being an open proxy.
    #[error("{0:?} is none of the mirrors of this provisioner")]
    UnknownMirror(String),
    /// Archives are read by file; their listings change with every upstream and vouch for nothing.
    #[error("{0:?} names a folder, not a file")]
    Folder(String),
    /// Not a path that a client of an archive would ask for.
    #[error("{0:?} is not a plain path: it climbs, or has a broken or forbidden character")]
    Unclean(String),
}

impl Reject {
    /// The status that tells the client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownMirror(_) | Self::Folder(_) => StatusCode::NOT_FOUND,
            Self::Unclean(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the part of a request's path that follows `/mirror/`, still percent-encoded: `<mirror id>/<path below its root>`.
///
/// Decoding comes first, so that every spelling (`%7e` and `~`, `%2b` and `+`, `//` and `/`) is one path and one stored file.
pub fn route(mirrors: &[Mirror], immutable: &Immutable, path: &str) -> Result<Route, Reject> {
    let unclean = || Reject::Unclean(path.to_owned());
    // SECURITY: decoded once, before the path is split and judged. An encoded `/` or `..` gets no second meaning later.
    let decoded = decode(path).ok_or_else(unclean)?;
    if decoded.chars().any(|c| c.is_control() || c == '\\') {
        return Err(unclean());
    }
    let mut components = decoded.split('/').filter(|component| !matches!(*component, "" | "."));
    let id = components.next().unwrap_or_default();
    let unknown = || Reject::UnknownMirror(id.to_owned());
    let mirror = mirrors.iter().position(|mirror| mirror.id == id).ok_or_else(unknown)?;
    let components: Vec<&str> = components.collect();
    if components.contains(&"..") {
        return Err(unclean());
    }
    if components.is_empty() || decoded.ends_with('/') || decoded.ends_with("/.") {
        return Err(Reject::Folder(path.to_owned()));
    }
    let promised = promised(&components);
    let lasts = promised.is_some() || immutable.covers(&components);
    let class = if lasts { Class::Immutable } else { Class::Volatile };
    Ok(Route { mirror, path: components.join("/"), class, promised })
}

/// `…/by-hash/SHA256/<digest>`, as APT's `Acquire-By-Hash` has it, and `…/repodata/<digest>-<name>`, as createrepo names what a
/// `repomd.xml` lists.
pub(super) fn promised(components: &[&str]) -> Option<Sha256Digest> {
    match components {
        [.., "by-hash", "SHA256", digest] => digest.parse().ok(),
        [.., "repodata", file] => file.split_once('-')?.0.parse().ok(),
        _ => None,
    }
}

/// RFC 3986 §2.1. `None` if an escape is broken or the result is not UTF-8. A `+` is a plus: this is no form.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(path: &str) -> Result<Route, Reject> {
        let mirror = |id: &str| Mirror::new(id, &"http://upstream.test/".parse().expect("a URL"));
        let immutable = Immutable {
            package_suffixes: [".deb", ".udeb", ".rpm"].map(str::to_owned).into(),
            folders: ["pool", "by-hash"].map(str::to_owned).into(),
        };
        route(&[mirror("debian"), mirror("debian-security")], &immutable, path)
    }

    #[test]
    fn every_spelling_of_a_path_is_one_route() {
        let plain = routed("debian/pool/main/g/g++/g++_1~rc1_amd64.deb").expect("a file");
        assert_eq!((plain.mirror, plain.path.as_str()), (0, "pool/main/g/g++/g++_1~rc1_amd64.deb"));
        for path in [
            "debian/pool/main/g/g%2b%2B/g++_1%7erc1_amd64.deb",
            "//debian//pool/./main/g//g++/g++_1%7Erc1_amd64.deb",
            "%64ebian/pool%2Fmain/g/g++/g++_1~rc1_amd64.deb",
        ] {
            assert_eq!(routed(path).as_ref(), Ok(&plain), "{path}");
        }
        assert_ne!(routed("debian-security/pool/main/g/g++/g++_1~rc1_amd64.deb"), Ok(plain));
    }

    #[test]
    fn what_can_change_is_told_from_what_cannot() {
        for path in [
            "debian/pool/main/h/hello/hello_2.10-3.dsc",
            "debian/dists/trixie/main/binary-amd64/by-hash/SHA256/00",
            "debian/dists/trixie/main/by-hash/MD5Sum/00",
            "debian/elsewhere/a.deb",
            "debian/elsewhere/a.udeb",
            "debian/44/Packages/h/hello-2.12.1-1.fc44.x86_64.rpm",
            "debian/repodata/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855-primary.xml.zst",
        ] {
            assert_eq!(routed(path).map(|route| route.class), Ok(Class::Immutable), "{path}");
        }
        for path in [
            "debian/dists/trixie/InRelease",
            "debian/dists/trixie/Release.gpg",
            "debian/dists/trixie/main/binary-amd64/Packages.xz",
            "debian/dists/trixie/main/installer-amd64/current/images/SHA256SUMS",
            "debian/pool",
            "debian/repodata/repomd.xml",
            "debian/repodata/e3b0c442-primary.xml.zst",
            "debian/by-hash",
        ] {
            assert_eq!(routed(path).map(|route| route.class), Ok(Class::Volatile), "{path}");
        }
    }

    #[test]
    fn nothing_leaves_the_archives_of_the_plan() {
        for path in ["", "/", "ubuntu/pool/a.deb", "http://x/pool/a.deb", "debian.evil/a", "../debian/a"] {
            assert_eq!(routed(path).map_err(|reject| reject.status()), Err(StatusCode::NOT_FOUND), "{path}");
        }
        for path in ["debian", "debian/", "debian/pool/", "debian/pool/.", "debian//"] {
            assert!(matches!(routed(path), Err(Reject::Folder(_))), "{path}");
        }
        for path in [
            "debian/../etc/passwd",
            "debian/pool/..",
            "debian/%2e%2e/etc/passwd",
            "debian/pool/%2e%2e%2f%2e%2e/etc",
            "debian/..%5c..",
            "debian/a%00b",
            "debian/a%0d%0ab",
            "debian/%",
            "debian/%2",
            "debian/%zz",
            "debian/%+1",
            "debian/%ff",
        ] {
            assert!(matches!(routed(path), Err(Reject::Unclean(_))), "{path}");
        }
        let twice = routed("debian/%252e%252e/a").map(|route| route.path);
        assert_eq!(twice.as_deref(), Ok("%2e%2e/a"), "decoded once only");
    }

    #[test]
    fn a_name_with_a_digest_is_a_promise() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let promised = |path: &str| routed(path).ok().and_then(|route| route.promised).map(|digest| digest.to_string());
        assert_eq!(promised(&format!("debian/dists/x/by-hash/SHA256/{digest}")).as_deref(), Some(digest));
        assert_eq!(promised(&format!("debian/dists/x/by-hash/SHA256/{}", &digest[1..])), None);
        assert_eq!(promised(&format!("debian/dists/x/by-hash/SHA512/{digest}")), None);
        assert_eq!(promised(&format!("debian/pool/SHA256/{digest}")), None);
        assert_eq!(promised(&format!("debian/44/os/repodata/{digest}-primary.xml.zst")).as_deref(), Some(digest));
        assert_eq!(promised(&format!("debian/44/os/repodata/{digest}")), None);
        assert_eq!(promised(&format!("debian/44/os/Packages/{digest}-primary.xml.zst")), None);
        assert_eq!(promised("debian/44/os/repodata/repomd.xml"), None);
    }
}
