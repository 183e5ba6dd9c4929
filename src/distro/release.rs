use std::{fmt, sync::Arc};

use anyhow::{Context as _, ensure};
use minijinja::context;
use url::Url;

use super::{Disc, Distro, MirrorData, NamedFile, ReleaseData, RpmData, ScriptKind, SourceData, address, render};
use crate::model::{Arch, Firmware, Hinted, Trust};

/// Derived: a distro × version × architecture, with every name concrete.
#[derive(Debug, Clone)]
pub struct Release {
    /// The family.
    pub distro: Arc<Distro>,
    /// Its version, such as `13`.
    pub version: String,
    /// The archive's name for it, such as `trixie`; empty where it has none.
    pub codename: String,
    /// Fingerprint of the one key that signs it; empty where any key of the family may.
    pub signer: String,
    /// It gets no updates any more.
    pub ended: bool,
    /// Which of the family's install trees it is from; empty where there is one.
    pub variant: String,
    /// Instruction set of the machines it is for.
    pub arch: Arch,
    /// The distribution's name for that, such as `amd64`.
    pub arch_name: String,
    /// The archives that targets reach through us; the first is the main one. `/mirror/<id>/…`
    pub mirrors: Vec<Mirror>,
    /// The public addresses of the same archives, in the same order, for the installed system's own package sources.
    pub public_mirrors: Vec<Mirror>,
    /// The installer's kernel.
    pub kernel: Artifact,
    /// The installer's initial RAM disk.
    pub initrd: Artifact,
    /// Further files that the installer fetches before it can check anything itself.
    pub installer: Vec<Artifact>,
    /// Boot loaders, first match wins.
    pub loaders: Vec<Loader>,
    /// Where the signed GRUB looks for its configuration, from the server's root, without a leading slash.
    pub grub_configs: Vec<String>,
    /// The install tree below the main archive: the folder of `.treeinfo`, empty if that is the root. Archives of Debian's kind
    /// have none.
    pub tree: Option<String>,
    /// What signs the installation image, where anything does.
    pub checksum: Option<Checksum>,
    /// Repositories of RPMs below the main archive, that of the tree first.
    pub repos: Vec<Repo>,
    /// Where an installed system's own UEFI loader may be on its disk, best first, without leading slashes.
    pub disk_loaders: Vec<String>,
    /// What [`Release::uid`] says.
    pub uid: String,
}

/// An archive and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// First path component below `/mirror/`.
    pub id: String,
    /// Its root, without a trailing slash.
    pub url: Url,
    /// Other roots of the same archive, best first, for what this one fails to deliver. Only a file whose digest is known may
    /// come from one of these.
    pub alternates: Vec<Url>,
    /// How it is laid out, if it is an installation disc and no archive.
    pub disc: Option<Disc>,
}

/// A signed list of digests; paths are relative to the main archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// The list: clear-signed, unless there is a `signature`.
    pub file: String,
    /// Its detached signature.
    pub signature: Option<String>,
    /// Name of the installation image in the list.
    pub iso: String,
}

/// A repository of RPMs: a folder below the main archive that has a `repodata/repomd.xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// Its name in answers.
    pub id: String,
    /// Its folder.
    pub path: String,
    /// Its folder on the distributor's own server, where an installed system finds it.
    pub public_path: String,
    /// Where the mirror manager says which `repomd.xml` is right, and who has it.
    pub metalink: Option<Url>,
}

/// A file that has to be fetched and verified before anything boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The name it is served by below `boot/<uid>/`.
    pub name: String,
    /// Where it may come from, tried in order.
    pub sources: Vec<Source>,
}

/// One place an artifact may come from; paths are relative to the main archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of the installer's images: `dists/<codename>/main/installer-<arch>/current/images/<path>`.
    Image {
        /// The release's codename.
        codename: String,
        /// Path below `images/`.
        path: String,
    },
    /// A file inside a package of a release.
    Package {
        /// The release's codename.
        codename: String,
        /// Name of the package.
        package: String,
        /// Path inside it, without the leading slash.
        path: String,
    },
    /// A file of the install tree.
    Tree {
        /// Path below the tree, and inside the installation image.
        path: String,
    },
    /// A file inside a signed RPM.
    Rpm {
        /// Id of the repository.
        repo: String,
        /// Name of the package.
        package: String,
        /// Path inside it, without the leading slash.
        path: String,
    },
}

/// A boot loader: the firmware is told its first file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Which firmware it is for.
    pub firmware: Vec<Firmware>,
    /// What kind of script it runs.
    pub script: ScriptKind,
    /// Its files.
    pub files: Vec<Artifact>,
}

impl Distro {
    /// A known release by its version or codename.
    ///
    /// # Errors
    /// The hint lists the known ones.
    pub fn release(&self, version: &str) -> Result<&ReleaseData, Hinted> {
        let named = |release: &&ReleaseData| release.version == version || release.codename == version;
        self.releases.iter().find(named).filter(|_| !version.is_empty()).ok_or_else(|| {
            let known: Vec<_> = self.releases.iter().map(ToString::to_string).collect();
            Hinted::new(format!("{} {version:?} is not known", self.name), format!("known: {}", known.join(", ")))
        })
    }

    /// The public addresses of the archives, the main one first.
    pub fn public_mirrors(&self) -> Vec<Mirror> {
        let main = Mirror::new(&self.id, &self.archive.mirror);
        std::iter::once(main).chain(self.mirrors.iter().map(|mirror| Mirror::new(&mirror.id, &mirror.url))).collect()
    }
}

impl fmt::Display for ReleaseData {
    /// `13 (trixie)`, `44`, `38 (ended)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)?;
        match (self.codename.as_str(), self.ended) {
            ("", false) => Ok(()),
            ("", true) => f.write_str(" (ended)"),
            (codename, false) => write!(f, " ({codename})"),
            (codename, true) => write!(f, " ({codename}, ended)"),
        }
    }
}

impl MirrorData {
    /// The small file whose presence tells that a mirror carries this archive, from the archive's root.
    ///
    /// # Errors
    /// When the description's template names an unknown value.
    pub fn probe(&self, codename: &str) -> anyhow::Result<String> {
        render::string(&self.probe, context! { codename })
    }
}

impl Mirror {
    /// An archive at `url`, with or without a trailing slash.
    pub fn new(id: &str, url: &Url) -> Self {
        Self { id: id.to_owned(), url: address::root(url), alternates: Vec::new(), disc: None }
    }

    /// Its address for people to read, without a password that may be in it.
    pub fn shown(&self) -> String {
        address::shown(&self.url)
    }

    /// Whether it is a directory of this machine: one that the operator named, since no distribution's own is.
    pub fn is_local(&self) -> bool {
        address::is_local(&self.url)
    }
}

impl Release {
    /// A family's release for machines of one architecture, with what `flavour` needs. `mirrors` are where its archives are
    /// fetched from, in the order of [`Distro::public_mirrors`].
    ///
    /// The release need not be one of the family's description: the archive may have released since.
    ///
    /// # Errors
    /// An architecture that the family is not described for (the hint lists those it is), or a description whose templates
    /// cannot be filled in.
    pub fn new(
        distro: Arc<Distro>,
        release: &ReleaseData,
        flavour: &str,
        arch: Arch,
        mirrors: Vec<Mirror>,
    ) -> anyhow::Result<Self> {
        let data = distro.arches.get(&arch).ok_or_else(|| {
            let known: Vec<_> = distro.arches.keys().map(Arch::to_string).collect();
            Hinted::new(format!("{} for {arch} is not known", distro.name), format!("known: {}", known.join(", ")))
        })?;
        let public_mirrors = distro.public_mirrors();
        ensure!(
            mirrors.iter().map(|mirror| &mirror.id).eq(public_mirrors.iter().map(|mirror| &mirror.id)),
            "{} needs one mirror for each of its archives, the main one first",
            distro.name
        );
        let variant = |flavour: &str| distro.flavours.get(flavour).map_or("", |flavour| flavour.variant.as_str());
        let (variant, usual) = (variant(flavour), variant(&distro.default_flavour));
        let uid = uid(&distro.id, &release.version, Some(variant).filter(|variant| *variant != usual), arch);
        let own = Names { release, variant, arch: &data.name, uid: &uid };
        let loaders = match &distro.archive.debian {
            Some(debian) => Names { release: distro.release(&debian.loaders)?, ..own },
            None => own,
        };
        let artifacts = |names: Names<'_>, files: &[NamedFile]| -> anyhow::Result<Vec<_>> {
            files.iter().map(|file| names.artifact(file)).collect()
        };
        let rpm = distro.archive.rpm.as_ref();
        let disc = mirrors.first().and_then(|mirror| mirror.disc.clone());
        let release = Self {
            kernel: own.artifact(&data.kernel).context("naming the kernel")?,
            initrd: own.artifact(&data.initrd).context("naming the initial RAM disk")?,
            installer: artifacts(own, &data.installer).context("naming the installer's files")?,
            loaders: data
                .loaders
                .iter()
                .map(|loader| {
                    let files = artifacts(loaders, &loader.files).context("naming the boot loader")?;
                    Ok(Loader { firmware: loader.firmware.clone(), script: loader.script, files })
                })
                .collect::<anyhow::Result<_>>()?,
            grub_configs: own.strings(&data.grub_configs).context("naming the configuration of GRUB")?,
            disk_loaders: data.disk_loaders.clone(),
            tree: rpm.map(|rpm| own.string(&rpm.tree)).transpose().context("naming the install tree")?,
            checksum: rpm.map_or(Ok(None), |rpm| own.checksum(rpm)).context("naming what signs the image")?,
            repos: rpm.map_or(Ok(Vec::new()), |rpm| own.repos(rpm)).context("naming the repositories")?,
            version: release.version.clone(),
            codename: release.codename.clone(),
            signer: release.signer.clone(),
            ended: release.ended,
            variant: variant.to_owned(),
            arch,
            arch_name: data.name.clone(),
            mirrors,
            public_mirrors,
            uid,
            distro,
        };
        Ok(match disc {
            Some(disc) => release.on_disc(&disc),
            None => release,
        })
    }

    /// `debian13-x86_64`, `fedora44-server-x86_64`: names this release in paths and messages.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Every file that must be in the cache, verified, before a machine may boot: kernel, initrd, what the installer cannot
    /// check itself, loaders.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        let loaders = self.loaders.iter().flat_map(|loader| &loader.files);
        [&self.kernel, &self.initrd].into_iter().chain(&self.installer).chain(loaders)
    }

    /// The files of the install tree that are in the cache, verified, with their paths below the main archive: what a machine
    /// asks the mirror for there it is given from the cache.
    pub fn tree_artifacts(&self) -> impl Iterator<Item = (String, &Artifact)> {
        let path = |artifact: &Artifact| match (&self.tree, artifact.sources.first()) {
            (Some(tree), Some(Source::Tree { path })) => Some(address::join(tree, path)),
            _ => None,
        };
        self.artifacts().filter_map(move |artifact| Some((path(artifact)?, artifact)))
    }

    /// The strictest trust that there is for its boot files.
    pub fn strictest_trust(&self) -> Trust {
        if self.tree.is_some() && self.checksum.is_none() { Trust::Https } else { Trust::Signed }
    }

    /// The loader for a kind of firmware.
    pub fn loader(&self, firmware: Firmware) -> Option<&Loader> {
        self.loaders.iter().find(|loader| loader.firmware.contains(&firmware))
    }

    /// The main archive.
    pub fn archive(&self) -> &Mirror {
        self.mirrors.first().expect("a release is made with its archive")
    }
}

fn uid(id: &str, version: &str, variant: Option<&str>, arch: Arch) -> String {
    let variant = variant.map(|variant| format!("-{}", variant.to_lowercase())).unwrap_or_default();
    format!("{id}{version}{variant}-{arch}")
}

/// What the strings of a description may name; they are filled in from [`Names`].
pub(super) const NAMES: [&str; 6] = ["version", "codename", "label", "variant", "arch", "uid"];

#[derive(Clone, Copy)]
struct Names<'a> {
    release: &'a ReleaseData,
    variant: &'a str,
    arch: &'a str,
    uid: &'a str,
}

impl Names<'_> {
    fn string(self, template: &str) -> anyhow::Result<String> {
        let Self { release: ReleaseData { version, codename, label, .. }, variant, arch, uid } = self;
        render::string(template, context! { version, codename, label, variant, arch, uid })
    }

    fn strings(self, templates: &[String]) -> anyhow::Result<Vec<String>> {
        templates.iter().map(|template| self.string(template)).collect()
    }

    fn artifact(self, file: &NamedFile) -> anyhow::Result<Artifact> {
        let codename = || self.release.codename.clone();
        let source = |source: &SourceData| {
            Ok(match source {
                SourceData::Image { image } => Source::Image { codename: codename(), path: self.string(image)? },
                SourceData::Package { package, path } => {
                    Source::Package { codename: codename(), package: self.string(package)?, path: self.string(path)? }
                }
                SourceData::Tree { tree } => Source::Tree { path: self.string(tree)? },
                SourceData::Rpm { repo, rpm, path } => {
                    Source::Rpm { repo: repo.clone(), package: self.string(rpm)?, path: self.string(path)? }
                }
            })
        };
        Ok(Artifact {
            name: self.string(&file.name)?,
            sources: file.sources.iter().map(source).collect::<anyhow::Result<_>>()?,
        })
    }

    fn checksum(self, rpm: &RpmData) -> anyhow::Result<Option<Checksum>> {
        let Some(checksum) = &rpm.checksum else { return Ok(None) };
        Ok(Some(Checksum {
            file: self.string(&checksum.file)?,
            signature: checksum.signature.as_ref().map(|signature| self.string(signature)).transpose()?,
            iso: self.string(&checksum.iso)?,
        }))
    }

    fn repos(self, rpm: &RpmData) -> anyhow::Result<Vec<Repo>> {
        let metalink = |repo: &str| -> anyhow::Result<Option<Url>> {
            // An ended release has left the mirror manager.
            let Some(template) = rpm.metalink.as_ref().filter(|_| !self.release.ended) else { return Ok(None) };
            let url = render::string(template, context! { repo => self.string(repo)?, arch => self.arch })?;
            Ok(Some(url.parse().with_context(|| format!("reading the address {url:?}"))?))
        };
        let repo = |repo: &super::RepoData| {
            let path = self.string(&repo.path)?;
            Ok(Repo {
                id: repo.id.clone(),
                path: path.clone(),
                public_path: path,
                metalink: repo.metalink.as_deref().map_or(Ok(None), metalink)?,
            })
        };
        rpm.repos.iter().map(repo).collect()
    }
}

#[cfg(test)]
mod tests;
