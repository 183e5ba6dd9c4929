//! Addresses of archives and of files in them.

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
}
