//! `CHECKSUM`: the digests of a release's images. Pure.

use crate::fetch::Expected;

/// What `name` has to be: the line `SHA256 (name) = digest`, as `sha256sum --tag` writes it, and, where the comment
/// `# name: 1217329152 bytes` precedes it, the length.
pub fn find(text: &str, name: &str) -> Option<Expected> {
    let sha256 = text.lines().find_map(|line| {
        let (listed, digest) = line.strip_prefix("SHA256 (")?.split_once(") = ")?;
        if listed == name { digest.trim().parse().ok() } else { None }
    })?;
    let size = text.lines().find_map(|line| {
        let (listed, size) = line.strip_prefix("# ")?.split_once(": ")?;
        if listed == name { size.strip_suffix(" bytes")?.parse().ok() } else { None }
    });
    Some(Expected { size, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "bd285201494dd0ba09b54d05ac707de1401668b8512a573edb5922dcf9d7067e";

    #[test]
    fn finds_an_image_with_and_without_its_length() {
        let name = "Fedora-Everything-netinst-x86_64-44-1.7.iso";
        let line = format!("SHA256 ({name}) = {DIGEST}\n");
        let sha256 = DIGEST.parse().expect("a digest");
        let text = format!("# {name}: 1217329152 bytes\n{line}");
        assert_eq!(find(&text, name), Some(Expected { size: Some(1_217_329_152), sha256 }));
        assert_eq!(find(&line, name), Some(Expected { size: None, sha256 }));
        assert_eq!(find(&line, "netinst-x86_64-44-1.7.iso"), None, "a suffix is not the image");
    }

    #[test]
    fn takes_no_other_digest_for_it() {
        for line in ["SHA512 (a.iso) = ", "SHA256 (b.iso) = ", "# SHA256 (a.iso) = ", "SHA256 (a.iso) = 0"] {
            assert_eq!(find(&format!("{line}{DIGEST}"), "a.iso"), None, "{line}");
        }
    }
}
