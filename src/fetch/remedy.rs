//! What an operator can do about boot files that are not to be had. Pure.

use std::io;

use super::{DownloadError, SignatureError, archive::Expired};
use crate::model::Hinted;

const ANOTHER_OR_CLOCK: &str = "take another mirror (--mirror), and check this machine's clock";

/// Adds a hint to an error that has none and for which there is one.
pub fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    if error.chain().any(|cause| cause.is::<Hinted>()) || error.is::<Hinted>() {
        return error;
    }
    match remedy(&error) {
        Some(hint) => error.context(Hinted::new("fetching the boot files", hint)),
        None => error,
    }
}

fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(DownloadError::WrongSize { .. } | DownloadError::Altered { .. }) => {
            return Some("the mirror, or something on the way to it, serves another file: take another one (--mirror)");
        }
        Some(DownloadError::Gone { .. } | DownloadError::Unreachable { .. }) => {
            return Some("check that this machine reaches the mirror, or take another one (--mirror)");
        }
        Some(DownloadError::Disk { .. }) | None => {}
    }
    match error.downcast_ref() {
        Some(SignatureError::UnknownSigner { .. }) => {
            return Some(
                "if that is your own mirror's key, trust it with --keyring FILE; else take another mirror (--mirror)",
            );
        }
        Some(_) => return Some(ANOTHER_OR_CLOCK),
        None if error.is::<Expired>() => return Some(ANOTHER_OR_CLOCK),
        None => {}
    }
    use io::ErrorKind as K;
    let mut kinds = error.chain().filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    kinds
        .any(|kind| matches!(kind, K::StorageFull | K::QuotaExceeded | K::PermissionDenied | K::ReadOnlyFilesystem))
        .then_some("make room there, or keep the cache in another directory (--prefix)")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_own_hint_and_keeps_its_words() {
        let url: url::Url = "http://mirror.example/debian/x".parse().expect("an address");
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let disk = DownloadError::Disk { path: "/cache/x".into(), source: full() };
        let refused = anyhow::anyhow!("connection refused");
        let rows: [(anyhow::Error, &str); 6] = [
            (DownloadError::WrongSize { url: url.clone(), expected: 2, actual: 1 }.into(), "another file"),
            (DownloadError::Unreachable { url, source: refused }.into(), "check that this machine reaches"),
            (disk.into(), "--prefix"),
            (anyhow::Error::from(full()).context("writing /cache/x"), "--prefix"),
            (SignatureError::UnknownSigner { keys: vec![] }.into(), "--keyring"),
            (SignatureError::NotSigned.into(), "clock"),
        ];
        for (error, expected) in rows {
            let (words, error) = (format!("{error:#}"), with_remedy(error));
            let hint = error.downcast_ref::<Hinted>().map(|hinted| hinted.hint.as_str());
            assert!(hint.is_some_and(|hint| hint.contains(expected)), "{words}: {hint:?}");
            assert_eq!(format!("{error:#}"), format!("fetching the boot files: {words}"));
        }
    }

    #[test]
    fn an_error_that_has_a_hint_keeps_it() {
        let hinted = || anyhow::Error::from(Hinted::new("what", "hint"));
        for error in [
            hinted(),
            hinted().context("reading"),
            Err::<(), _>(SignatureError::NotSigned).context(Hinted::new("what", "hint")).expect_err("it is one"),
        ] {
            let words = format!("{error:#}");
            assert_eq!(format!("{:#}", with_remedy(error)), words);
        }
        let other = with_remedy(anyhow::anyhow!("a package without data.tar"));
        assert_eq!(format!("{other:#}"), "a package without data.tar");
    }
}
