use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::LogFlags;
use crate::model::Bytes;

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Print how large it is
    Size(SizeFlags),
    /// Print what is in it
    List(ListFlags),
    /// Hash every file and compare it with what was stored
    ///
    /// Exits with 1 if anything is damaged. Provisioners may run meanwhile.
    Verify(VerifyFlags),
    /// Remove leftovers of killed runs, and what the options name
    ///
    /// What is in use stays, whoever uses it. The journal and the secret stay too.
    Prune(PruneFlags),
}

/// `cache size`
#[derive(Debug, Args)]
pub struct SizeFlags {
    #[command(flatten)]
    pub cache: CacheFlags,
}

/// `cache list`
#[derive(Debug, Args)]
pub struct ListFlags {
    /// Every file, with its last use and whether it was verified
    #[arg(long)]
    pub long: bool,
    #[command(flatten)]
    pub cache: CacheFlags,
}

/// `cache verify`
#[derive(Debug, Args)]
pub struct VerifyFlags {
    /// Remove what is damaged; it is fetched again when it is asked for
    #[arg(long)]
    pub remove: bool,
    /// Name the files, too, that have no digest to be compared with
    #[arg(long)]
    pub long: bool,
    #[command(flatten)]
    pub cache: CacheFlags,
}

/// `cache prune`
#[derive(Debug, Args)]
pub struct PruneFlags {
    /// Least recently used files of the archives, until the rest of them has this size, such as 50G
    #[arg(long)]
    pub size: Option<Bytes>,
    /// Files and boot sets that nobody has used for so long, such as 30d
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub unused_for: Option<SignedDuration>,
    /// Boot set of a release, as `cache list` names it
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    pub release: Vec<String>,
    /// Every file of the archives, and every boot set
    #[arg(long, conflicts_with_all = ["size", "unused_for", "release"])]
    pub everything: bool,
    /// Only print what would be removed
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub cache: CacheFlags,
}

/// Which cache, and how to report.
#[derive(Debug, Args)]
pub struct CacheFlags {
    #[arg(long, help = super::PREFIX, value_name = "DIR", env = "PROVISIONER_PREFIX", hide_env = true)]
    pub prefix: Option<PathBuf>,
    #[command(flatten)]
    pub log: LogFlags,
}

impl Cache {
    /// The flags that all of them have.
    pub fn flags(&self) -> &CacheFlags {
        match self {
            Self::Size(SizeFlags { cache })
            | Self::List(ListFlags { cache, .. })
            | Self::Verify(VerifyFlags { cache, .. })
            | Self::Prune(PruneFlags { cache, .. }) => cache,
        }
    }

    /// `--prefix`, if it was given.
    pub fn prefix(&self) -> Option<&Path> {
        self.flags().prefix.as_deref()
    }
}

/// A time such as `30d`, `2w` or `12h`. A day has 24 hours.
pub(super) fn age(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|_| "not a time, such as 30d, 2w or 12h".to_owned())?;
    let age = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    if age.is_positive() { Ok(age) } else { Err("not a time that has passed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_time_that_has_passed() {
        for (text, hours) in [("30d", 720), ("2w", 336), ("12h", 12), ("1d 6h", 30)] {
            assert_eq!(age(text), Ok(SignedDuration::from_hours(hours)), "{text}");
        }
        for wrong in ["", "30", "-1d", "0d", "soon", "1 month"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
