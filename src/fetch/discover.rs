//! Which release, from which mirror: asked of the archive where it answers, taken from the distribution's data where not.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use jiff::Timestamp;
use url::Url;

use super::{Client, Keyring};
use crate::{
    distro::{Distro, Mirror, ReleaseData, address},
    model::{Arch, Hinted},
};

mod debian;
mod directory;
mod memory;
mod rpm;

/// What is to be found out.
#[derive(Debug)]
pub struct Question<'a> {
    /// The distribution.
    pub distro: &'a Arc<Distro>,
    /// `--mirror`: a server's address, or a directory's (`file://`).
    pub mirror: Option<Url>,
    /// `--version`: a version or a codename.
    pub version: Option<&'a str>,
    /// `--flavour`, which may have an install tree of its own.
    pub flavour: &'a str,
    /// Instruction set of the targets.
    pub arch: Arch,
    /// Directory of everything kept: what was learnt last time stands below it.
    pub prefix: &'a Path,
    /// Keep what is learnt there. Who only looks leaves nothing.
    pub remember: bool,
    /// Ask nobody.
    pub offline: bool,
    /// The time, for the validity of signatures.
    pub now: Timestamp,
}

/// What was found out.
#[derive(Debug)]
pub struct Sources {
    /// What to install.
    pub release: ReleaseData,
    /// The archives as we reach them, the main one first.
    pub mirrors: Vec<Mirror>,
    /// The archives as the installed system shall reach them, the main one first.
    pub public_mirrors: Vec<Mirror>,
    /// What the operator should know: a fallback that was taken, and why.
    pub notes: Vec<String>,
}

/// The keys that vouch for a distribution's archive: the embedded ones and the operator's own.
pub fn keyring(distro: &Distro, extra: &[Vec<u8>]) -> anyhow::Result<Keyring> {
    let embedded = distro.catalogue.file(&distro.id, &distro.archive.keys)?;
    Keyring::load(embedded, extra).with_context(|| format!("reading the keys of {}", distro.name))
}

/// Chooses mirror and release.
///
/// # Errors
/// A version that is not known or not released yet (the hint lists those that are known), a mirror that cannot be asked.
pub async fn discover(question: &Question<'_>, keyring: &Keyring, client: &Client) -> anyhow::Result<Sources> {
    match &question.distro.archive.rpm {
        Some(rpm) => rpm::discover(question, rpm, client).await,
        None => debian::discover(question, keyring, client).await,
    }
}

/// Whether a mirror of `distro` could be asked: it is a server, or a directory that is there.
///
/// # Errors
/// What it is instead, with a remedy.
pub fn check_mirror(mirror: &Url, distro: &str) -> Result<(), Hinted> {
    if address::is_local(mirror) {
        return directory::check(&address::root(mirror));
    }
    if !matches!(mirror.scheme(), "http" | "https") || mirror.host().is_none() {
        let hint =
            format!("give an http or https address, such as https://mirror.example.org/{distro}, or a directory");
        return Err(Hinted::new(format!("--mirror {} cannot be asked", address::shown(mirror)), hint));
    }
    Ok(())
}

/// `--mirror`, if it was given.
fn chosen(question: &Question<'_>) -> anyhow::Result<Option<Url>> {
    let Some(mirror) = &question.mirror else { return Ok(None) };
    check_mirror(mirror, &question.distro.id)?;
    Ok(Some(address::root(mirror)))
}
