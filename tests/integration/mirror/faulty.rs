//! What a faulty upstream answers, by the name of its fault.

use std::sync::Arc;

use flate2::{Compression, write::GzEncoder};
use tokio::sync::Semaphore;

use super::{
    archive::flipped,
    upstream::{Act, Asked, DATE, file, found, head, plain},
};

const V1: &str = "\"v1\"";
const PAGE: &[u8] = b"<html>Welcome to the hotel</html>";

/// For ever.
fn silence() -> Act {
    Act::Wait(Arc::new(Semaphore::new(0)))
}

fn chunks(parts: &[&[u8]]) -> Vec<u8> {
    let chunk = |part: &&[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    parts.iter().flat_map(chunk).collect()
}

fn chunked(etag: &str) -> Act {
    head("200 OK", &[("Transfer-Encoding", "chunked"), ("ETag", etag), ("Last-Modified", DATE)])
}

fn ended(mut chunks: Vec<u8>) -> Act {
    chunks.extend(b"0\r\n\r\n");
    Act::Send(chunks)
}

/// A `206` with this `Content-Range`, and whatever validators.
fn part(range: &str, etag: &str, bytes: &[u8]) -> Vec<Act> {
    let length = bytes.len().to_string();
    let headers = [("Content-Length", &*length), ("Content-Range", range), ("ETag", etag)];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    vec![head("206 Partial Content", &headers), Act::Send(bytes.to_vec())]
}

fn moved(to: &str) -> Vec<Act> {
    vec![head("302 Found", &[("Location", to), ("Content-Length", "0")])]
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("a vector");
    encoder.finish().expect("a vector")
}

/// Where a request for the rest wants to begin.
fn offset(asked: &Asked) -> usize {
    let from = asked.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    from.unwrap_or(0)
}

/// What a whole answer with this fault in it says that the file is.
pub fn theirs(fault: &str, body: &[u8]) -> Vec<u8> {
    match fault {
        "less announced than sent" => body[..body.len() - 1].to_vec(),
        "more in chunks" => [body, b"more"].concat(),
        "another file" => flipped(body),
        "an error page as a file" | "an error page in chunks" => PAGE.to_vec(),
        "nothing" => Vec::new(),
        _ => body.to_vec(),
    }
}

/// The answer of an upstream with this fault.
pub fn answer(fault: &str, asked: &Asked, body: &[u8]) -> Vec<Act> {
    let sound = || file(asked, body, V1);
    let (first, length) = (asked.number == 0, body.len());
    let half = || vec![found(length, V1), Act::Send(body[..length / 2].to_vec())];
    let half_and = |act: Act| half().into_iter().chain([act]).collect::<Vec<_>>();
    if let Some(then) = fault.strip_prefix("truncated, then ") {
        return if first { half() } else { rest(then, asked, body) };
    }
    if let Some(fault) = fault.strip_prefix("a redirect, ") {
        return if asked.path.ends_with("/elsewhere") {
            answer(fault, &Asked { number: asked.number / 2, ..asked.clone() }, body)
        } else {
            moved("/elsewhere")
        };
    }
    match fault {
        fault if fault.ends_with(", once") && !first => sound(),
        "in small pieces" => {
            [found(length, V1)].into_iter().chain(body.chunks(997).map(|it| Act::Send(it.into()))).collect()
        }
        "chunked" => vec![chunked(V1), ended(chunks(&body.chunks(4096).collect::<Vec<_>>()))],
        "no length" => vec![head("200 OK", &[]), Act::Send(body.to_vec())],
        "no length and truncated, once" => vec![head("200 OK", &[]), Act::Send(body[..length / 2].to_vec())],
        "silence before the head" => vec![silence()],
        "silence after the head, once" => vec![found(length, V1), silence()],
        "silence half-way, once" => half_and(silence()),
        "truncated, once" | "truncated, ranges unheard of" => half(),
        "truncated at every tenth" => {
            let mut acts = sound();
            if let Some(Act::Send(bytes)) = acts.last_mut() {
                bytes.truncate(length / 10);
            }
            acts
        }
        "truncated without validators" => match first {
            true => vec![plain("200 OK", body).remove(0), Act::Send(body[..length / 2].to_vec())],
            false => part(&format!("bytes {}-{}/{length}", offset(asked), length - 1), "", &body[offset(asked)..]),
        },
        "truncated and gone" if first => half(),
        "truncated and forbidden" if first => half(),
        "chunks that end, once" => vec![chunked(V1), Act::Send(chunks(&[&body[..length / 2]]))],
        "chunks that are none" if first => {
            vec![chunked(V1), Act::Send([&chunks(&[&body[..length / 2]])[..], b"none\r\n"].concat())]
        }
        "chunks that are none" => sound(),
        "reset before the head, once" => vec![Act::Reset],
        "reset half-way, once" => half_and(Act::Reset),
        "reset half-way, ranges unheard of" if first => half_and(Act::Reset),
        "reset half-way, ranges unheard of" => vec![found(length, V1), Act::Send(body.to_vec())],
        "503, once" => plain("503 Service Unavailable", b"busy"),
        "429, twice" if asked.number < 2 => plain("429 Too Many Requests", b"busy"),
        "429, twice" => sound(),
        "500" => plain("500 Internal Server Error", b"no"),
        "403" | "truncated and forbidden" => plain("403 Forbidden", b"no"),
        "404" | "truncated and gone" => plain("404 Not Found", b"no"),
        "410" => plain("410 Gone", b"no"),
        "204" => vec![head("204 No Content", &[])],
        "206 unasked" => part(&format!("bytes 0-9/{length}"), V1, &body[..10]),
        "304 unasked" => vec![head("304 Not Modified", &[("ETag", V1)])],
        "no HTTP" => vec![Act::Send(b"220 ready for FTP\r\n".to_vec())],
        "a redirect" if asked.path.ends_with("/elsewhere") => sound(),
        "a redirect" => moved("/elsewhere"),
        "a redirect loop" => moved("/debian/again"),
        "a redirect to nowhere" => moved("gopher://127.0.0.1/"),
        "a redirect to a folder" if asked.path.ends_with('/') => plain("200 OK", PAGE),
        "a redirect to a folder" => moved(&format!("{}/", asked.path)),
        "a redirect to a portal" if asked.path == "/" => plain("200 OK", PAGE),
        "a redirect to a portal" => moved("/"),
        "less announced than sent" => vec![found(length - 1, V1), Act::Send(body.to_vec())],
        "more announced than sent" => vec![found(length + 1, V1), Act::Send(body.to_vec())],
        "another file" => file(asked, &theirs(fault, body), V1),
        "more in chunks" | "an error page in chunks" => vec![chunked(V1), ended(chunks(&[&theirs(fault, body)]))],
        "an error page as a file" | "nothing" => plain("200 OK", &theirs(fault, body)),
        "compressed" => compressed(&gzip(body)),
        "compressed, as long as it is" => compressed(&flipped(body)),
        other => unreachable!("{other}"),
    }
}

fn compressed(bytes: &[u8]) -> Vec<Act> {
    let headers = [("Content-Encoding", "gzip"), ("Content-Length", &*bytes.len().to_string())];
    vec![head("200 OK", &headers), Act::Send(bytes.to_vec())]
}

/// The answers to requests for the rest of a body that was truncated.
fn rest(then: &str, asked: &Asked, body: &[u8]) -> Vec<Act> {
    let (from, length) = (offset(asked), body.len());
    let range = |first: usize, total: usize| format!("bytes {first}-{}/{total}", length - 1);
    match then {
        "ranges unheard of" => vec![found(length, V1), Act::Send(body.to_vec())],
        "another version" => vec![found(length, "\"v2\""), Act::Send(flipped(body)[..].to_vec())],
        "a rest of another" => part(&range(from, length), "\"v2\"", &vec![0; length - from]),
        "another range" => part(&range(0, length), V1, body),
        "a range of no place" => part("", V1, &body[from..]),
        "another total" => part(&range(from, length + 1), V1, &body[from..]),
        "304" => vec![head("304 Not Modified", &[("ETag", V1)])],
        "416" => plain("416 Range Not Satisfiable", b""),
        "half of the rest" if asked.number == 1 => {
            let end = from + (length - from) / 2;
            part(&format!("bytes {from}-{}/{length}", end - 1), V1, &body[from..end])
        }
        "503 twice" if asked.number < 3 => plain("503 Service Unavailable", b"busy"),
        "half of the rest" | "503 twice" => file(asked, body, V1),
        other => unreachable!("{other}"),
    }
}
