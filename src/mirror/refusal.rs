use axum::http::StatusCode;

use super::{
    download::Failure,
    route::Reject,
    upstream::{Trouble, Wanted},
};

/// An answer without the file: a status and one line that says what and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: String) -> Self {
        Self { status, text }
    }

    /// Not in the store, and upstream must not be asked.
    pub fn offline(wanted: &Wanted) -> Self {
        let text = match wanted.content {
            None => format!("{} is not in the cache, and this provisioner runs offline", wanted.key),
            Some(content) => format!(
                "{} with SHA-256 {} is not in the cache, and this provisioner runs offline",
                wanted.key, content.sha256
            ),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// What is in the store is not what was stored, and upstream must not be asked.
    pub fn damaged(wanted: &Wanted) -> Self {
        let text = format!(
            "{} is damaged in the cache, and this provisioner runs offline: run once without --offline to fetch it again",
            wanted.key
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// It broke on the way, or came and could not be kept; the log has the reason.
    pub fn unkept(wanted: &Wanted) -> Self {
        let text = format!("{} did not arrive in the cache; the log says why", wanted.key);
        Self::new(StatusCode::BAD_GATEWAY, text)
    }

    /// Upstream did not give it. Only upstream's own 404 is one, where there are several that of them all.
    pub fn upstream(failure: &Failure) -> Self {
        let status = match failure.trouble {
            Trouble::Gone => StatusCode::NOT_FOUND,
            Trouble::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Trouble::Broken(_) | Trouble::Final(_) | Trouble::Wrong(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, format!("fetching {failure}"))
    }

    /// The archive may have it; its clients may not.
    pub fn unlisted(mirror: &str, path: &str, reason: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{mirror}/{path} is not served: {reason}"))
    }

    /// This machine's disk did not do its part.
    pub fn store(error: &anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
    }

    /// The fetch ended without a word, as when the program is shutting down.
    pub fn abandoned() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the fetch was abandoned".to_owned())
    }

    /// Only `GET` and `HEAD` read.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "the mirror is read with GET and HEAD only".to_owned())
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::new(reject.status(), reject.to_string())
    }
}
