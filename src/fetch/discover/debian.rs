//! Debian's kind of archive: its signed metadata says what is stable, and any mirror serves all of it.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Question, Sources, chosen, directory, memory::Memory};
use crate::{
    distro::{Distro, Mirror, ReleaseData, address},
    fetch::{Client, Keyring, Stable, digest, newest_stable, openpgp::day},
};

/// How long a mirror may take to answer a question about one small file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was stable when it was asked for, as it is kept for the next time.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The mirror that the operator had named, or the distribution's own.
    mirror: String,
    /// When it was asked.
    learnt: Timestamp,
    version: String,
    codename: String,
}

pub(super) async fn discover(question: &Question<'_>, keyring: &Keyring, client: &Client) -> anyhow::Result<Sources> {
    let mut notes = Vec::new();
    let distro = question.distro;
    let main = choose_mirror(question, client, &mut notes).await?;
    let release = match question.version {
        _ if address::is_local(&main) => directory_release(question, &main, keyring, client, &mut notes).await?,
        Some(version) => distro.release(version)?.clone(),
        None => stable_release(question, &main, keyring, client, &mut notes).await,
    };
    let mut mirrors = vec![Mirror::new(&distro.id, &main)];
    for further in &distro.mirrors {
        let probe = further.probe(&release.codename)?;
        let beside = sibling(&main, &further.id);
        let carried = main != distro.archive.mirror && !question.offline && answers(client, &beside, &probe).await;
        let url = if carried { beside } else { further.url.clone() };
        mirrors.push(Mirror::new(&further.id, &url));
    }
    let public_mirrors = public(distro, &mirrors);
    Ok(Sources { release, mirrors, public_mirrors, notes })
}

/// `--mirror`, else the distribution's own, else the one this machine itself installs from.
async fn choose_mirror(question: &Question<'_>, client: &Client, notes: &mut Vec<String>) -> anyhow::Result<Url> {
    if let Some(mirror) = chosen(question)? {
        return Ok(mirror);
    }
    let own = &question.distro.archive.mirror;
    let debian = question.distro.archive.debian.as_ref().context("its description has no [archive.debian]")?;
    let probe = format!("dists/{}/InRelease", debian.stable);
    if question.offline || answers(client, own, &probe).await {
        return Ok(own.clone());
    }
    // A company network may let only its own mirror through, and this machine's package manager knows that one. What
    // comes from it is verified like everything else.
    for local in package_manager_mirrors(&question.distro.id) {
        if answers(client, &local, &probe).await {
            notes.push(format!("{own} does not answer: using {local}, this machine's own mirror"));
            return Ok(local);
        }
    }
    Ok(own.clone())
}

/// The release that a directory has.
async fn directory_release(
    question: &Question<'_>,
    directory: &Url,
    keyring: &Keyring,
    client: &Client,
    notes: &mut Vec<String>,
) -> anyhow::Result<ReleaseData> {
    let debian = question.distro.archive.debian.as_ref().context("its description has no [archive.debian]")?;
    // It may have some releases only, and then nothing that says which is the stable one.
    if question.version.is_none() && directory::has_suite(client, directory, &debian.stable).await? {
        return Ok(stable_release(question, directory, keyring, client, notes).await);
    }
    directory::debian_release(question, directory, client).await
}

/// The newest stable release by the archive's own word: of today, else of last time, else as it is known without asking. A
/// mirror may have an older one than others: who named it gets that one offline too.
async fn stable_release(
    question: &Question<'_>,
    mirror: &Url,
    keyring: &Keyring,
    client: &Client,
    notes: &mut Vec<String>,
) -> ReleaseData {
    let distro = question.distro;
    let asked = address::shown(&address::root(question.mirror.as_ref().unwrap_or(&distro.archive.mirror)));
    // Each mirror has a file of its own, so that runs at the same time do not undo what the other one learnt.
    let kept = Memory::of(question, &digest::of_bytes(asked.as_bytes()).to_string()[..16]);
    let release = |version, codename| ReleaseData { version, codename, ..ReleaseData::default() };
    let why = match question.offline {
        true => "--offline".to_owned(),
        false => match newest_stable(distro, mirror, keyring, client, question.now).await {
            Ok(Stable { version, codename }) => {
                let answer = Answer { mirror: asked, learnt: question.now, version, codename };
                kept.keep(&answer);
                return release(answer.version, answer.codename);
            }
            Err(error) => {
                let mirror = address::shown(mirror);
                tracing::warn!("asking {mirror} for the newest stable release: {error:#}");
                format!("{mirror} cannot say what is stable today")
            }
        },
    };
    let (release, since) = match kept.recall().filter(|kept: &Answer| kept.mirror == asked) {
        Some(kept) => {
            let since = format!("the stable one when it was asked on {}", day(&kept.learnt));
            (release(kept.version, kept.codename), since)
        }
        None => {
            let known = distro.releases.first().expect("a distribution has a release");
            (known.clone(), "the newest one that is known without asking".to_owned())
        }
    };
    notes.push(format!("{why}: taking {} {}, {since}", distro.name, release.version));
    release
}

/// Whether a mirror has a file. One look, no retries: another mirror is tried next.
async fn answers(client: &Client, mirror: &Url, path: &str) -> bool {
    let request = client.head(address::below(mirror, path)).timeout(PATIENCE);
    match request.send().await {
        Ok(response) => response.status().is_success(),
        Err(error) => {
            tracing::debug!("looking for {path} on {mirror}: {error}");
            false
        }
    }
}

/// Archives as the installed system shall name them: a mirror that only this machine can reach is of no use there.
fn public(distro: &Distro, mirrors: &[Mirror]) -> Vec<Mirror> {
    match mirrors.first() {
        Some(main) if is_public(&main.url) => mirrors.to_vec(),
        _ => distro.public_mirrors(),
    }
}

fn is_public(url: &Url) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match url.host() {
        Some(url::Host::Domain(name)) => name != "localhost" && name.contains('.'),
        Some(url::Host::Ipv4(address)) => !(address.is_private() || address.is_loopback() || address.is_link_local()),
        Some(url::Host::Ipv6(address)) => !(address.is_loopback() || address.is_unique_local()),
        None => false,
    }
}

/// The archive `id` beside `main` on the same mirror: mirrors carry them side by side.
fn sibling(main: &Url, id: &str) -> Url {
    let mut parent = main.clone();
    parent.set_path(main.path().rsplit_once('/').map_or("", |(parent, _)| parent));
    address::below(&parent, id)
}

/// Mirrors of `distro` in this machine's apt configuration, in its order (sources.list(5)).
fn package_manager_mirrors(distro: &str) -> Vec<Url> {
    let folder = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = folder.collect();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    let texts = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let mut mirrors: Vec<Url> = texts.flat_map(|text| mirrors_in(&text, distro)).collect();
    mirrors.dedup();
    mirrors
}

/// Every http(s) address in an apt source whose last path component is the distribution's archive.
fn mirrors_in(sources: &str, distro: &str) -> Vec<Url> {
    let lines = sources.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    let words = lines.flat_map(str::split_whitespace).filter(|word| word.starts_with("http"));
    let urls = words.filter_map(|word| Url::parse(word).ok()).map(|url| address::root(&url));
    urls.filter(|url| url.path().rsplit('/').next() == Some(distro)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn archives_stand_side_by_side_on_a_mirror() {
        let rows = [
            ("http://m.example/debian", "http://m.example/debian-security"),
            ("http://m.example:81/pub/linux/debian", "http://m.example:81/pub/linux/debian-security"),
        ];
        for (main, expected) in rows {
            assert_eq!(sibling(&url(main), "debian-security"), url(expected));
        }
    }

    #[test]
    fn apt_sources_of_both_formats_name_their_mirrors() {
        let deb822 = "Types: deb\nURIs: http://one.example/debian/ http://two.example/debian\nSuites: stable\n";
        assert_eq!(mirrors_in(deb822, "debian"), [url("http://one.example/debian"), url("http://two.example/debian")]);
        let lines = "# deb http://no.example/debian x main\ndeb [arch=amd64] https://three.example/debian x main\n\
                     deb http://security.example/debian-security x main\ndeb cdrom:[x]/ x main\n";
        assert_eq!(mirrors_in(lines, "debian"), [url("https://three.example/debian")]);
    }

    #[test]
    fn an_installed_system_is_not_sent_to_a_mirror_that_only_this_machine_reaches() {
        for private in [
            "http://127.0.0.1:3142/debian",
            "http://192.168.1.9/debian",
            "http://mirror/debian",
            "file:///srv/debian",
            "https://me:secret@m.example/debian",
        ] {
            assert!(!is_public(&url(private)), "{private}");
        }
        assert!(is_public(&url("https://mirror.example.org/debian")));
    }
}
