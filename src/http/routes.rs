use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Path, Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::body::Incoming;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{Content, Desk, Heard, reply::Reply};
use crate::{
    mirror::{Lane, Proxy},
    model::Mac,
};

/// Largest body of a callback. SSH host keys are the longest: eight RSA keys of 8192 bits are 12 KiB.
const CALLBACK_LIMIT: usize = 16 << 10;

/// How long the body of a callback may take to arrive. Those who send one have it in memory.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that targets can reach.
#[derive(Clone)]
pub(super) struct Routes {
    mirror: Proxy,
    router: Router,
}

/// Who asks, and how it is answered; set for each connection.
#[derive(Clone)]
pub(super) struct Client {
    pub address: IpAddr,
    pub lane: Lane,
}

impl Routes {
    /// The whole table is here and in [`answer`](Self::answer).
    pub fn new(desk: Arc<dyn Desk>, mirror: Proxy) -> Self {
        let router = Router::new()
            .route("/answers/{mac}/{token}/{file}", get(answers))
            .route("/callback/{mac}/{token}/{name}", get(callback).post(callback))
            // Loaders look for their files from the root: each has its own idea of where.
            .fallback(get(boot_file))
            .layer(DefaultBodyLimit::max(CALLBACK_LIMIT))
            .with_state(desk);
        Self { mirror, router }
    }

    /// Answers a request. It never fails, as hyper wants to hear.
    pub async fn answer(
        &self,
        client: &Client,
        request: axum::http::Request<Incoming>,
    ) -> Result<axum::http::Response<Reply>, Infallible> {
        // Paths have to be written down only for who reads them.
        let what = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| format!("{} {}", request.method(), without_token(request.uri().path())));
        let response = match request.uri().path().strip_prefix("/mirror/") {
            Some(path) => {
                let (method, headers, lane) = (request.method(), request.headers(), Some(&client.lane));
                self.mirror.handle(client.address, method, path, headers, lane).await.map(Reply::Mirror)
            }
            None => {
                let mut request: Request = request.map(Body::new);
                request.extensions_mut().insert(client.clone());
                self.router.clone().oneshot(request).await?.map(Reply::House)
            }
        };
        if let Some(what) = what {
            tracing::debug!("HTTP {} {what}: {}", client.address, response.status().as_u16());
        }
        Ok(response)
    }
}

/// SECURITY: a machine's token lets whoever reads it have that machine's answers and report in its name. Logs are sent around.
fn without_token(path: &str) -> String {
    let mut parts: Vec<_> = path.split('/').collect();
    if let ["", "answers" | "callback", _, token, ..] = parts.as_mut_slice() {
        *token = "…";
    }
    parts.join("/")
}

/// `//` in a path is `/`.
///
/// QUIRK: shim asks for `<folder>//grubx64.efi`. A redirect to the clean path would end UEFI HTTP Boot: GRUB takes none.
pub(super) fn collapse_slashes<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path = request.uri().path();
    if !path.contains("//") {
        return request;
    }
    let mut clean = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !clean.ends_with('/') {
            clean.push(c);
        }
    }
    if let Some(query) = request.uri().query() {
        clean = format!("{clean}?{query}");
    }
    // A path that was valid with more slashes is valid with fewer.
    if let Ok(uri) = clean.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

async fn answers(
    State(desk): State<Arc<dyn Desk>>,
    Path((mac, token, file)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    match mac.parse::<Mac>().ok().and_then(|mac| desk.answers(mac, &token, &file)) {
        Some(content) => send(content, "application/octet-stream", request).await,
        None => not_found(),
    }
}

async fn callback(
    State(desk): State<Arc<dyn Desk>>,
    Path((mac, token, name)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let Ok(mac) = mac.parse() else { return StatusCode::NOT_FOUND.into_response() };
    let body = match timeout(CALLBACK_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return rejection.into_response(),
        // What still comes is not the next request (RFC 9110 §15.5.9).
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response(),
    };
    let status = match desk.callback(mac, &token, &name, &String::from_utf8_lossy(&body)) {
        Heard::Taken => {
            desk.settled().await;
            StatusCode::NO_CONTENT
        }
        Heard::Unknown => StatusCode::NOT_FOUND,
        Heard::Malformed => StatusCode::BAD_REQUEST,
    };
    status.into_response()
}

async fn boot_file(
    State(desk): State<Arc<dyn Desk>>,
    Extension(Client { address: client, .. }): Extension<Client>,
    request: Request,
) -> Response {
    let name = request.uri().path().trim_start_matches('/');
    // edk2 takes the type from here or from a lower-case `.efi`; anything else is just bytes (UEFI 2.10 §24.7.3.1).
    let mime = if name.ends_with(".efi") { "application/efi" } else { "application/octet-stream" };
    match desk.boot_file(client, name, request.method() == Method::GET) {
        Some(content) => send(content, mime, request).await,
        None => not_found(),
    }
}

/// `mime` is the media type of a file.
async fn send(content: Content, mime: &str, request: Request) -> Response {
    match content {
        Content::Text(text) => plain(text),
        Content::File(path) => {
            let file = ServeFile::new_with_mime(path, &mime.parse().expect("a media type"));
            file.oneshot(request).await.map_or_else(|never| match never {}, |response| response.map(Body::new))
        }
    }
}

/// QUIRK: with text in it. edk2 waits for the first byte of every body; of an empty one until the connection ends, and shim
/// looks for three files that are not there: three minutes of HTTP Boot (seen with OVMF and shim 16.1).
fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

fn plain(text: String) -> Response {
    // `no-store`: the next boot of the same machine may get another answer.
    ([(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_logged() {
        let token = "0123456789abcdef0123456789abcdef";
        for (path, shown) in [
            (format!("/answers/52:54:00:00:00:01/{token}/preseed.cfg"), "/answers/52:54:00:00:00:01/…/preseed.cfg"),
            (format!("/callback/52:54:00:00:00:01/{token}/failed"), "/callback/52:54:00:00:00:01/…/failed"),
            (format!("/answers/x/{token}"), "/answers/x/…"),
            ("/mirror/debian/dists/x".to_owned(), "/mirror/debian/dists/x"),
            ("/".to_owned(), "/"),
        ] {
            assert_eq!(without_token(&path), shown);
        }
    }

    #[test]
    fn slashes_are_collapsed_without_losing_the_query() {
        let rows = [
            ("/boot/x//grubx64.efi", "/boot/x/grubx64.efi"),
            ("//mirror///debian//a%2f%2fb?c//d", "/mirror/debian/a%2f%2fb?c//d"),
            ("/plain", "/plain"),
        ];
        for (given, expected) in rows {
            let request = axum::http::Request::builder().uri(given).body(()).expect("a request");
            assert_eq!(collapse_slashes(request).uri().to_string(), expected);
        }
    }
}
