//! `.treeinfo` of the install tree that machines see (productmd 1.2).

use std::fmt::{self, Write as _};

use super::{Release, Source};
use crate::model::Sha256Digest;

/// The `.treeinfo` of a release's install tree, naming verified files only; `digest` says what the artifact of that name has.
///
/// SECURITY: it is written here, not passed on. Nobody signs the one on the mirror, dracut runs whatever stage 2 it names, and
/// Anaconda installs from whatever repositories it lists.
pub fn treeinfo(release: &Release, digest: impl Fn(&str) -> Option<Sha256Digest>) -> String {
    let mut text = String::new();
    write(release, digest, &mut text).expect("a string takes everything");
    text
}

fn write(release: &Release, digest: impl Fn(&str) -> Option<Sha256Digest>, f: &mut String) -> fmt::Result {
    let (name, version, arch) = (&release.distro.name, &release.version, &release.arch_name);
    let variant = if release.variant.is_empty() { "BaseOS" } else { &release.variant };
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    writeln!(f, "[header]\ntype = productmd.treeinfo\nversion = 1.2\n")?;
    writeln!(f, "[release]\nname = {name}\nshort = {short}\nversion = {version}\n")?;
    // What old readers look at.
    writeln!(f, "[general]\nfamily = {name}\nversion = {version}\narch = {arch}\nvariant = {variant}\n")?;
    writeln!(f, "[tree]\narch = {arch}\nbuild_timestamp = 1\nplatforms = {arch}\nvariants = {variant}\n")?;
    writeln!(f, "[variant-{variant}]\nid = {variant}\nuid = {variant}\nname = {variant}\ntype = variant")?;
    writeln!(f, "packages = Packages\nrepository = .\n")?;
    let path = |sources: &[Source]| match sources.first() {
        Some(Source::Tree { path }) => Some(path.clone()),
        _ => None,
    };
    if let Some(stage2) = release.installer.first().and_then(|artifact| path(&artifact.sources)) {
        writeln!(f, "[stage2]\nmainimage = {stage2}\n")?;
    }
    writeln!(f, "[images-{arch}]")?;
    for (key, artifact) in [("kernel", &release.kernel), ("initrd", &release.initrd)] {
        if let Some(path) = path(&artifact.sources) {
            writeln!(f, "{key} = {path}")?;
        }
    }
    writeln!(f, "\n[checksums]")?;
    for artifact in [&release.kernel, &release.initrd].into_iter().chain(&release.installer) {
        if let (Some(path), Some(digest)) = (path(&artifact.sources), digest(&artifact.name)) {
            writeln!(f, "{path} = sha256:{digest}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{distro::Catalogue, model::Arch};

    #[test]
    fn it_names_what_is_verified_and_nothing_else() {
        let fedora = Catalogue::embedded().distro("fedora").expect("fedora");
        let newest = fedora.releases[0].clone();
        let mirrors = fedora.public_mirrors();
        let release = Release::new(Arc::clone(&fedora), &newest, "Server", Arch::X86_64, mirrors).expect("a release");
        let digest = Sha256Digest([0xab; 32]);
        let text = treeinfo(&release, |name| (name != "vmlinuz").then_some(digest));
        for line in [
            "variants = Server",
            "[variant-Server]",
            "repository = .",
            "mainimage = images/install.img",
            "[images-x86_64]",
            "kernel = images/pxeboot/vmlinuz",
            &format!("images/install.img = sha256:{digest}"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("vmlinuz = sha256"), "a digest that nobody knows:\n{text}");
    }
}
