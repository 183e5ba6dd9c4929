//! Distributions are data: everything a family needs stands in `templates/distros/<id>/`, no distribution is named in code.
//!
//! The [`Catalogue`] holds the families; [`Distro`] is one of them as read from its `distro.toml`; [`Release`] is a distro ×
//! version × architecture with every template resolved to concrete names; [`Templates`] are the engine. [`answer_files`] and [`kernel_args`] turn a release,
//! a recipe and a machine into what the installer is given; [`check`] refuses values that have no place there.

pub mod address;
mod answers;
mod catalogue;
pub mod check;
mod data;
mod description;
mod disc;
mod kickstart;
mod own;
mod release;
mod render;
mod scan;
mod suites;
mod templates;
mod treeinfo;

pub use answers::{AnswerContext, answer_files, answers, installer_packages, kernel_args};
pub use catalogue::Catalogue;
pub use data::{
    ArchData, ArchiveData, ChecksumData, DebianData, Distro, FlavourData, LoaderData, MirrorData, NamedFile,
    PrefetchData, RehearseData, ReleaseData, RepoData, RpmData, ScriptKind, SourceData,
};
pub use disc::Disc;
pub use kickstart::KickstartSelection;
pub use release::{Artifact, Checksum, Loader, Mirror, Release, Repo, Source};
pub use suites::Suite;
pub use templates::{Template, Templates};
pub use treeinfo::treeinfo;
