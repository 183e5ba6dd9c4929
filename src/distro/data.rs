//! The shape of `distro.toml`. Unknown keys are errors: a misspelt key must not become a silent default.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::model::{Arch, Firmware, Layout};

/// One family of distributions, as its `distro.toml` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distro {
    /// Short name: `--distro`, folder name, first part of the distro uid.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Template of the answer file, beside `distro.toml`.
    pub answers: String,
    /// Templates of the scripts that the answer file makes the installer fetch from where it fetched the answers.
    #[serde(default)]
    pub scripts: Vec<String>,
    /// The installer's kernel arguments: a template each, over the same values as the answer file. What renders empty is left
    /// out.
    pub kernel_args: Vec<String>,
    /// `--flavour` when none is given: one of `flavours`.
    pub default_flavour: String,
    /// Disk layouts that its installer can make without a question.
    #[serde(deserialize_with = "layouts")]
    pub layouts: Vec<Layout>,
    /// Sets of packages by the name that `--flavour` takes.
    pub flavours: BTreeMap<String, FlavourData>,
    /// What a rehearsal adds.
    pub rehearse: RehearseData,
    /// Known releases, newest stable first.
    pub releases: Vec<ReleaseData>,
    /// The main archive.
    pub archive: ArchiveData,
    /// Further archives that targets reach through us.
    #[serde(default)]
    pub mirrors: Vec<MirrorData>,
    /// What is different per architecture.
    pub arches: BTreeMap<Arch, ArchData>,
    /// Text of the templates beside `distro.toml`, by file name. The catalogue fills it.
    #[serde(skip)]
    pub templates: BTreeMap<String, String>,
}

fn layouts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Layout>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
}

/// A set of packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlavourData {
    /// The distribution's own names of sets of packages.
    #[serde(default)]
    pub tasks: Vec<String>,
    /// Single packages.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// What a rehearsal adds to an installation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RehearseData {
    /// Kernel arguments that bring the installer to the serial console. They precede the operator's own and follow the same
    /// rule: what stands after `---` is kept for the installed system.
    pub kernel_args: Vec<String>,
}

/// A release that is known without asking the archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseData {
    /// `--version`.
    pub version: String,
    /// The archive's name for it.
    pub codename: String,
}

/// The main archive: where boot files and packages come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveData {
    /// How its files are vouched for.
    pub scheme: Scheme,
    /// Public address, the default of `--mirror`.
    pub mirror: url::Url,
    /// Suite whose metadata says which release is the newest stable one.
    pub stable: String,
    /// OpenPGP keys trusted for its metadata, a file beside `distro.toml`.
    pub keys: String,
    /// Version whose boot loaders serve every release.
    pub loaders: String,
}

/// How an archive's files are vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// A clear-signed `InRelease` with the digests of `Packages` and of the installer's `SHA256SUMS`.
    Debian,
}

/// A further archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorData {
    /// First path component below `/mirror/`; also the directory beside the main archive on mirrors that carry both.
    pub id: String,
    /// Public address.
    pub url: url::Url,
    /// A small file below it, to ask whether a mirror carries it.
    pub probe: String,
}

/// What is different per architecture.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchData {
    /// The distribution's own name for it.
    pub name: String,
    /// Where the signed GRUB looks for its configuration, from the server's root.
    pub grub_config: String,
    /// The installer's kernel.
    pub kernel: NamedFile,
    /// The installer's initial RAM disk.
    pub initrd: NamedFile,
    /// Where an installed system's own UEFI loader may be on its disk, best first, without leading slashes.
    pub disk_loaders: Vec<String>,
    /// Boot loaders by firmware.
    pub loaders: Vec<LoaderData>,
}

/// A file and the places it may come from, tried in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFile {
    /// The name it is served by.
    pub name: String,
    /// Where it comes from.
    pub sources: Vec<SourceData>,
}

/// One place a file may come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum SourceData {
    /// A file of the installer's images, listed in their `SHA256SUMS`.
    Image {
        /// Path below `images/`.
        image: String,
    },
    /// A file inside a package.
    Package {
        /// Name of the package.
        package: String,
        /// Path inside it, without the leading slash.
        path: String,
    },
}

/// The loader for some firmware.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderData {
    /// Which firmware it is for.
    pub firmware: Vec<Firmware>,
    /// What kind of script it runs.
    pub script: ScriptKind,
    /// Its files; the firmware is told the first.
    pub files: Vec<LoaderFile>,
}

/// What kind of script a loader runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptKind {
    /// `grub.cfg`.
    Grub,
    /// An iPXE script.
    Ipxe,
}

/// One file of a loader, out of a package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderFile {
    /// The name it is served by.
    pub name: String,
    /// Name of the package.
    pub package: String,
    /// Path inside the package, without the leading slash.
    pub path: String,
}
