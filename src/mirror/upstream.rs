use std::{iter, sync::Arc};

use anyhow::{Context, anyhow};
use axum::http::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING,
    },
};
use reqwest::Response;
use url::Url;

use super::{
    entity::Head,
    knowledge::Knowledge,
    route::{Class, Route},
};
use crate::{
    distro::{Mirror, address},
    fetch::{Client, Outgoing, Unanswered},
    model::Expected,
};

/// A file to be had from upstream.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// `<mirror id>/<path>`: its name in the store and in messages.
    pub key: String,
    /// Where upstream has it: the archive's mirror, and, only if its content is known, the alternates.
    pub sources: Vec<Url>,
    /// Whether its content can change.
    pub class: Class,
    /// What it must be, where that is known.
    pub content: Option<Expected>,
    /// Who says so, and is told of it.
    pub known: Arc<Knowledge>,
}

/// What upstream answered about a stored copy.
#[derive(Debug)]
pub(super) enum News {
    /// It is still right.
    NotModified,
    /// Here is another.
    Changed(Response),
}

/// Why upstream's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// There is no such file.
    #[error("there is no such file upstream")]
    Gone,
    /// The next try may go better.
    #[error("{0:#}")]
    Broken(anyhow::Error),
    /// The next try would end the same.
    #[error("{0:#}")]
    Final(anyhow::Error),
    /// This mirror has another file than the one that is known.
    #[error("{0:#}")]
    Wrong(anyhow::Error),
    /// This machine's disk did not do its part: no mirror's fault, and none can help.
    #[error("{0:#}")]
    Store(anyhow::Error),
}

impl Wanted {
    /// The file of a route, and what it must be, where that is known.
    pub fn new(mirror: &Mirror, route: &Route, known: Arc<Knowledge>, content: Option<Expected>) -> Self {
        // SECURITY: two mirrors may have two versions. Only what is compared with a digest may come from any of them.
        let alternates = mirror.alternates.iter().filter(|_| content.is_some()).map(address::root);
        let roots = iter::once(mirror.url.clone()).chain(alternates);
        Self {
            key: format!("{}/{}", mirror.id, route.path),
            sources: roots.map(|root| address::below(&root, &route.path)).collect(),
            class: route.class,
            content,
            known,
        }
    }

    /// The archive's id, and the path below its root.
    pub fn place(&self) -> (&str, &str) {
        self.key.split_once('/').expect("a key is a mirror's id and a path")
    }

    /// `<key> from <host>`, with the port where it is not the usual one, or `<key> from <file>`. The URL itself may hold a
    /// password.
    pub fn origin(&self, source: usize) -> String {
        let url = &self.sources[source];
        if address::is_local(url) {
            return format!("{} from {}", self.key, address::shown(url));
        }
        format!("{} from {}", self.key, site(url))
    }
}

/// Asks for a file, once.
pub(super) async fn open(client: &Client, url: &Url) -> Result<Response, Trouble> {
    found(url, send(client.get(url.clone())).await?)
}

/// Asks, once, whether a stored copy is still right.
pub(super) async fn revalidate(client: &Client, url: &Url, stored: &Head) -> Result<News, Trouble> {
    let request = with(client.get(url.clone()), IF_NONE_MATCH, stored.etag.as_deref());
    let response = send(with(request, IF_MODIFIED_SINCE, stored.last_modified.as_deref())).await?;
    match response.status() {
        StatusCode::NOT_MODIFIED => Ok(News::NotModified),
        _ => found(url, response).map(News::Changed),
    }
}

/// What there is of a file already, when the rest of it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun<'a> {
    /// The validators that the rest must come with. `None` where the content is known and will be compared as a whole: mirrors
    /// of one archive give a file validators of their own.
    pub head: Option<&'a Head>,
    /// Whether the content can change.
    pub class: Class,
    /// Bytes of the whole file, if that is known.
    pub length: Option<u64>,
    /// Bytes that are there.
    pub offset: u64,
}

/// Asks, once, for the rest of a file.
///
/// Returns the answer and how many of its first bytes are known already: an upstream without ranges begins again.
///
/// Bytes of two versions must never meet in one file. So the validators of the first answer must come again; only a file
/// that cannot change may do without.
pub(super) async fn resume(client: &Client, url: &Url, begun: Begun<'_>) -> Result<(Response, u64), Trouble> {
    let Begun { head, class, length, offset } = begun;
    // RFC 9110 §13.1.5: If-Range takes a strong ETag or a date.
    let validator = head.and_then(|head| {
        let strong = head.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(head.last_modified.as_deref())
    });
    if head.is_some() && validator.is_none() && class == Class::Volatile && offset > 0 {
        return Err(Trouble::Final(anyhow!("it cannot be resumed: upstream gave it neither an ETag nor a date")));
    }
    let mut request = client.get(url.clone());
    if offset > 0 {
        request = with(request.header(RANGE, &format!("bytes={offset}-")), IF_RANGE, validator);
    }
    let response = send(request).await?;
    let headers = response.headers();
    let (known, total) = match response.status() {
        StatusCode::OK => (offset, content_length(headers)),
        StatusCode::PARTIAL_CONTENT => {
            let range = text(headers, CONTENT_RANGE).unwrap_or_default();
            let from = format!("bytes {offset}-");
            let total = range.strip_prefix(&from).and_then(|rest| rest.split_once('/')).map(|(_, total)| total.parse());
            (0, total.ok_or_else(|| Trouble::Final(anyhow!("upstream sent the range {range:?} for {from:?}")))?.ok())
        }
        other => return Err(Trouble::Final(anyhow!("upstream answered {other} to a request for the rest"))),
    };
    // The answer to If-Range may leave out what the client is known to have (RFC 9110 §15.3.7).
    let partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let same = |then: &Option<String>, name: HeaderName| {
        let now = text(headers, name);
        then.is_none() || now == *then || partial && now.is_none()
    };
    let same_version = head.is_none_or(|head| same(&head.etag, ETAG) && same(&head.last_modified, LAST_MODIFIED));
    // A known content may come without a length, as in chunks; it is compared as a whole.
    let same_length = length.is_none() || total == length || head.is_none() && total.is_none();
    if same_version && same_length {
        Ok((response, known))
    } else {
        Err(Trouble::Final(anyhow!("upstream changed it meanwhile")))
    }
}

/// What an answer says of its file.
pub(super) fn head(headers: &HeaderMap) -> Head {
    Head {
        etag: text(headers, ETAG),
        last_modified: text(headers, LAST_MODIFIED),
        content_type: text(headers, CONTENT_TYPE),
    }
}

/// The length that an answer announces.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// Refuses a compressed form of a file (RFC 9110 §8.4): nobody asked for one, but some servers and caches compress what they send.
///
/// A known content is what its digest says, whatever a server calls it; and a file may be a compressed one itself.
pub(super) fn plain(wanted: &Wanted, response: &Response) -> Result<(), Trouble> {
    let encoding = text(response.headers(), CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
    let own = encoding.ends_with("gzip") && wanted.key.ends_with(".gz");
    if own || wanted.content.is_some() || matches!(encoding.as_str(), "" | "identity") {
        return Ok(());
    }
    Err(Trouble::Final(anyhow!("upstream sent it in the encoding {encoding:?}, which nobody asked for")))
}

/// Whether a cut connection can be told from the end of the body (RFC 9112 §6.3).
pub(super) fn is_delimited(headers: &HeaderMap) -> bool {
    content_length(headers).is_some() || headers.contains_key(TRANSFER_ENCODING)
}

/// Redirects are followed by the client, ten at most and to `http` and `https` only.
async fn send(request: Outgoing) -> Result<Response, Trouble> {
    // Stored is what the archive has, not a compressed form of it.
    let sent = request.header(ACCEPT_ENCODING, "identity").send().await;
    let response = sent.map_err(|error| {
        let hopeless = match &error {
            // Silence has lasted long enough for whoever waits; a refused or reset connection is quickly tried again.
            Unanswered::Server(error) => error.is_timeout() || error.is_redirect() || error.is_builder(),
            Unanswered::File { .. } => true,
        };
        let error = Err::<(), _>(error).context("asking upstream").expect_err("it is an error");
        if hopeless { Trouble::Final(error) } else { Trouble::Broken(error) }
    })?;
    match response.status() {
        StatusCode::NOT_FOUND => Err(Trouble::Gone),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Trouble::Broken(anyhow!("upstream answered {status}")))
        }
        _ => Ok(response),
    }
}

fn found(asked: &Url, response: Response) -> Result<Response, Trouble> {
    match response.status() {
        StatusCode::OK if is_folder(asked, response.url()) => Err(Trouble::Gone),
        // A portal's welcome, or the home page of an archive that has moved: that says nothing of the file.
        StatusCode::OK if response.url().path().ends_with('/') => {
            Err(Trouble::Final(anyhow!("upstream leads elsewhere, to a page of {}", site(response.url()))))
        }
        StatusCode::OK => Ok(response),
        other => Err(Trouble::Final(anyhow!("upstream answered {other}"))),
    }
}

/// Whether upstream led `…/name` to `…/name/`, on whichever server: what it has of that name is a folder, whose listing is no file.
fn is_folder(asked: &Url, answered: &Url) -> bool {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    answered.path().strip_suffix('/').is_some_and(|folder| name(folder) == name(asked.path()))
}

/// The host of a URL, with its port where it is not the usual one. The rest may hold a password.
fn site(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or("upstream"))
}

fn with(request: Outgoing, name: HeaderName, value: Option<&str>) -> Outgoing {
    match value {
        Some(value) => request.header(name, value),
        None => request,
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mirror::{Immutable, Unlisted, route::route},
        model::Sha256Digest,
    };

    fn wanted(mirror: &Mirror, path: &str, content: Option<Expected>) -> Wanted {
        let route = route(std::slice::from_ref(mirror), &Immutable::default(), path).expect("a route");
        Wanted::new(mirror, &route, Arc::new(Knowledge::of(Arc::new(Unlisted))), content)
    }

    #[test]
    fn every_spelling_of_a_request_asks_upstream_in_one() {
        let mirror = Mirror::new("d", &"http://a.test/debian".parse().expect("a URL"));
        for path in ["d/pool/g++_1%7e2%20x.deb", "d//pool/g%2b%2B_1~2%20x.deb"] {
            let sources = wanted(&mirror, path, None).sources;
            assert_eq!(
                sources.iter().map(Url::as_str).collect::<Vec<_>>(),
                ["http://a.test/debian/pool/g++_1~2%20x.deb"]
            );
        }
    }

    #[test]
    fn only_a_known_content_has_other_sources_than_the_archives_mirror() {
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        let mirror =
            Mirror { alternates: vec![url("http://b.test/linux/")], ..Mirror::new("d", &url("http://a.test/")) };
        let content = Expected { size: None, sha256: Sha256Digest([0; 32]) };
        assert_eq!(wanted(&mirror, "d/x", None).sources, [url("http://a.test/x")]);
        assert_eq!(
            wanted(&mirror, "d/x", Some(content)).sources,
            [url("http://a.test/x"), url("http://b.test/linux/x")]
        );
    }

    #[test]
    fn messages_do_not_tell_the_upstream_password() {
        let mirror = Mirror::new("d", &"http://me:secret@a.test/".parse().expect("a URL"));
        assert_eq!(wanted(&mirror, "d/a", None).origin(0), "d/a from a.test");
        let mirror = Mirror::new("d", &"file:///srv/debian/".parse().expect("a URL"));
        assert_eq!(wanted(&mirror, "d/a b", None).origin(0), "d/a b from /srv/debian/a b");
    }

    #[test]
    fn only_the_file_s_own_name_with_a_slash_is_a_folder() {
        let url = |text: &str| text.parse::<Url>().expect("a URL");
        let asked = url("http://a.test/debian/dists/trixie/main");
        for (answered, folder) in [
            ("http://a.test/debian/dists/trixie/main/", true),
            ("https://cdn.test/snapshot/1/dists/trixie/main/", true),
            ("http://a.test/debian/dists/trixie/main", false),
            ("http://portal.test/", false),
            ("http://a.test/debian/", false),
            ("http://a.test/domain/", false),
            ("http://a.test/main//", false),
        ] {
            assert_eq!(is_folder(&asked, &url(answered)), folder, "{answered}");
        }
    }
}
