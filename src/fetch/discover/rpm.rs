//! Fedora and its family: the distributor's own list says which releases there are, its mirror manager who has them.

use std::sync::Arc;

use anyhow::Context as _;
use url::Url;

use super::{Question, Sources, chosen, directory, memory::Memory};
use crate::{
    distro::{
        Disc, Mirror, Release, ReleaseData, RpmData,
        address::{is_local, shown},
    },
    fetch::{
        Client, download,
        openpgp::day,
        rpm::{
            mirrors::{self, PATIENCE},
            releases::{self, ImageName, LABEL, Listing, VERSION, choose},
        },
    },
};

pub(super) async fn discover(question: &Question<'_>, rpm: &RpmData, client: &Client) -> anyhow::Result<Sources> {
    let (mut notes, distro) = (Vec::new(), question.distro);
    let chosen = chosen(question)?;
    let (release, disc) = match chosen.as_ref().filter(|url| is_local(url)) {
        Some(directory) => in_directory(question, directory, client, &mut notes).await?,
        None => (release(question, rpm, client, &mut notes).await?, None),
    };
    let mut public_mirrors = distro.public_mirrors();
    let main = public_mirrors.first_mut().context("a distribution has an archive")?;
    if let Some(ended) = rpm.ended.as_ref().filter(|_| release.ended) {
        *main = Mirror::new(&distro.id, ended);
    }
    let mut mirrors = public_mirrors.clone();
    if let Some(url) = chosen {
        mirrors[0] = Mirror { disc, ..Mirror::new(&distro.id, &url) };
    } else if !question.offline {
        pin(question, &release, client, &mut mirrors[0], &mut notes).await?;
    }
    if release.ended {
        let from = mirrors[0].shown();
        notes.push(format!("{} {} has ended and gets no updates: taking it from {from}", distro.name, release.version));
    }
    // The installed system keeps its own way to its repositories, over the mirror manager.
    Ok(Sources { release, mirrors, public_mirrors, notes })
}

/// The release that a directory has, and how it is laid out if it is a disc. Nobody else is asked: what is released today is no
/// matter where there is nothing else to install from.
async fn in_directory(
    question: &Question<'_>,
    directory: &Url,
    client: &Client,
    notes: &mut Vec<String>,
) -> anyhow::Result<(ReleaseData, Option<Disc>)> {
    let named = |release: &ReleaseData| named(question, release);
    let (release, disc) = directory::rpm_release(question, directory, client, named).await?;
    if let Some(disc) = &disc {
        for loader in named(&release)?.loaders.iter().filter(|loader| loader.is_lacking(disc)) {
            let firmware: Vec<_> = loader.firmware.iter().map(ToString::to_string).collect();
            let firmware = firmware.join(" and ");
            notes.push(format!("{} has no boot loader for {firmware}: such machines are not served", shown(directory)));
        }
    }
    Ok((release, disc))
}

/// The release, and in a note what it was taken from, should that not be today's list.
async fn release(
    question: &Question<'_>,
    rpm: &RpmData,
    client: &Client,
    notes: &mut Vec<String>,
) -> anyhow::Result<ReleaseData> {
    let (distro, asked) = (question.distro, question.version);
    let Some(url) = &rpm.releases else { return choose(distro, asked, None, false) };
    let kept = Memory::of(question, &question.arch.to_string());
    let fresh = match question.offline {
        true => Err("--offline".to_owned()),
        false => listing(question, rpm, url, client).await.map_err(|error| {
            tracing::warn!("asking which releases there are: {error:#}");
            format!("{url} cannot say what is released today")
        }),
    };
    let (listing, why) = match fresh {
        Ok(listing) => {
            kept.keep(&listing);
            (Some(listing), None)
        }
        Err(why) => (kept.recall().filter(|kept: &Listing| !kept.releases.is_empty()), Some(why)),
    };
    let release = choose(distro, asked, listing.as_ref(), why.is_none())?;
    let named = format!("{} {}", distro.name, release.version);
    match (why, &listing) {
        _ if asked.is_some() => {}
        (Some(why), Some(listing)) => {
            let learnt = day(&listing.learnt);
            notes.push(format!("{why}: taking {named}, the newest one when it was asked on {learnt}"));
        }
        (Some(why), None) => notes.push(format!("{why}: taking {named}, the newest one that is known without asking")),
        (None, _) if distro.release(&release.version).is_err() => {
            notes.push(format!("{named} is newer than this program, which may not know the key that signs it"));
        }
        (None, _) => {}
    }
    Ok(release)
}

/// Today's releases for the architecture that is asked about.
async fn listing(question: &Question<'_>, rpm: &RpmData, url: &Url, client: &Client) -> anyhow::Result<Listing> {
    let names = ReleaseData { version: VERSION.into(), label: LABEL.into(), ..ReleaseData::default() };
    let names = named(question, &names)?;
    let image = rpm.checksum.as_ref().and(names.checksum).map(|checksum| ImageName(checksum.iso));
    let json = download::ask(client, url, releases::LIMIT, PATIENCE).await?;
    Listing::parse(&json, image.as_ref(), &names.arch_name, question.now).with_context(|| format!("reading {url}"))
}

/// The release with its paths, wherever it will come from.
fn named(question: &Question<'_>, release: &ReleaseData) -> anyhow::Result<Release> {
    let distro = Arc::clone(question.distro);
    let mirrors = distro.public_mirrors();
    Release::new(distro, release, question.flavour, question.arch, mirrors)
}

/// Puts the mirror that answers best in the place of the distributor's own server, which stays the last alternate.
async fn pin(
    question: &Question<'_>,
    release: &ReleaseData,
    client: &Client,
    mirror: &mut Mirror,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let repos = named(question, release)?.repos;
    let Some((repo, url)) = repos.first().and_then(|repo| Some((repo, repo.metalink.as_ref()?))) else {
        return Ok(());
    };
    let good = match mirrors::metalink(client, url).await {
        Ok(metalink) => mirrors::probe(client, &metalink, &repo.path).await,
        Err(error) => {
            tracing::warn!("asking for mirrors: {error:#}");
            notes.push(format!("{url} cannot say who has it: using {}", mirror.url));
            return Ok(());
        }
    };
    let mut good = good.into_iter();
    let Some(pinned) = good.next() else {
        notes.push(format!("no mirror that {url} names is up to date: using {}", mirror.url));
        return Ok(());
    };
    let master = std::mem::replace(&mut mirror.url, pinned);
    mirror.alternates = good.chain([master]).filter(|other| *other != mirror.url).collect();
    Ok(())
}
