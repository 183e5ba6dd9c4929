//! Which files of a suite an installer and then apt ask for, from its `Release`. Pure.

use super::{release_file::ReleaseFile, resolve::World};

/// A file of a suite's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteFile {
    /// Path below the archive's root.
    pub path: String,
    /// What it lists.
    pub lists: Lists,
    /// Whether an installation does without it, where an archive has none.
    pub optional: bool,
}

/// What a file of a suite's metadata lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Packages of the installed system.
    Packages(World),
    /// Packages of the installer itself.
    Installer,
    /// None: translations, signatures.
    Nothing,
}

/// A suite, and who will ask for what of it.
#[derive(Debug, Clone, Copy)]
pub struct Suite<'a> {
    /// Its folder below `dists/`.
    pub folder: &'a str,
    /// The archive's name of the architecture.
    pub arch: &'a str,
    /// Whether packages come from it from the start. The installer's own do, too.
    pub world: World,
    /// The components that packages come from.
    pub components: &'a [String],
    /// Further components whose lists the installer reads.
    pub listed: &'a [String],
    /// Languages of descriptions, such as `en` and `de_DE`.
    pub languages: &'a [String],
}

/// Forms of an index, in apt's order of preference, `""` being the plain one.
const FORMS: [&str; 5] = [".xz", ".bz2", ".gz", ".zst", ""];
/// Those of them that can be read here.
const READABLE: [&str; 4] = [".xz", ".gz", ".zst", ""];

impl Suite<'_> {
    /// Path of the signed metadata below the archive's root.
    pub fn in_release(&self) -> String {
        self.below("InRelease")
    }

    /// The further files, by the suite's `InRelease`.
    ///
    /// # Errors
    /// What is no such file.
    pub fn files(&self, in_release: &str) -> anyhow::Result<Vec<SuiteFile>> {
        let Self { arch, world, components, languages, .. } = *self;
        // The frame of the signature has no line that looks like a field that is used here.
        let release = ReleaseFile::parse(in_release)?;
        let mut files = Vec::new();
        let mut add = |path: Option<String>, lists, optional| {
            files.extend(path.map(|path| SuiteFile { path, lists, optional }));
        };
        for component in components {
            let index = listed(&release, &format!("{component}/binary-{arch}/Packages"), &READABLE);
            add(index.map(|path| self.as_apt_asks(&release, &path)), Lists::Packages(world), false);
            for language in languages {
                let index = listed(&release, &format!("{component}/i18n/Translation-{language}"), &FORMS);
                add(index.map(|path| self.as_apt_asks(&release, &path)), Lists::Nothing, true);
            }
        }
        if world != World::Release {
            return Ok(files);
        }
        // The installer knows no by-hash, and verifies Release by its detached signature.
        for (component, lists) in components.iter().map(|own| (own, Lists::Installer)).chain(self.only_listed()) {
            let index = listed(&release, &format!("{component}/debian-installer/binary-{arch}/Packages"), &READABLE);
            add(index.map(|path| self.below(&path)), lists, lists == Lists::Nothing);
        }
        add(Some(self.below("Release")), Lists::Nothing, false);
        add(Some(self.below("Release.gpg")), Lists::Nothing, false);
        let first = components.first().map(|first| format!("{first}/binary-{arch}/Release"));
        add(first.filter(|path| release.file(path).is_some()).map(|path| self.below(&path)), Lists::Nothing, true);
        Ok(files)
    }

    fn only_listed(&self) -> impl Iterator<Item = (&String, Lists)> {
        self.listed.iter().map(|component| (component, Lists::Nothing))
    }

    fn below(&self, path: &str) -> String {
        format!("dists/{}/{path}", self.folder)
    }

    fn as_apt_asks(&self, release: &ReleaseFile, path: &str) -> String {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match release.file(path).filter(|_| release.by_hash) {
            Some(expected) => self.below(&format!("{folder}/by-hash/SHA256/{}", expected.sha256)),
            None => self.below(path),
        }
    }
}

/// The preferred form of an index that the suite has.
fn listed(release: &ReleaseFile, path: &str, forms: &[&str]) -> Option<String> {
    forms.iter().map(|form| format!("{path}{form}")).find(|path| release.file(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn files(by_hash: bool, listed: &[&str]) -> Vec<(String, Lists, bool)> {
        let by_hash = if by_hash { "Acquire-By-Hash: yes\n" } else { "" };
        let lines: String = listed.iter().map(|path| format!(" {DIGEST} 1 {path}\n")).collect();
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: stable\nCodename: trixie\n\
             Date: Sat, 12 Sep 2026 07:55:41 UTC\n{by_hash}SHA256:\n{lines}-----BEGIN PGP SIGNATURE-----\n\niQIz=\n"
        );
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (components, listed, languages) = (words(&["main"]), words(&["contrib"]), words(&["en", "de"]));
        let suite = Suite {
            folder: "trixie",
            arch: "amd64",
            world: World::Release,
            components: &components,
            listed: &listed,
            languages: &languages,
        };
        let files = suite.files(&text).expect("a Release");
        files.into_iter().map(|file| (file.path.replace("dists/trixie/", ""), file.lists, file.optional)).collect()
    }

    #[test]
    fn what_installer_and_apt_ask_for_is_what_the_suite_lists() {
        let release = [
            "main/binary-amd64/Packages",
            "main/binary-amd64/Packages.xz",
            "main/binary-arm64/Packages.xz",
            "main/binary-amd64/Release",
            "main/i18n/Translation-en.bz2",
            "main/debian-installer/binary-amd64/Packages.gz",
            "contrib/debian-installer/binary-amd64/Packages.xz",
        ];
        let found = |path: &str, lists, optional| (path.to_owned(), lists, optional);
        let hashed = |folder: &str| format!("{folder}/by-hash/SHA256/{DIGEST}");
        let rest = [
            found("main/debian-installer/binary-amd64/Packages.gz", Lists::Installer, false),
            found("contrib/debian-installer/binary-amd64/Packages.xz", Lists::Nothing, true),
            found("Release", Lists::Nothing, false),
            found("Release.gpg", Lists::Nothing, false),
            found("main/binary-amd64/Release", Lists::Nothing, true),
        ];
        let first = [
            (hashed("main/binary-amd64"), Lists::Packages(World::Release), false),
            (hashed("main/i18n"), Lists::Nothing, true),
        ];
        assert_eq!(files(true, &release), [&first[..], &rest].concat());
        let first = [
            found("main/binary-amd64/Packages.xz", Lists::Packages(World::Release), false),
            found("main/i18n/Translation-en.bz2", Lists::Nothing, true),
        ];
        assert_eq!(files(false, &release), [&first[..], &rest].concat());
    }
}
