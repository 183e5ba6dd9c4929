use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{Content, Desk, Heard};
use crate::{mirror::Proxy, model::Mac};

/// Largest body of a callback. SSH host keys are the longest: eight RSA keys of 8192 bits are 12 KiB.
const CALLBACK_LIMIT: usize = 16 << 10;

#[derive(Clone)]
pub(super) struct House {
    pub desk: Arc<dyn Desk>,
    pub mirror: Proxy,
}

/// The address that a request came from; set for each connection.
#[derive(Clone, Copy)]
pub(super) struct Client(pub IpAddr);

/// Everything that targets can reach.
pub(super) fn table(house: House) -> Router {
    Router::new()
        .route("/mirror/{*path}", any(mirror))
        .route("/answers/{mac}/{token}/{file}", get(answers))
        .route("/callback/{mac}/{token}/{name}", get(callback).post(callback))
        // Loaders look for their files from the root: each has its own idea of where.
        .fallback(get(boot_file))
        .layer(DefaultBodyLimit::max(CALLBACK_LIMIT))
        .with_state(house)
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

async fn mirror(
    State(house): State<House>,
    Extension(Client(client)): Extension<Client>,
    request: Request,
) -> Response {
    let path = request.uri().path().strip_prefix("/mirror/").unwrap_or_default();
    house.mirror.handle(client, request.method(), path, request.headers()).await
}

async fn answers(
    State(house): State<House>,
    Path((mac, token, file)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    match mac.parse::<Mac>().ok().and_then(|mac| house.desk.answers(mac, &token, &file)) {
        Some(content) => send(content, "application/octet-stream", request).await,
        None => not_found(),
    }
}

async fn callback(
    State(house): State<House>,
    Path((mac, token, name)): Path<(String, String, String)>,
    body: Bytes,
) -> StatusCode {
    let Ok(mac) = mac.parse() else { return StatusCode::NOT_FOUND };
    let heard = house.desk.callback(mac, &token, &name, &String::from_utf8_lossy(&body));
    match heard {
        Heard::Taken => {
            house.desk.settled().await;
            StatusCode::NO_CONTENT
        }
        Heard::Unknown => StatusCode::NOT_FOUND,
        Heard::Malformed => StatusCode::BAD_REQUEST,
    }
}

async fn boot_file(
    State(house): State<House>,
    Extension(Client(client)): Extension<Client>,
    request: Request,
) -> Response {
    let name = request.uri().path().trim_start_matches('/');
    // edk2 takes the type from here or from a lower-case `.efi`; anything else is just bytes (UEFI 2.10 §24.7.3.1).
    let mime = if name.ends_with(".efi") { "application/efi" } else { "application/octet-stream" };
    match house.desk.boot_file(client, name, request.method() == Method::GET) {
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
