//! Files into the store without a client: ahead of time, through the same flights and with the same verdicts as for clients.

use std::{fs::File, path::PathBuf, sync::Arc};

use axum::http::StatusCode;

use super::{Place, Proxy, Refusal, flight::Kept, route::route, upstream::Wanted};

/// A file that is on this machine now.
#[derive(Debug, Clone)]
pub struct Brought {
    /// To be read: opened for this, its cursor at the start.
    pub file: Arc<File>,
    /// Its length in bytes.
    pub length: u64,
    /// Whether its content is known, and this is it.
    pub verified: bool,
    /// Whether it had been here before, as it is now.
    pub was_here: bool,
}

/// Where a file is or comes from.
enum Origin {
    Here(PathBuf),
    Upstream(Wanted),
}

/// Why a file cannot be had, as one sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct NotBrought {
    text: String,
    /// There is no such file, by upstream's own word or the ledger's.
    pub gone: bool,
}

impl From<Refusal> for NotBrought {
    fn from(Refusal { status, text }: Refusal) -> Self {
        Self { text, gone: status == StatusCode::NOT_FOUND }
    }
}

impl Proxy {
    /// Brings the file at `path` below the root of an archive into the store, if it is not there or not current. The path is a
    /// plain one, as metadata name it, without percent-encoding.
    ///
    /// # Errors
    /// As a client would be refused; also what was fetched and cannot be kept.
    pub async fn bring(&self, mirror_id: &str, path: &str) -> Result<Brought, NotBrought> {
        match self.origin(mirror_id, path)? {
            Origin::Here(file) => {
                let entity = self.open_here(file, path.to_owned()).await?;
                let (file, length) = (Arc::clone(entity.file()), entity.length.unwrap_or_default());
                Ok(Brought { file, length, verified: true, was_here: true })
            }
            Origin::Upstream(wanted) => {
                let verified = wanted.content.is_some();
                let Kept { file, length, was_here } = self.0.flights.keep(wanted).await?;
                Ok(Brought { file, length, verified, was_here })
            }
        }
    }

    /// Whether that file is here, as far as its length tells; its bytes are compared when a client asks. Asks nobody.
    ///
    /// # Errors
    /// A file that is never served, and a store that cannot be read.
    pub async fn has(&self, mirror_id: &str, path: &str) -> Result<bool, NotBrought> {
        match self.origin(mirror_id, path)? {
            Origin::Here(_) => Ok(true),
            Origin::Upstream(wanted) => Ok(self.0.flights.has(&wanted).await?),
        }
    }

    fn origin(&self, mirror_id: &str, path: &str) -> Result<Origin, Refusal> {
        // Requests are percent-encoded. Of all characters only the mark itself must not be taken as it stands.
        let request = format!("{mirror_id}/{path}").replace('%', "%25");
        let route = route(&self.0.mirrors, &self.0.immutable, &request)?;
        let mirror = &self.0.mirrors[route.mirror];
        Ok(match self.place(mirror, &route)? {
            Place::Here(file) => Origin::Here(file),
            Place::Upstream(known, content) => Origin::Upstream(Wanted::new(mirror, &route, known, content)),
        })
    }
}
