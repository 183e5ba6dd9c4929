//! What the archive's mirror does wrong costs a client of a known file nothing while another mirror has it.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use provisioner::mirror::Known;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    archive::{Archive, FILE, KEY, Script, digest, expected, flipped, script},
    bench::content,
    upstream::{Act, file, found, head, plain},
};

/// Shorter than what is held back until the verdict, and longer.
const SMALL: usize = 10_000;
const LARGE: usize = 400_000;

fn right(body: &[u8]) -> Script {
    script(body, |asked, body| file(asked, body, "\"theirs\""))
}

fn wrong(body: &[u8]) -> Script {
    script(&flipped(body), |asked, body| file(asked, body, "\"v1\""))
}

/// A mirror that does this to every request.
fn faulty(fault: &'static str, body: &[u8]) -> Script {
    let silence = || Act::Wait(Arc::new(Semaphore::new(0)));
    script(body, move |_, body| {
        let begin = [found(body.len(), "\"v1\""), Act::Send(body[..body.len() / 2].to_vec())];
        match fault {
            "404" => plain("404 Not Found", b"no"),
            "403" => plain("403 Forbidden", b"no"),
            "503" => plain("503 Service Unavailable", b"busy"),
            "a redirect loop" => vec![head("302 Found", &[("Location", "/debian/again"), ("Content-Length", "0")])],
            "a reset before the head" => vec![Act::Reset],
            "silence before the head" => vec![silence()],
            "silence after the head" => vec![found(body.len(), "\"v1\""), silence()],
            "silence half-way" => begin.into_iter().chain([silence()]).collect(),
            "truncated" => begin.into(),
            "a reset half-way" => begin.into_iter().chain([Act::Reset]).collect(),
            "another length" => vec![found(body.len() - 1, "\"v1\""), Act::Send(body[1..].to_vec())],
            other => unreachable!("{other}"),
        }
    })
}

#[tokio::test]
async fn whatever_is_wrong_with_the_mirror_the_alternate_delivers_unseen() {
    let mut cases = JoinSet::new();
    for fault in [
        "404",
        "403",
        "503",
        "a redirect loop",
        "a reset before the head",
        "silence before the head",
        "silence after the head",
        "silence half-way",
        "truncated",
        "a reset half-way",
        "another length",
    ] {
        for length in [SMALL, LARGE] {
            cases.spawn(async move {
                let body = content(length);
                let mut archive = Archive::with_file(&body, [faulty(fault, &body), right(&body)]).await;
                let got = archive.get().await;
                assert_eq!(got.status, StatusCode::OK, "{fault}, {length}");
                assert!(got.body.as_ref() == Some(&body), "{fault}, {length}");
                assert_eq!(got.headers["etag"], format!("\"{}\"", digest(&body)), "one, whoever delivers");
                assert_eq!(got.headers["content-length"], length.to_string());
                let served = archive.served.recv().await.expect("a report");
                assert!(served.complete && served.verified, "{fault}: {served:?}");
                archive.proxy.landed().await;
                assert!(archive.is_stored(), "{fault}");
                let asked = archive.mirrors[1].asked();
                assert_eq!(asked[0].header("if-range"), None, "{fault}: validators are each mirror's own");
                match (fault, asked[0].header("range")) {
                    ("truncated" | "silence half-way", range) => {
                        assert_eq!(range, Some(&*format!("bytes={}-", length / 2)), "{fault}");
                    }
                    // It may take bytes with it that had arrived.
                    ("a reset half-way", _) => {}
                    (_, range) => assert_eq!(range, None, "{fault}"),
                }
            });
        }
    }
    while let Some(case) = cases.join_next().await {
        case.expect("delivered");
    }
}

#[tokio::test]
async fn a_short_file_that_is_wrong_is_never_seen() {
    let body = content(SMALL);
    let archive = Archive::with_file(&body, [wrong(&body), right(&body)]).await;
    let part = archive.ask(Method::GET, KEY, &[("range", "bytes=10-19")]).await;
    assert_eq!((part.status, part.body.as_deref()), (StatusCode::PARTIAL_CONTENT, Some(&body[10..20])));
    assert!(archive.get().await.body == Some(body));
    assert_eq!((archive.asked(), archive.proxy.contradictions()), (vec![1, 1], 1));
}

#[tokio::test]
async fn a_long_file_that_is_wrong_breaks_and_the_next_request_goes_elsewhere() {
    let body = content(LARGE);
    let mut archive = Archive::with_file(&body, [wrong(&body), right(&body)]).await;
    assert_eq!(archive.get().await.body, None);
    assert!(archive.served.recv().await.expect("a report").bytes < LARGE as u64);
    assert!(!archive.is_stored());
    assert!(archive.get().await.body == Some(body));
    assert_eq!((archive.asked(), archive.proxy.contradictions()), (vec![1, 1], 1));
}

#[tokio::test]
async fn no_part_of_a_wrong_file_is_whole() {
    let body = content(LARGE);
    let archive = Archive::with_file(&body, [wrong(&body)]).await;
    assert_eq!(archive.ask(Method::GET, KEY, &[("range", "bytes=10-19")]).await.body, None);
}

#[tokio::test]
async fn halves_of_two_mirrors_that_do_not_fit_are_replaced_by_a_whole_of_one() {
    for length in [SMALL, LARGE] {
        let body = content(length);
        let lying = script(&[&[1], &body[1..]].concat(), |_, lie| {
            vec![found(lie.len(), "\"v1\""), Act::Send(lie[..lie.len() / 2].to_vec())]
        });
        let archive = Archive::with_file(&body, [lying, right(&body)]).await;
        if length == LARGE {
            assert_eq!(archive.get().await.body, None);
        }
        assert!(archive.get().await.body.as_ref() == Some(&body), "{length}");
        assert_eq!((archive.asked(), archive.proxy.contradictions()), (vec![1, 2], 1), "{length}");
    }
}

#[tokio::test]
async fn a_mirror_that_failed_is_not_asked_first_again() {
    let (body, other) = (content(SMALL), content(SMALL / 2));
    let both = |asked: &super::upstream::Asked, body: &[u8]| match asked.path.ends_with(FILE) {
        true => file(asked, body, "\"v1\""),
        false => file(asked, &body[..SMALL / 2], "\"v1\""),
    };
    let archive = Archive::with_file(&body, [faulty("503", &body), script(&body, both)]).await;
    archive.book.write("Packages/o/other.rpm", Known::Content(expected(&other)));
    assert!(archive.get().await.body == Some(body));
    assert!(archive.ask(Method::GET, "debian/Packages/o/other.rpm", &[]).await.body == Some(other));
    assert_eq!(archive.asked(), [1, 2]);
}

#[tokio::test]
async fn a_file_of_unknown_content_comes_from_the_archives_mirror_or_not_at_all() {
    for (fault, status) in [("404", 404), ("403", 502), ("503", 502)] {
        let body = content(SMALL);
        let mut archive = Archive::start([faulty(fault, &body), right(&body)]).await;
        assert_eq!(archive.get().await.status.as_u16(), status, "{fault}");
        assert_eq!(archive.asked()[1], 0, "{fault}");
        assert!(!archive.served.recv().await.expect("a report").verified);
    }
}

#[tokio::test]
async fn where_all_mirrors_are_wrong_the_answer_says_what_and_nothing_is_kept() {
    let body = content(SMALL);
    let archive = Archive::with_file(&body, [wrong(&body), faulty("404", &body), wrong(&body)]).await;
    let got = archive.get().await;
    let text = String::from_utf8(got.body.expect("a body")).expect("text");
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    let named = [KEY, &digest(&body).to_string(), &digest(&flipped(&body)).to_string()].map(|name| text.contains(name));
    assert!(named == [true; 3] && text.contains(&archive.mirrors[2].address.to_string()), "{text}");
    assert_eq!((archive.asked(), archive.proxy.contradictions()), (vec![1, 1, 1], 2));
    assert!(!archive.is_stored());

    let body = content(LARGE);
    let archive = Archive::with_file(&body, [wrong(&body), wrong(&body)]).await;
    for asked in [[1, 0], [1, 1], [2, 1]] {
        assert_eq!(archive.get().await.body, None);
        assert_eq!(archive.asked(), asked);
    }
    assert!(!archive.is_stored());
}

#[tokio::test]
async fn only_a_404_of_every_mirror_is_one() {
    let body = content(SMALL);
    for (faults, status, asked) in
        [(["404", "404"], 404, vec![1, 1]), (["404", "403"], 502, vec![1, 1]), (["503", "404"], 502, vec![5, 1])]
    {
        let archive = Archive::with_file(&body, faults.map(|fault| faulty(fault, &body))).await;
        assert_eq!(archive.get().await.status.as_u16(), status, "{faults:?}");
        assert_eq!(archive.asked(), asked, "{faults:?}");
    }
}
