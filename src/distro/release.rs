use std::sync::Arc;

use anyhow::{Context as _, ensure};
use minijinja::context;
use url::Url;

use super::{Distro, MirrorData, NamedFile, ReleaseData, ScriptKind, SourceData, address, render};
use crate::model::{Arch, Firmware, Hinted};

/// Derived: a distro × version × architecture, with every name concrete.
#[derive(Debug, Clone)]
pub struct Release {
    /// The family.
    pub distro: Arc<Distro>,
    /// Its version, such as `13`.
    pub version: String,
    /// The archive's name for it, such as `trixie`.
    pub codename: String,
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
    /// Boot loaders, first match wins.
    pub loaders: Vec<Loader>,
    /// Where the signed GRUB looks for its configuration, from the server's root, without a leading slash.
    pub grub_config: String,
    /// Where an installed system's own UEFI loader may be on its disk, best first, without leading slashes.
    pub disk_loaders: Vec<String>,
}

/// An archive and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// First path component below `/mirror/`.
    pub id: String,
    /// Its root, without a trailing slash.
    pub url: Url,
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
        self.releases.iter().find(named).ok_or_else(|| {
            let known: Vec<_> = self.releases.iter().map(|r| format!("{} ({})", r.version, r.codename)).collect();
            Hinted::new(format!("{} {version:?} is not known", self.name), format!("known: {}", known.join(", ")))
        })
    }

    /// The public addresses of the archives, the main one first.
    pub fn public_mirrors(&self) -> Vec<Mirror> {
        let main = Mirror::new(&self.id, &self.archive.mirror);
        std::iter::once(main).chain(self.mirrors.iter().map(|mirror| Mirror::new(&mirror.id, &mirror.url))).collect()
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
        Self { id: id.to_owned(), url: address::root(url) }
    }

    /// Its address for people to read.
    ///
    /// SECURITY: a mirror's address may hold a password; what is printed ends up in logs and bug reports.
    pub fn shown(&self) -> Url {
        let mut url = self.url.clone();
        // Both fail only for addresses that cannot have them.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }
}

impl Release {
    /// A family's `version`, which the archive calls `codename`, for machines of one architecture. `mirrors` are where its
    /// archives are fetched from, in the order of [`Distro::public_mirrors`].
    ///
    /// The version need not be a known one: the archive may have released since. Loaders always come from a known one.
    ///
    /// # Errors
    /// An architecture that the family is not described for (the hint lists those it is), or a description whose templates
    /// cannot be filled in.
    pub fn new(
        distro: Arc<Distro>,
        version: &str,
        codename: &str,
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
        let own = Names { version, codename, arch: &data.name };
        let loaders = distro.release(&distro.archive.loaders)?;
        let loaders = Names { version: &loaders.version, codename: &loaders.codename, arch: &data.name };
        Ok(Self {
            kernel: own.artifact(&data.kernel).context("naming the kernel")?,
            initrd: own.artifact(&data.initrd).context("naming the initial RAM disk")?,
            loaders: data
                .loaders
                .iter()
                .map(|loader| {
                    let files = loader.files.iter().map(|file| {
                        let source = SourceData::Package { package: file.package.clone(), path: file.path.clone() };
                        loaders.artifact(&NamedFile { name: file.name.clone(), sources: vec![source] })
                    });
                    let files = files.collect::<anyhow::Result<_>>().context("naming the boot loader")?;
                    Ok(Loader { firmware: loader.firmware.clone(), script: loader.script, files })
                })
                .collect::<anyhow::Result<_>>()?,
            grub_config: own.string(&data.grub_config).context("naming the configuration of GRUB")?,
            disk_loaders: data.disk_loaders.clone(),
            version: version.to_owned(),
            codename: codename.to_owned(),
            arch,
            arch_name: data.name.clone(),
            mirrors,
            public_mirrors,
            distro,
        })
    }

    /// `debian13-x86_64`: names this release in paths and messages.
    pub fn uid(&self) -> String {
        format!("{}{}-{}", self.distro.id, self.version, self.arch)
    }

    /// Every file that must be in the cache, verified, before a machine may boot: kernel, initrd, loaders.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        [&self.kernel, &self.initrd].into_iter().chain(self.loaders.iter().flat_map(|loader| &loader.files))
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

/// What the strings of a description may name.
#[derive(Clone, Copy)]
struct Names<'a> {
    version: &'a str,
    codename: &'a str,
    arch: &'a str,
}

impl Names<'_> {
    fn string(self, template: &str) -> anyhow::Result<String> {
        let Self { version, codename, arch } = self;
        render::string(template, context! { version, codename, arch })
    }

    fn artifact(self, file: &NamedFile) -> anyhow::Result<Artifact> {
        let codename = self.codename.to_owned();
        let source = |source: &SourceData| {
            Ok(match source {
                SourceData::Image { image } => Source::Image { codename: codename.clone(), path: self.string(image)? },
                SourceData::Package { package, path } => Source::Package {
                    codename: codename.clone(),
                    package: self.string(package)?,
                    path: self.string(path)?,
                },
            })
        };
        Ok(Artifact {
            name: self.string(&file.name)?,
            sources: file.sources.iter().map(source).collect::<anyhow::Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::Catalogue;

    fn debian() -> Arc<Distro> {
        Catalogue::embedded().distro("debian").expect("debian")
    }

    #[test]
    fn names_are_the_releases_own_and_loaders_come_from_the_newest_one() {
        let distro = debian();
        let mirrors = distro.public_mirrors();
        let release = Release::new(distro, "12", "bookworm", Arch::X86_64, mirrors).expect("a release");
        assert_eq!(release.uid(), "debian12-x86_64");
        assert_eq!(release.grub_config, "debian-installer/amd64/grub/grub.cfg");
        let package = |codename: &str, package: &str, path: &str| Source::Package {
            codename: codename.into(),
            package: package.into(),
            path: path.into(),
        };
        assert_eq!(
            release.kernel.sources,
            [
                Source::Image { codename: "bookworm".into(), path: "netboot/debian-installer/amd64/linux".into() },
                package(
                    "bookworm",
                    "debian-installer-12-netboot-amd64",
                    "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux"
                ),
            ]
        );
        let loader = release.loader(Firmware::Uefi).expect("a loader");
        assert_eq!(loader.files[0].name, "shimx64.efi");
        assert_eq!(loader.files[0].sources, [package("trixie", "shim-signed", "usr/lib/shim/shimx64.efi.signed")]);
        assert_eq!(release.public_mirrors[1].url.as_str(), "https://security.debian.org/debian-security");
        assert_eq!(release.distro.mirrors[0].probe("trixie").expect("a path"), "dists/trixie-security/InRelease");
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is() {
        let distro = debian();
        assert_eq!(distro.release("trixie"), distro.release("13"));
        assert_eq!(distro.release("11").expect_err("no such release").hint, "known: 13 (trixie), 12 (bookworm)");
        let mirrors = distro.public_mirrors();
        let error = Release::new(distro.clone(), "13", "trixie", Arch::Riscv64, mirrors.clone()).expect_err("no such");
        let hinted = error.downcast_ref::<Hinted>().expect("a hint");
        assert_eq!(hinted.hint, "known: x86_64, aarch64");
        assert!(Release::new(distro, "13", "trixie", Arch::X86_64, mirrors[..1].to_vec()).is_err());
    }
}
