//! What the ledger says goes before what upstream says.

use std::{fs, sync::Arc};

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use provisioner::mirror::Known;
use tokio::sync::Semaphore;

use super::{
    archive::{Archive, FILE, KEY, digest, expected, flipped, script},
    bench::{content, drain, receive, request},
    upstream::{Act, file, found, head},
};

#[tokio::test]
async fn what_is_refused_is_not_there_whatever_upstream_has() {
    let mut archive = Archive::start([script(b"#!/bin/sh", |asked, body| file(asked, body, "\"v1\""))]).await;
    assert_eq!(archive.get().await.status, StatusCode::OK);
    archive.book.write(FILE, Known::Refused("nothing vouches for it"));
    for method in [Method::GET, Method::HEAD] {
        let got = archive.ask(method.clone(), KEY, &[]).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND);
        let text = String::from_utf8(got.body.expect("a body")).expect("text");
        assert!(method == Method::HEAD || text.contains(KEY) && text.contains("vouches"), "{text}");
    }
    archive.reopen(true).await;
    assert_eq!(archive.get().await.status, StatusCode::NOT_FOUND);
    assert_eq!(archive.asked(), [1]);
}

#[tokio::test]
async fn what_is_here_is_served_in_place_of_upstreams() {
    let body = content(300_000);
    let mut archive = Archive::start([script(b"other", |asked, body| file(asked, body, "\"v1\""))]).await;
    let cached = archive.folder.path().join("cached");
    fs::write(&cached, &body).expect("written");
    archive.book.write("EFI/BOOT/BOOTX64.EFI", Known::Here(cached.clone()));
    const LOADER: &str = "debian/EFI/BOOT/BOOTX64.EFI";

    let got = archive.ask(Method::GET, LOADER, &[]).await;
    assert!(got.status == StatusCode::OK && got.body.as_ref() == Some(&body));
    assert_eq!(
        (&got.headers["content-length"], &got.headers["content-type"]),
        (&"300000".parse().expect("a value"), &"application/efi".parse().expect("a value"))
    );
    let served = archive.served.recv().await.expect("a report");
    assert!(served.verified && served.complete && served.bytes == 300_000);
    let (etag, date) =
        (got.headers["etag"].to_str().expect("text"), got.headers["last-modified"].to_str().expect("text"));
    let head = archive.ask(Method::HEAD, LOADER, &[]).await;
    assert_eq!((&head.headers, head.body), (&got.headers, Some(vec![])));
    let part = archive.ask(Method::GET, LOADER, &[("range", "bytes=1000-1999"), ("if-range", etag)]).await;
    assert_eq!((part.status, part.body.as_deref()), (StatusCode::PARTIAL_CONTENT, Some(&body[1000..2000])));
    for (name, value) in [("if-none-match", etag), ("if-modified-since", date)] {
        let known = archive.ask(Method::GET, LOADER, &[(name, value)]).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED, "{name}");
    }
    fs::remove_file(&cached).expect("removed");
    let gone = archive.ask(Method::GET, LOADER, &[]).await;
    assert_eq!(gone.status, StatusCode::INTERNAL_SERVER_ERROR, "not upstream's in its place");
    assert_eq!(archive.asked(), [0]);
}

#[tokio::test]
async fn a_stored_file_that_rotted_is_found_out_on_its_first_use() {
    let body = content(100_000);
    let mut archive = Archive::with_file(&body, [script(&body, |asked, body| file(asked, body, "\"v1\""))]).await;
    assert!(archive.get().await.body.as_ref() == Some(&body));
    for (asked, online) in [(2, true), (2, false)] {
        archive.reopen(!online).await;
        fs::write(archive.folder.path().join(KEY), flipped(&body)).expect("written");
        let got = archive.get().await;
        match online {
            true => assert!(got.body.as_ref() == Some(&body), "fetched anew"),
            false => {
                let text = String::from_utf8(got.body.expect("a body")).expect("text");
                assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
                assert!(text.contains(KEY) && text.contains(&digest(&body).to_string()), "{text}");
            }
        }
        assert_eq!(archive.asked(), [asked]);
    }
    fs::write(archive.folder.path().join(KEY), &body).expect("written");
    archive.reopen(true).await;
    for _ in 0..2 {
        let got = archive.get().await;
        assert!(got.body.as_ref() == Some(&body), "right again");
        assert_eq!(got.headers["etag"], format!("\"{}\"", digest(&body)), "whatever became of what upstream had said");
    }
}

#[tokio::test]
async fn a_file_that_was_stored_unverified_is_compared_once_its_content_is_known() {
    let (old, new) = (content(5000), content(6000));
    let served = new.clone();
    let archive = Archive::start([script(&old, move |asked, old| match asked.number {
        0 => file(asked, old, "\"v1\""),
        _ => file(asked, &served, "\"v2\""),
    })])
    .await;
    assert!(archive.get().await.body.as_ref() == Some(&old));
    archive.proxy.landed().await;
    archive.book.write(FILE, Known::Content(expected(&old)));
    assert!(archive.get().await.body.as_ref() == Some(&old));
    assert_eq!(archive.asked(), [1], "what is stored is right");
    // Of a list that does not tell lengths.
    for known in [provisioner::model::Expected { size: None, ..expected(&new) }, expected(&new)] {
        archive.book.write(FILE, Known::Content(known));
        assert!(archive.get().await.body.as_ref() == Some(&new));
        archive.proxy.landed().await;
        assert_eq!(archive.asked(), [2], "another digest is another file");
    }
}

#[tokio::test]
async fn a_length_that_only_the_ledger_knows() {
    let body = content(100_000);
    let chunked = script(&body, |_, body| {
        let head = head("200 OK", &[("Transfer-Encoding", "chunked")]);
        let chunk = format!("{:x}\r\n", body.len()).into_bytes();
        vec![head, Act::Send([&chunk, body, b"\r\n0\r\n\r\n"].concat())]
    });
    let archive = Archive::with_file(&body, [chunked]).await;
    let got = archive.ask(Method::GET, KEY, &[("range", "bytes=-10")]).await;
    assert_eq!((got.status, got.body.as_deref()), (StatusCode::PARTIAL_CONTENT, Some(&body[99_990..])));
    assert_eq!(archive.get().await.headers["content-length"], "100000");
}

#[tokio::test]
async fn a_name_with_a_digest_is_known_without_a_ledger() {
    let body = content(1000);
    let mut archive = Archive::start([
        script(&flipped(&body), |asked, body| file(asked, body, "\"v1\"")),
        script(&body, |asked, body| file(asked, body, "\"v2\"")),
    ])
    .await;
    let path = format!("debian/os/repodata/{}-primary.xml.zst", digest(&body));
    assert!(archive.ask(Method::GET, &path, &[]).await.body == Some(body));
    assert!(archive.served.recv().await.expect("a report").verified);
    assert_eq!(archive.asked(), [1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_of_a_growing_known_file_are_one_request_upstream() {
    let (body, go) = (Arc::new(content(2_000_000)), Arc::new(Semaphore::new(0)));
    let script_go = Arc::clone(&go);
    let halves = script(&body, move |_, body| {
        let (first, second) = body.split_at(body.len() / 2);
        let begin = [found(body.len(), "\"v1\""), Act::Send(first.to_vec())];
        begin.into_iter().chain([Act::Wait(Arc::clone(&script_go)), Act::Send(second.to_vec())]).collect()
    });
    let archive = Archive::with_file(&body, [halves]).await;
    // Bytes are given out before the verdict.
    let mut first = request(&archive.proxy, Method::GET, KEY, &[]).await.into_body().into_data_stream();
    let begin = first.next().await.expect("bytes").expect("no break");
    let readers: Vec<_> = (0..100_usize)
        .map(|number| {
            let (proxy, body) = (archive.proxy.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                let from = number * 19_000;
                let range = format!("bytes={from}-{}", from + 50_000);
                let got = receive(request(&proxy, Method::GET, KEY, &[("range", &range)]).await).await;
                assert!(got.body.as_deref() == Some(&body[from..=from + 50_000]), "{range}");
            })
        })
        .collect();
    go.add_permits(1);
    for reader in readers {
        reader.await.expect("the right bytes");
    }
    assert!([&begin[..], &drain(first).await.expect("no break")].concat() == **body);
    assert_eq!(archive.asked(), [1]);
}
