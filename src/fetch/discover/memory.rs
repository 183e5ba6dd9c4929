//! What was learnt the last time, for a start that cannot ask: small files in `<prefix>/releases/`.

use std::{io, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use super::Question;
use crate::publish::{READABLE, replace};

/// One answer on the disk.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// Whether another answer may take its place.
    remember: bool,
}

impl Memory {
    /// Where the distribution's answer about `what` is kept.
    pub fn of(question: &Question<'_>, what: &str) -> Self {
        let path = question.prefix.join("releases").join(format!("{}-{what}.json", question.distro.id));
        Self { path, remember: question.remember }
    }

    /// The answer of last time; none is as good as one that is damaged.
    pub fn recall<T: DeserializeOwned>(&self) -> Option<T> {
        let bytes = std::fs::read(&self.path).ok()?;
        let damaged = |error: &_| tracing::warn!("{} is damaged and ignored: {error}", self.path.display());
        serde_json::from_slice(&bytes).inspect_err(damaged).ok()
    }

    /// Keeps it for the next time. That it cannot is no reason to stop.
    pub fn keep(&self, answer: &impl Serialize) {
        if !self.remember {
            return;
        }
        let write = || -> io::Result<()> {
            self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            replace(&self.path, READABLE, &serde_json::to_vec_pretty(answer)?)
        };
        write().unwrap_or_else(|error| tracing::warn!("writing {}: {error}", self.path.display()));
    }
}
