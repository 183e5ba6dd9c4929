//! Addresses of archives and of files in them.

use std::path::PathBuf;

use url::Url;

/// An archive's root: without a trailing slash, so that one archive has one address.
pub fn root(url: &Url) -> Url {
    let mut root = url.clone();
    root.set_path(url.path().trim_end_matches('/'));
    root
}

/// The file at `path` below an archive's root. The path is encoded as a URL wants it, with `~` and `+` as they are.
pub fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    // Without segments are addresses such as `mailto:`, which are nobody's mirror.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

/// The path of a file in a folder of an archive. The archive's root itself is the empty folder.
pub fn join(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}

/// Whether an archive is a directory of this machine.
pub fn is_local(url: &Url) -> bool {
    url.scheme() == "file"
}

/// The path of a local archive, or of a file in one.
pub fn local(url: &Url) -> Option<PathBuf> {
    is_local(url).then(|| url.to_file_path().ok()).flatten()
}

/// An address for people to read: a directory as its path.
///
/// SECURITY: an address may hold a password; what is printed ends up in logs and bug reports.
pub fn shown(url: &Url) -> String {
    match local(url) {
        Some(path) => path.display().to_string(),
        None => without_password(url).to_string(),
    }
}

/// An address without user and password.
pub fn without_password(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_for_in_the_spelling_that_archives_have() {
        for (archive, path, expected) in [
            ("http://a.test/debian", "pool/g++_1~2.deb", "http://a.test/debian/pool/g++_1~2.deb"),
            ("http://a.test/debian/", "pool/x y", "http://a.test/debian/pool/x%20y"),
            ("https://a.test:8443", "%2e%2e/a?b", "https://a.test:8443/%252e%252e/a%3Fb"),
        ] {
            assert_eq!(below(&archive.parse().expect("a URL"), path).as_str(), expected);
        }
    }

    #[test]
    fn a_trailing_slash_is_no_part_of_an_archives_address() {
        for url in ["http://192.0.2.1:3142/debian/", "http://192.0.2.1:3142/debian"] {
            assert_eq!(root(&url.parse().expect("a URL")).as_str(), "http://192.0.2.1:3142/debian");
        }
    }

    #[test]
    fn what_people_read_holds_no_password_and_a_directory_is_its_path() {
        for (url, expected) in [
            ("https://me:secret@a.test/debian", "https://a.test/debian"),
            ("file:///mnt/a%20disc", "/mnt/a disc"),
            ("file://elsewhere/mnt", "file://elsewhere/mnt"),
        ] {
            assert_eq!(shown(&url.parse().expect("a URL")), expected);
        }
        assert_eq!((join("", "x"), join("a/b", "x")), ("x".to_owned(), "a/b/x".to_owned()));
    }
}
