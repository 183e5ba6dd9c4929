//! One fetch, many readers.

use std::{iter, sync::Arc, time::Duration};

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use provisioner::distro::Mirror;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    bench::{
        Bench, DEB, IN_RELEASE, client, content, drain, open_on, receive, recorder, request, room_for_connections,
    },
    upstream::{Act, Upstream, file, found},
};

/// A file that comes in two halves, the second when the test allows it.
fn halves(body: &[u8], go: &Arc<Semaphore>) -> Vec<Act> {
    let (first, second) = body.split_at(body.len() / 2);
    vec![found(body.len(), "\"v1\""), Act::Send(first.to_vec()), Act::Wait(Arc::clone(go)), Act::Send(second.to_vec())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_readers_with_ranges_of_their_own_are_one_request_upstream() {
    let (body, go) = (Arc::new(content(3_000_000)), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (Arc::clone(&body), Arc::clone(&go));
    let bench = Bench::start(move |_| halves(&script_body, &script_go)).await;
    let mut seeds = iter::successors(Some(42_usize), |seed| Some(seed.wrapping_mul(48_271) % 2_147_483_647));
    let mut random = move |below: usize| seeds.next().expect("endless") % below;
    let mut readers = Vec::new();
    for number in 0..40 {
        let (from, to) = (random(body.len()), random(body.len()));
        let (from, to) = (from.min(to), from.max(to));
        let (range, expected) = match number % 4 {
            0 => (None, 0..body.len()),
            1 => (Some(format!("bytes=-{}", body.len() - from)), from..body.len()),
            _ => (Some(format!("bytes={from}-{to}")), from..to + 1),
        };
        let (proxy, body) = (bench.proxy.clone(), Arc::clone(&body));
        readers.push(tokio::spawn(async move {
            let range: Vec<_> = range.iter().map(|range| ("range", range.as_str())).collect();
            let response = request(&proxy, Method::GET, DEB, &range).await;
            let length = response.headers()["content-length"].clone();
            let got = receive(response).await;
            assert_eq!(length, expected.len().to_string());
            assert!(got.body.as_deref() == Some(&body[expected]), "{range:?}");
        }));
        if number == 20 {
            go.add_permits(1);
        }
    }
    for reader in readers {
        reader.await.expect("the right bytes");
    }
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn the_first_bytes_and_a_range_of_them_arrive_before_the_last_are_there() {
    let (body, go) = (content(100_000), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let bench = Bench::start(move |_| halves(&script_body, &script_go)).await;
    // The second half is not there before these have been answered.
    let mut whole = bench.request(Method::GET, DEB, &[]).await.into_body().into_data_stream();
    let first = whole.next().await.expect("bytes").expect("no break");
    let part = bench.ask(Method::GET, DEB, &[("range", "bytes=10-49999")]).await;
    assert_eq!((part.status, part.body.as_deref()), (StatusCode::PARTIAL_CONTENT, Some(&body[10..50_000])));
    go.add_permits(1);
    let rest = drain(whole).await.expect("no break");
    assert!([&first[..], &rest].concat() == body);
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn what_has_come_is_passed_on_while_nothing_further_comes() {
    const PIECE: usize = 10;
    let (body, go) = (content(8 * PIECE), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let bench = Bench::start(move |_| {
        let pieces = script_body.chunks(PIECE);
        let gated = pieces.flat_map(|piece| [Act::Send(piece.to_vec()), Act::Wait(Arc::clone(&script_go))]);
        iter::once(found(script_body.len(), "\"v1\"")).chain(gated).collect()
    })
    .await;
    let mut whole = bench.request(Method::GET, DEB, &[]).await.into_body().into_data_stream();
    let mut got = Vec::new();
    for pieces in 1..=8 {
        // All that upstream has sent, and it sends no more before that is here; the very last byte waits for the verdict.
        while got.len() < (pieces * PIECE).min(body.len() - 1) {
            got.extend(whole.next().await.expect("bytes").expect("no break"));
        }
        go.add_permits(1);
    }
    got.extend(drain(whole).await.expect("no break"));
    assert!(got == body);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_end_the_fetch() {
    let (body, go) = (content(100_000), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let mut bench = Bench::start(move |_| halves(&script_body, &script_go)).await;
    let mut dropped = bench.request(Method::GET, DEB, &[]).await.into_body().into_data_stream();
    let first = dropped.next().await.expect("bytes").expect("no break").len() as u64;
    drop(dropped);
    let served = bench.served.recv().await.expect("a report");
    assert_eq!((served.bytes, served.complete, served.status), (first, false, 200));
    go.add_permits(1);
    assert!(bench.get(DEB).await.body == Some(body));
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn two_files_do_not_wait_for_each_other() {
    let (body, go) = (content(50_000), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let bench = Bench::start(move |asked| match asked.path.as_str() {
        "/debian/pool/slow.deb" => halves(&script_body, &script_go),
        _ => file(asked, b"quick", "\"v1\""),
    })
    .await;
    let slow = bench.request(Method::GET, "debian/pool/slow.deb", &[]).await;
    assert_eq!(bench.get("debian/pool/quick.deb").await.body.as_deref(), Some(&b"quick"[..]));
    assert_eq!(bench.get("debian-security/pool/slow.deb").await.body.as_deref(), Some(&b"quick"[..]), "another key");
    go.add_permits(1);
    assert!(receive(slow).await.body == Some(body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_asked_for_once_by_many() {
    let mut bench = Bench::start(|asked| file(asked, b"signed", "\"v1\"")).await;
    for round in 1..=2 {
        let askers: Vec<_> = (0..20)
            .map(|_| {
                let proxy = bench.proxy.clone();
                tokio::spawn(async move { receive(request(&proxy, Method::GET, IN_RELEASE, &[]).await).await.body })
            })
            .collect();
        for asker in askers {
            assert_eq!(asker.await.expect("no panic").as_deref(), Some(&b"signed"[..]));
        }
        assert_eq!(bench.asked().len(), round, "first the file, then one question about it");
        bench.reopen(false).await;
    }
}

/// So many files are fetched at the same time.
const FETCHES: usize = 128;

#[tokio::test]
async fn so_many_files_are_fetched_at_a_time_and_then_none_that_nobody_waits_for() {
    room_for_connections();
    let ((arrive, mut arrived), go) = (mpsc::unbounded_channel(), Arc::new(Semaphore::new(0)));
    let script_go = Arc::clone(&go);
    let upstream = Upstream::start(move |asked| {
        let _ = arrive.send(());
        iter::once(Act::Wait(Arc::clone(&script_go))).chain(file(asked, b"hello", "\"v1\"")).collect()
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Mirror::new("debian", &format!("http://{}/debian", upstream.address).parse().expect("a URL"));
    let proxy = open_on(vec![mirror], client(Duration::from_secs(60)), folder.path(), false, recorder().0);
    let ask = |number: usize| {
        let proxy = proxy.clone();
        tokio::spawn(async move {
            receive(request(&proxy, Method::GET, &format!("debian/pool/{number}.deb"), &[]).await).await.body
        })
    };
    let begun: Vec<_> = (0..FETCHES).map(ask).collect();
    for _ in &begun {
        arrived.recv().await.expect("a request");
    }
    let further: Vec<_> = (FETCHES..FETCHES + 50).map(ask).collect();
    // This clock moves where nothing else does.
    tokio::time::pause();
    assert!(timeout(Duration::from_secs(1), arrived.recv()).await.is_err(), "one more than may be");
    tokio::time::resume();

    let (wanted, given_up) = further.split_first().expect("fifty");
    for hung_up in given_up.iter().chain(&begun[1..]) {
        hung_up.abort();
    }
    for hung_up in given_up {
        while !hung_up.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    assert!(!wanted.is_finished());
    go.add_permits(FETCHES + further.len());
    proxy.landed().await;
    assert_eq!(upstream.asked().len(), FETCHES + 1);
    let stored = |number: usize| folder.path().join(format!("debian/pool/{number}.deb")).exists();
    assert!((0..=FETCHES).all(stored), "what had begun came to its end");
}
