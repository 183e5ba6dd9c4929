//! Which mirror: asked of the mirror manager, probed, and one pinned for the run.
//!
//! A redirector answers each request with another mirror, and they are not all at the same state: one that is pinned, and
//! known to have the right `repomd.xml`, has everything that this names.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::timeout;
use url::Url;

use super::{
    metalink::{self, Metalink, is, seen},
    repomd,
};
use crate::{
    distro::address::{below, join, root},
    fetch::{Client, digest::Expected, download::ask},
};

/// How long a server may take to answer a question about one small file.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long a mirror may take to be considered.
const PROBE: Duration = Duration::from_secs(5);
/// How long others are waited for when one has answered rightly: they become its alternates.
const GRACE: Duration = Duration::from_secs(1);
/// How many are asked at once, and how often, before the master is taken.
const BATCH: usize = 6;
const BATCHES: usize = 4;

/// `repodata/repomd.xml` of a repository.
pub fn repomd_of(repo: &str) -> String {
    join(repo, "repodata/repomd.xml")
}

/// What the mirror manager says of a repository.
///
/// # Errors
/// When it does not answer, or not with a metalink.
pub async fn metalink(client: &Client, url: &Url) -> anyhow::Result<Metalink> {
    let document = ask(client, url, metalink::LIMIT, PATIENCE).await?;
    Metalink::parse(&document).with_context(|| format!("reading the metalink {url}"))
}

/// The archives' roots that a metalink of the repository at `repo` names, best first.
pub fn roots(metalink: &Metalink, repo: &str) -> Vec<Url> {
    let mut roots = Vec::new();
    let tail = format!("/{}", repomd_of(repo));
    for url in &metalink.urls {
        let Some(path) = url.path().strip_suffix(&tail) else { continue };
        let mut found = url.clone();
        found.set_path(path);
        let found = root(&found);
        if !roots.contains(&found) {
            roots.push(found);
        }
    }
    roots
}

/// The mirrors that have the very `repomd.xml` the metalink names, in the order of their answers: the first is to be pinned.
pub async fn probe(client: &Client, metalink: &Metalink, repo: &str) -> Vec<Url> {
    let candidates = roots(metalink, repo);
    for batch in candidates.chunks(BATCH).take(BATCHES) {
        let mut probes: FuturesUnordered<_> =
            batch.iter().map(|candidate| has(client, candidate, repo, metalink.current)).collect();
        let mut good: Vec<Url> = Vec::new();
        loop {
            let next = match good.is_empty() {
                true => probes.next().await,
                false => timeout(GRACE, probes.next()).await.unwrap_or(None),
            };
            match next {
                Some(answer) => good.extend(answer.cloned()),
                None => break,
            }
        }
        if !good.is_empty() {
            return good;
        }
    }
    Vec::new()
}

/// The mirror, if it has the file.
async fn has<'a>(client: &Client, mirror: &'a Url, repo: &str, expected: Expected) -> Option<&'a Url> {
    let url = below(mirror, &repomd_of(repo));
    match ask(client, &url, repomd::LIMIT, PROBE).await {
        Ok(bytes) if is(&expected, seen(&bytes)) => Some(mirror),
        Ok(_) => {
            tracing::debug!("{url} is not up to date");
            None
        }
        Err(error) => {
            tracing::debug!("{:#}", anyhow::Error::from(error));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrors_root_is_what_precedes_the_repository() {
        let digest = Expected { size: None, sha256: "1".repeat(64).parse().expect("a digest") };
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        let urls = [
            "https://a.test/pub/fedora/linux/releases/44/Everything/x86_64/os/repodata/repomd.xml",
            "https://a.test/pub/fedora/linux/releases/44/Everything/x86_64/os/repodata/repomd.xml",
            "https://b.test/releases/44/Everything/x86_64/os/repodata/repomd.xml",
            "https://c.test/44/os/repodata/repomd.xml",
            "https://d.test/xreleases/44/Everything/x86_64/os/repodata/repomd.xml",
        ];
        let metalink = Metalink { current: digest, earlier: vec![], urls: urls.map(url).to_vec() };
        assert_eq!(
            roots(&metalink, "releases/44/Everything/x86_64/os"),
            [url("https://a.test/pub/fedora/linux"), url("https://b.test/")]
        );
    }
}
