//! An archive in a directory of this machine: `--mirror /srv/debian`, `--mirror /mnt/disc`.

use std::{fs, io::ErrorKind};

use anyhow::Context as _;
use reqwest::StatusCode;
use url::Url;

use super::Question;
use crate::{
    distro::{
        Disc, Distro, Release, ReleaseData, Source,
        address::{below, join, local, shown},
    },
    fetch::{
        Client, Unanswered, download,
        download::DownloadError,
        rpm::{
            mirrors::repomd_of,
            primary::{self, Primary},
            repomd,
            treeinfo::Described,
        },
        store::blocking,
    },
    model::Hinted,
};

/// `.treeinfo` has some 2 kB.
const TREEINFO_LIMIT: usize = 1 << 20;

/// Whether it is a directory.
///
/// # Errors
/// What it is instead, with a remedy.
pub(super) fn check(url: &Url) -> Result<(), Hinted> {
    let Some(path) = local(url) else {
        let hint = "give a path of this machine, such as /mnt/disc, or the http or https address of a mirror";
        return Err(Hinted::new(format!("--mirror {url} is not on this machine"), hint));
    };
    let name = path.display();
    let (what, hint) = match fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("iso")) => (
            format!("--mirror {name} is an image, not a directory"),
            format!("mount it first: mount -o loop,ro {name} /mnt; then --mirror /mnt"),
        ),
        Ok(_) => (format!("--mirror {name} is not a directory"), "name the root of an archive".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (
            format!("--mirror {name}: there is no such directory"),
            "mount the disc first; the address of a mirror begins with http:// or https://".to_owned(),
        ),
        Err(error) => {
            (format!("--mirror {name} cannot be read: {error}"), "let the user who runs this read it".to_owned())
        }
    };
    Err(Hinted::new(what, hint))
}

/// Whether a directory has a file.
///
/// # Errors
/// When that cannot be told.
async fn has(client: &Client, root: &Url, path: &str) -> Result<bool, Unanswered> {
    Ok(client.head(below(root, path)).send().await?.status() == StatusCode::OK)
}

/// How a suite is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    Signed,
    /// As on Debian's installation discs.
    Unsigned,
    Absent,
}

async fn suite(client: &Client, root: &Url, name: &str) -> Result<Suite, Unanswered> {
    for (file, how) in [("InRelease", Suite::Signed), ("Release.gpg", Suite::Signed), ("Release", Suite::Unsigned)] {
        if has(client, root, &format!("dists/{name}/{file}")).await? {
            return Ok(how);
        }
    }
    Ok(Suite::Absent)
}

/// Whether a directory says itself which release is the stable one.
pub(super) async fn has_suite(client: &Client, root: &Url, name: &str) -> anyhow::Result<bool> {
    Ok(suite(client, root, name).await? == Suite::Signed)
}

/// The release of Debian's kind that a directory has: the one asked for, else the newest known.
///
/// # Errors
/// A directory that is no archive, or has none that is signed.
pub(super) async fn debian_release(
    question: &Question<'_>,
    root: &Url,
    client: &Client,
) -> anyhow::Result<ReleaseData> {
    let distro = question.distro;
    let wanted = match question.version {
        Some(version) => std::slice::from_ref(distro.release(version)?),
        None => distro.releases.as_slice(),
    };
    let mut unsigned = None;
    for release in wanted {
        match suite(client, root, &release.codename).await? {
            Suite::Signed => return Ok(release.clone()),
            Suite::Unsigned => unsigned = unsigned.or(Some(&release.codename)),
            Suite::Absent => {}
        }
    }
    let directory = shown(root);
    if let Some(codename) = unsigned {
        let what = format!(
            "nothing vouches for {directory}: dists/{codename}/Release has no signature beside it (InRelease, \
             Release.gpg), as on the installation discs of {}",
            distro.name
        );
        let hint = "take the address of a mirror, or a directory made of one with debmirror, apt-mirror or rsync";
        return Err(Hinted::new(what, hint).into());
    }
    let looked_for: Vec<_> = wanted.iter().map(|release| format!("dists/{}/InRelease", release.codename)).collect();
    Err(no_archive(distro, &directory, &looked_for))
}

fn no_archive(distro: &Distro, directory: &str, looked_for: &[String]) -> anyhow::Error {
    let what = format!("{directory} is no archive of {}: it has no {}", distro.name, looked_for.join(", no "));
    Hinted::new(what, "name the root of an archive: the folder that these paths are below").into()
}

/// The release of Fedora's family that a directory has, and how it is laid out if it is a disc. `named` gives a release its
/// names.
///
/// # Errors
/// A directory that is no archive, or the disc of something else.
pub(super) async fn rpm_release(
    question: &Question<'_>,
    root: &Url,
    client: &Client,
    named: impl Fn(&ReleaseData) -> anyhow::Result<Release>,
) -> anyhow::Result<(ReleaseData, Option<Disc>)> {
    let distro = question.distro;
    match download::read(client, &below(root, ".treeinfo"), TREEINFO_LIMIT).await {
        Ok(text) => {
            let described = Described::parse(&String::from_utf8_lossy(&text));
            let release = release_of(question, &described, &shown(root))?;
            let disc = disc(client, root, &described, &named(&release)?).await?;
            return Ok((release, Some(disc)));
        }
        Err(DownloadError::Gone { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let wanted = match question.version {
        Some(version) => std::slice::from_ref(distro.release(version)?),
        None => distro.releases.as_slice(),
    };
    let mut looked_for = vec![".treeinfo".to_owned()];
    for release in wanted {
        let path = join(&named(release)?.tree.unwrap_or_default(), ".treeinfo");
        if has(client, root, &path).await? {
            return Ok((release.clone(), None));
        }
        // The others would be looked for alike.
        if looked_for.len() < 2 {
            looked_for.push(path);
        }
    }
    Err(no_archive(distro, &shown(root), &looked_for))
}

/// The release that a disc has.
fn release_of(question: &Question<'_>, disc: &Described, directory: &str) -> anyhow::Result<ReleaseData> {
    let Question { distro, arch, .. } = question;
    let arch_name = distro.arches.get(arch).map_or("", |data| data.name.as_str());
    let Described { name, version, arch: found, .. } = disc;
    if !is_of(name, distro) {
        let hint = format!("name it with --distro, or take a disc of {}", distro.name);
        return Err(
            Hinted::new(format!("{directory} is a disc of {name} {version}, not of {}", distro.name), hint).into()
        );
    }
    if found != arch_name {
        let what = format!("{directory} is a disc for {found}, not for {arch_name}");
        return Err(Hinted::new(what, "take the disc for --arch, or another --arch").into());
    }
    // `10.1` is of the release 10.
    let of = |known: &str| version == known || version.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'));
    let release = distro.releases.iter().find(|release| of(&release.version)).cloned();
    let newer = || ReleaseData { version: version.clone(), ..ReleaseData::default() };
    // A family with a list of releases has newer ones than this program knows.
    let lists = distro.archive.rpm.as_ref().is_some_and(|rpm| rpm.releases.is_some());
    let number = || version.parse::<u32>().is_ok();
    let release = match release {
        None if lists && number() => newer(),
        None => distro.release(version).cloned().with_context(|| format!("reading {directory}/.treeinfo"))?,
        Some(release) => release,
    };
    if question.version.is_some_and(|asked| asked != release.version) {
        let what = format!("{directory} has {} {version}", distro.name);
        return Err(Hinted::new(what, "leave --version out, or take the disc of that version").into());
    }
    Ok(release)
}

/// Whether a disc's own name is the family's: `CentOS Stream 10` is CentOS Stream.
fn is_of(name: &str, distro: &Distro) -> bool {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let name = plain(name);
    !name.is_empty() && [&distro.name, &distro.id].into_iter().any(|known| name.starts_with(&plain(known)))
}

/// Which repositories a disc has, and where; which boot loaders they lack.
async fn disc(client: &Client, root: &Url, described: &Described, release: &Release) -> anyhow::Result<Disc> {
    let mut disc = Disc::default();
    for (number, repo) in release.repos.iter().enumerate() {
        let Some(folder) = described.repository(&repo.id, number == 0) else { continue };
        if has(client, root, &repomd_of(folder)).await? {
            disc.repos.insert(repo.id.clone(), folder.to_owned());
        }
    }
    if let Some(first) = release.repos.first().filter(|first| !disc.repos.contains_key(&first.id)) {
        let what = format!("{} has no repository {} that its .treeinfo names", shown(root), first.id);
        let hint = "take a disc with packages (DVD), not one that only starts the installer";
        return Err(Hinted::new(what, hint).into());
    }
    let files = release.loaders.iter().flat_map(|loader| &loader.files);
    for source in files.flat_map(|file| &file.sources) {
        let Source::Rpm { repo, package, .. } = source else { continue };
        let there = match disc.repos.get(repo) {
            Some(folder) => {
                let packages = packages(client, root, folder).await?;
                packages.newest(package, &release.arch_name).or_else(|| packages.newest(package, "noarch")).is_some()
            }
            None => false,
        };
        if !there {
            disc.lacks.insert((repo.clone(), package.clone()));
        }
    }
    Ok(disc)
}

/// The packages of a repository, as it lists them: what vouches for the list is looked at when it is taken.
async fn packages(client: &Client, root: &Url, folder: &str) -> anyhow::Result<Primary> {
    let url = below(root, &repomd_of(folder));
    let reading = || format!("reading {}", shown(&url));
    let listed = repomd::parse(&download::read(client, &url, repomd::LIMIT).await?).with_context(reading)?;
    let listed = listed.into_iter().find(|listed| listed.kind == "primary").context("it lists no packages");
    let listed = listed.with_context(reading)?;
    let path = local(&below(root, &join(folder, &listed.path))).context("a directory has paths")?;
    blocking(move || primary::read(&path, &listed).with_context(|| format!("reading {}", path.display()))).await
}
