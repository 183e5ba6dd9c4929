//! Which releases there are: Fedora's `releases.json`, and what it means for a version that was or was not asked for. Pure.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    distro::{Distro, ReleaseData},
    model::Hinted,
};

/// The longest that is read; today's has 135 kB.
pub const LIMIT: usize = 4 << 20;

/// Stands in a template's place for what is to be found out, see [`ImageName`].
pub const VERSION: &str = "@version@";
/// As [`VERSION`].
pub const LABEL: &str = "@label@";

/// What was learnt of the supported releases for one architecture, as it is kept for the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// When.
    pub learnt: Timestamp,
    /// The releases, newest first.
    pub releases: Vec<Listed>,
}

/// A supported release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// `44`.
    pub version: u32,
    /// Its compose label, `1.7`; `None` where there is no network installation image for this architecture.
    pub label: Option<String>,
}

/// An image of a release, as `releases.json` has it.
#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    version: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    link: String,
}

/// The name of a network installation image with [`VERSION`] and [`LABEL`] in it, such as
/// `Fedora-Everything-netinst-x86_64-@version@-@label@.iso`.
#[derive(Debug, Clone)]
pub struct ImageName(pub String);

impl ImageName {
    /// The label in an image's name, if it is one of this version.
    fn label(&self, version: &str, link: &str) -> Option<String> {
        let file = link.rsplit('/').next()?;
        let wanted = self.0.replace(VERSION, version);
        let (head, tail) = wanted.split_once(LABEL)?;
        let label = file.strip_prefix(head)?.strip_suffix(tail)?;
        // SECURITY: it becomes part of paths.
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        (plain && (1..=32).contains(&label.len())).then(|| label.to_owned())
    }
}

impl Listing {
    /// Reads `releases.json`. Versions that are no number, such as `45 Beta`, are no releases yet.
    ///
    /// Without an `image` (a family whose images are not signed) every release counts as having one, without a label.
    ///
    /// # Errors
    /// What is not such a list, or one without a release for the architecture.
    pub fn parse(json: &[u8], image: Option<&ImageName>, arch: &str, learnt: Timestamp) -> anyhow::Result<Self> {
        let images: Vec<Image> = serde_json::from_slice(json).context("it is not a list of images")?;
        let mut releases = BTreeMap::<u32, Option<String>>::new();
        for Image { version, link, .. } in images.iter().filter(|image| image.arch == arch) {
            let Ok(number) = version.parse() else { continue };
            let label = match image {
                Some(image) => image.label(version, link),
                None => Some(String::new()),
            };
            let known = releases.entry(number).or_default();
            *known = known.take().or(label);
        }
        ensure!(!releases.is_empty(), "it lists no release for {arch}");
        let releases = releases.into_iter().rev().map(|(version, label)| Listed { version, label }).collect();
        Ok(Self { learnt, releases })
    }

    fn find(&self, version: u32) -> Option<&Listed> {
        self.releases.iter().find(|listed| listed.version == version)
    }

    /// The newest that can be installed over the network.
    fn newest(&self) -> Option<&Listed> {
        self.releases.iter().find(|listed| listed.label.is_some())
    }
}

/// The release to install: the one asked for, else the newest that is listed, else the first of the description.
///
/// `current` says that the listing is today's: one from earlier cannot tell what has not been released yet.
///
/// # Errors
/// A version that nobody knows (the hint lists those that are known), or that is not released yet.
pub fn choose(
    distro: &Distro,
    asked: Option<&str>,
    listing: Option<&Listing>,
    current: bool,
) -> anyhow::Result<ReleaseData> {
    let Some(asked) = asked else {
        return Ok(match listing.and_then(Listing::newest) {
            Some(newest) => merged(distro, newest),
            None => distro.releases.first().expect("a distribution has a release").clone(),
        });
    };
    let listed = asked.parse().ok().and_then(|version| listing?.find(version));
    if let Some(listed) = listed {
        return Ok(merged(distro, listed));
    }
    let described = match distro.release(asked) {
        Ok(release) => release.clone(),
        Err(unknown) => return Err(Hinted::new(unknown.what, known(distro, listing)).into()),
    };
    let Some(listing) = listing else { return Ok(described) };
    match unlisted(described.clone(), listing) {
        Some(release) => Ok(release),
        None if !current => Ok(described),
        None => {
            let what = format!("{} {described} is not released yet", distro.name);
            Err(Hinted::new(what, known(distro, Some(listing))).into())
        }
    }
}

/// A release that is not listed: ended when it is older than all that are, `None` when it is newer.
fn unlisted(release: ReleaseData, listing: &Listing) -> Option<ReleaseData> {
    let (Some(newest), Some(oldest)) = (listing.releases.first(), listing.releases.last()) else {
        return Some(release);
    };
    match release.version.parse::<u32>() {
        Ok(version) if version > newest.version => None,
        Ok(version) => Some(ReleaseData { ended: release.ended || version < oldest.version, ..release }),
        Err(_) => Some(release),
    }
}

/// A listed release with what the description knows of it.
fn merged(distro: &Distro, listed: &Listed) -> ReleaseData {
    let version = listed.version.to_string();
    let known = distro.release(&version).ok().cloned().unwrap_or_default();
    let label = listed.label.clone().filter(|label| !label.is_empty()).unwrap_or(known.label.clone());
    ReleaseData { version, label, ended: false, ..known }
}

/// `known: 44, 43, 38 (ended)`.
fn known(distro: &Distro, listing: Option<&Listing>) -> String {
    let described = distro.releases.iter().cloned();
    let releases: Vec<_> = match listing {
        None => described.collect(),
        Some(listing) => {
            let listed = listing.releases.iter().map(|listed| merged(distro, listed));
            let is_listed =
                |release: &ReleaseData| release.version.parse().is_ok_and(|version| listing.find(version).is_some());
            let others = described.filter(|release| !is_listed(release));
            listed.chain(others.filter_map(|release| unlisted(release, listing))).collect()
        }
    };
    let releases: Vec<_> = releases.iter().map(ToString::to_string).collect();
    format!("known: {}", releases.join(", "))
}

#[cfg(test)]
#[path = "releases/tests.rs"]
mod tests;
