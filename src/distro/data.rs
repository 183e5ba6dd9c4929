//! The shape of `distro.toml`. Unknown keys are errors: a misspelt key must not become a silent default.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Catalogue, Template};
use crate::model::{Arch, Firmware, Layout};

/// One family of distributions, as its `distro.toml` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distro {
    /// Short name: `--distro`, folder name, first part of the distro uid.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// The family whose templates this one uses where it has none of the same name.
    #[serde(default)]
    pub templates_of: Option<String>,
    /// Template of the answer file, beside `distro.toml`.
    pub answers: String,
    /// Templates of the scripts that the answer file makes the installer fetch from where it fetched the answers.
    #[serde(default)]
    pub scripts: Vec<String>,
    /// What makes answers that the operator brought (`--answers`) report back: a template that is put after them.
    pub callbacks: String,
    /// The installer's kernel arguments: a template each, over the same values as the answer file. What renders empty is left
    /// out.
    pub kernel_args: Vec<String>,
    /// Packages and `@groups` that the installer adds by itself, where the repositories have them: templates as in
    /// `kernel_args`. Some too many are no harm.
    #[serde(default)]
    pub installer_packages: Vec<String>,
    /// `--flavour` when none is given: one of `flavours`.
    pub default_flavour: String,
    /// Memory that the installer needs, in MiB; a machine with less fails in ways that do not say so.
    pub memory: u32,
    /// Ends of the names of package files, such as `.deb`. A package never changes under its name.
    pub package_suffixes: Vec<String>,
    /// Folders in whose depth a file never changes under its name, such as `pool`.
    #[serde(default)]
    pub immutable_folders: Vec<String>,
    /// Disk layouts that its installer can make without a question.
    #[serde(deserialize_with = "layouts")]
    pub layouts: Vec<Layout>,
    /// Login names that its installer refuses, besides those that no distribution takes.
    #[serde(default)]
    pub reserved_users: Vec<String>,
    /// Sets of packages by the name that `--flavour` takes.
    pub flavours: BTreeMap<String, FlavourData>,
    /// What an installation downloads besides what its answers name; nothing where a family's answers name all of it.
    #[serde(default)]
    pub prefetch: PrefetchData,
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
    /// The templates beside `distro.toml`, of `templates_of` and those that are shared, by file name. The catalogue fills it.
    #[serde(skip)]
    pub templates: BTreeMap<String, Template>,
    /// Where it was read from: its keys are there, and the loader scripts.
    #[serde(skip)]
    pub catalogue: Catalogue,
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
    /// The install tree that has it, where a family has several: `Server`.
    #[serde(default)]
    pub variant: String,
}

/// What an installation downloads besides what its answers name. Packages that a release does not have are passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefetchData {
    /// The components whose lists of its own packages the installer reads, besides those that it takes any from.
    #[serde(default)]
    pub listed_components: Vec<String>,
    /// Packages of the base system, besides those that the archive marks as required or important.
    #[serde(default)]
    pub base: Vec<String>,
    /// What the installer adds on every machine.
    #[serde(default)]
    pub system: Vec<String>,
    /// What it adds without what that recommends.
    #[serde(default)]
    pub system_alone: Vec<String>,
    /// What it adds for a layout of the disk, by the layout's name.
    #[serde(default)]
    pub layouts: BTreeMap<String, Vec<String>>,
    /// What it adds for an encrypted disk.
    #[serde(default)]
    pub encrypted: Vec<String>,
    /// What it adds on an architecture, such as the boot loaders of every firmware.
    #[serde(default)]
    pub arches: BTreeMap<Arch, Vec<String>>,
    /// Names of the tasks of languages, by `de` or `pt_BR`.
    #[serde(default)]
    pub languages: BTreeMap<String, String>,
}

/// What a rehearsal adds to an installation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RehearseData {
    /// Kernel arguments that bring the installer to the serial console. They precede the operator's own and follow the same
    /// rule: what stands after `---` is kept for the installed system.
    pub kernel_args: Vec<String>,
}

/// A release that is known without asking anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseData {
    /// `--version`.
    pub version: String,
    /// The archive's name for it; empty where it has none but the version.
    #[serde(default)]
    pub codename: String,
    /// What the distributor's files of this release have in their names besides the version: Fedora's compose label, `1.7`.
    #[serde(default)]
    pub label: String,
    /// Fingerprint of the one key that signs this release; empty where any key of the family may.
    #[serde(default)]
    pub signer: String,
    /// It gets no updates any more, and has moved to the archive of ended releases: taken only when asked for.
    #[serde(default)]
    pub ended: bool,
}

/// The main archive: where boot files and packages come from. Exactly one of `debian` and `rpm` says how its files are vouched
/// for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveData {
    /// Public address, the default of `--mirror`: for `rpm` the distributor's own server, over https.
    pub mirror: url::Url,
    /// OpenPGP keys trusted for its metadata, a file beside `distro.toml`.
    pub keys: String,
    /// A clear-signed `InRelease` with the digests of `Packages` and of the installer's `SHA256SUMS`.
    pub debian: Option<DebianData>,
    /// Install trees with `.treeinfo`, repositories with `repomd.xml`.
    pub rpm: Option<RpmData>,
}

/// What is particular to an archive of Debian's kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianData {
    /// Suite whose metadata says which release is the newest stable one.
    pub stable: String,
    /// Version whose boot loaders serve every release.
    pub loaders: String,
    /// Suites of the main archive that an installation takes packages from, the release's own first: templates over
    /// `codename`.
    #[serde(default)]
    pub suites: Vec<String>,
    /// Components that an installation takes packages from, in whichever of its suites have them.
    #[serde(default)]
    pub components: Vec<String>,
}

/// What is particular to Fedora and its family. Paths are templates over `version`, `variant`, `arch` and `label`, relative to
/// the archive's root.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpmData {
    /// Fedora's `releases.json`: every image of every supported release.
    pub releases: Option<url::Url>,
    /// Where the distributor's mirror manager answers with a metalink; a template over `repo` and `arch`.
    pub metalink: Option<String>,
    /// Root of the archive of ended releases.
    pub ended: Option<url::Url>,
    /// The install tree: the folder of `.treeinfo`.
    pub tree: String,
    /// What signs the installation image; without it the strictest level of trust is https.
    pub checksum: Option<ChecksumData>,
    /// Repositories, that of the tree first.
    pub repos: Vec<RepoData>,
}

/// The signed list of digests that names the network installation image, whose content is the tree's `images/boot.iso`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChecksumData {
    /// The list: clear-signed, unless `signature` is given.
    pub file: String,
    /// Its detached signature.
    pub signature: Option<String>,
    /// The image's name in the list.
    pub iso: String,
}

/// A repository of packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepoData {
    /// Its name in answers: `updates`.
    pub id: String,
    /// Its folder, that of `repodata/`.
    pub path: String,
    /// Its name at the mirror manager: a template over `version`.
    pub metalink: Option<String>,
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
    /// Suites of it that an installation takes packages from: templates over `codename`.
    #[serde(default)]
    pub suites: Vec<String>,
}

/// What is different per architecture.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchData {
    /// The distribution's own name for it.
    pub name: String,
    /// Where the signed GRUB looks for its configuration, from the server's root: templates over `uid` too.
    pub grub_configs: Vec<String>,
    /// The installer's kernel.
    pub kernel: NamedFile,
    /// The installer's initial RAM disk.
    pub initrd: NamedFile,
    /// Further files that the installer fetches before it can check anything itself.
    #[serde(default)]
    pub installer: Vec<NamedFile>,
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
    /// A file of the install tree, which the installation image has under the same path.
    Tree {
        /// Path below the tree.
        tree: String,
    },
    /// A file inside a signed RPM of a repository.
    Rpm {
        /// Id of the repository.
        repo: String,
        /// Name of the package.
        rpm: String,
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
    pub files: Vec<NamedFile>,
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
