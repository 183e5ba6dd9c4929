//! What a bad upstream, a bad disk state and a killed process do: never a wrong file, never a piece taken for the whole.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use provisioner::{distro::Mirror, model::Sha256Digest};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::Semaphore,
};

use super::{
    bench::{Bench, CLIENT, DEB, IN_RELEASE, client, content, drain, open, open_on, receive, request},
    upstream::{Act, DATE, Upstream, file, found, head, plain},
};

/// What breaks a body after its first half, when the test allows it.
fn break_off(how: &str, body: &[u8], go: &Arc<Semaphore>) -> Vec<Act> {
    let mut acts = vec![found(body.len(), "\"v1\""), Act::Send(body[..body.len() / 2].to_vec())];
    match how {
        "truncated" => acts.push(Act::Wait(Arc::clone(go))),
        "reset" => acts.extend([Act::Wait(Arc::clone(go)), Act::Reset]),
        "stalled" => acts.push(Act::Wait(Arc::new(Semaphore::new(0)))),
        other => unreachable!("{other}"),
    }
    acts
}

#[tokio::test]
async fn a_broken_body_is_resumed_unseen_by_the_client() {
    for how in ["truncated", "reset", "stalled"] {
        let body = content(200_000);
        let (script_body, go) = (body.clone(), Arc::new(Semaphore::new(0)));
        let script_go = Arc::clone(&go);
        let bench = Bench::start(move |asked| match asked.number {
            0 => break_off(how, &script_body, &script_go),
            1 => plain("503 Service Unavailable", b"busy"),
            _ => file(asked, &script_body, "\"v1\""),
        })
        .await;
        let mut client = bench.request(Method::GET, DEB, &[]).await.into_body().into_data_stream();
        // Only now, so that a reset cannot overtake the first bytes.
        let first = client.next().await.expect("bytes").expect("no break");
        go.add_permits(1);
        let rest = drain(client).await.expect("no break");
        assert!([&first[..], &rest].concat() == body, "{how}");
        let asked = bench.upstream.asked();
        assert_eq!((asked.len(), asked[2].header("if-range")), (3, Some("\"v1\"")), "{how}");
        // A reset may take bytes with it that had arrived, but it never adds any.
        let range = asked[2].header("range");
        assert!(how == "reset" || range == Some("bytes=100000-"), "{how}: {range:?}");
        assert!(bench.get(DEB).await.body == Some(body), "{how}: stored");
        assert_eq!(bench.asked().len(), 3, "{how}: stored");
    }
}

#[tokio::test]
async fn an_upstream_without_ranges_is_read_again_from_the_start() {
    let body = content(200_000);
    let script_body = body.clone();
    let bench = Bench::start(move |asked| match asked.number {
        0 => break_off("truncated", &script_body, &Arc::new(Semaphore::new(1))),
        _ => vec![found(script_body.len(), "\"v1\""), Act::Send(script_body.clone())],
    })
    .await;
    assert!(bench.get(DEB).await.body == Some(body));
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test]
async fn two_versions_are_never_mixed() {
    let (old, new) = (content(200_000), vec![7; 200_000]);
    let script_new = new.clone();
    let mut bench = Bench::start(move |asked| match asked.number {
        0 => break_off("truncated", &old, &Arc::new(Semaphore::new(1))),
        _ => file(asked, &script_new, "\"v2\""),
    })
    .await;
    assert_eq!(bench.get(IN_RELEASE).await.body, None, "the connection breaks");
    let served = bench.served.recv().await.expect("a report");
    assert!(!served.complete && served.bytes < 200_000);
    assert!(bench.get(IN_RELEASE).await.body == Some(new), "whoever asks again gets the new one");
}

#[tokio::test]
async fn a_body_that_stays_short_breaks_the_connection_and_is_not_kept() {
    let body = content(1000);
    let whole = Arc::new(AtomicBool::new(false));
    let (script_body, script_whole) = (body.clone(), Arc::clone(&whole));
    let bench = Bench::start(move |asked| {
        if script_whole.load(Ordering::Relaxed) {
            return file(asked, &script_body, "\"v1\"");
        }
        vec![found(1000, "\"v1\""), Act::Send(script_body[..999].to_vec())]
    })
    .await;
    let got = bench.get(DEB).await;
    assert_eq!((got.status, got.body), (StatusCode::OK, None));
    assert_eq!(bench.asked().len(), 5, "some tries, then no more");
    assert!(!bench.is_stored(DEB));
    whole.store(true, Ordering::Relaxed);
    assert_eq!(bench.get(DEB).await.body, Some(body));
}

#[tokio::test]
async fn a_length_that_upstream_does_not_tell() {
    let chunked = || {
        let chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec();
        vec![head("200 OK", &[("Transfer-Encoding", "chunked")]), Act::Send(chunks)]
    };
    let mut bench = Bench::start(move |asked| match asked.path.as_str() {
        "/debian/pool/until-close" => vec![head("200 OK", &[]), Act::Send(b"abcdefg".to_vec())],
        _ => chunked(),
    })
    .await;
    let got = bench.ask(Method::GET, DEB, &[("range", "bytes=1-2")]).await;
    assert_eq!((got.status, got.body.as_deref()), (StatusCode::OK, Some(&b"abcdefg"[..])));
    assert!(!got.headers.contains_key("content-length"));
    let got = bench.get("debian/pool/until-close").await;
    assert_eq!(got.body.as_deref(), Some(&b"abcdefg"[..]));
    // Whoever comes while the first flight lands is served by it; a new run sees what was kept.
    bench.reopen(true).await;
    let got = bench.get(DEB).await;
    assert_eq!((got.status, got.headers["content-length"].to_str().ok()), (StatusCode::OK, Some("7")));
    let cut = bench.get("debian/pool/until-close").await.status;
    assert_eq!(cut, StatusCode::SERVICE_UNAVAILABLE, "its end may have been a cut connection");
}

#[tokio::test]
async fn a_chunked_body_that_is_cut_is_no_whole_one() {
    let bench = Bench::start(|asked| match asked.number {
        0 => {
            let headers = [("Transfer-Encoding", "chunked"), ("ETag", "\"v1\"")];
            vec![head("200 OK", &headers), Act::Send(b"3\r\nabc\r\n4\r\nde".to_vec())]
        }
        _ => file(asked, b"abcdefg", "\"v1\""),
    })
    .await;
    assert_eq!(bench.get(DEB).await.body.as_deref(), Some(&b"abcdefg"[..]));
    assert_eq!(bench.upstream.asked()[1].header("if-range"), Some("\"v1\""));
}

#[tokio::test]
async fn what_its_name_does_not_vouch_for_is_never_whole_and_never_kept() {
    let right = content(100_000);
    let digest = Sha256Digest(Sha256::digest(&right).into());
    let path = format!("debian/dists/trixie/main/binary-amd64/by-hash/SHA256/{digest}");
    let mut wrong = right.clone();
    wrong[50_000] ^= 1;
    let script_right = right.clone();
    let mut bench = Bench::start(move |asked| match asked.number {
        0 => file(asked, &wrong, "\"v1\""),
        _ => file(asked, &script_right, "\"v1\""),
    })
    .await;
    assert_eq!(bench.get(&path).await.body, None);
    assert!(bench.served.recv().await.expect("a report").bytes < 100_000);
    assert!(!bench.is_stored(&path));
    assert!(bench.get(&path).await.body == Some(right));
    bench.reopen(true).await;
    assert_eq!(bench.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn errors_of_upstream_are_bad_gateways_that_say_which() {
    for (status, tries) in [("500 Internal Server Error", 5), ("403 Forbidden", 1)] {
        let bench = Bench::start(move |_| plain(status, b"no")).await;
        let got = bench.get(DEB).await;
        let text = String::from_utf8(got.body.expect("a body")).expect("text");
        assert_eq!((got.status, text.lines().count(), bench.asked().len()), (StatusCode::BAD_GATEWAY, 1, tries));
        assert!(text.contains(DEB) && text.contains(status) && text.contains("127.0.0.1"), "{text}");
    }
    let bench = Bench::start(|asked| match asked.number {
        0 => plain("500 Internal Server Error", b"no"),
        _ => file(asked, b"hello", "\"v1\""),
    })
    .await;
    assert_eq!(bench.get(DEB).await.body.as_deref(), Some(&b"hello"[..]));
    let moved = |_: &_| vec![head("302 Found", &[("Location", "/debian/again"), ("Content-Length", "0")])];
    assert_eq!(Bench::start(moved).await.get(DEB).await.status, StatusCode::BAD_GATEWAY, "a redirect loop");
}

#[tokio::test]
async fn a_file_that_is_compressed_itself_is_taken_from_a_server_that_says_so() {
    let bench = Bench::start(|_| {
        let headers = [("Content-Encoding", "x-gzip"), ("Content-Length", "5")];
        vec![head("200 OK", &headers), Act::Send(b"\x1f\x8bzip".to_vec())]
    })
    .await;
    let got = bench.get("debian/dists/trixie/main/binary-amd64/Packages.gz").await;
    assert_eq!(got.body.as_deref(), Some(&b"\x1f\x8bzip"[..]));
    assert!(!got.headers.contains_key("content-encoding"), "a client would take it for another file");
    let got = bench.get(IN_RELEASE).await;
    let text = String::from_utf8(got.body.expect("a body")).expect("text");
    assert!(got.status == StatusCode::BAD_GATEWAY && text.contains("x-gzip"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_elsewhere_is_kept_as_what_was_asked_for() {
    let body = content(100_000);
    let script_body = body.clone();
    let elsewhere = Upstream::start(move |asked| match asked.number {
        0 => break_off("truncated", &script_body, &Arc::new(Semaphore::new(1))),
        _ => file(asked, &script_body, "\"v1\""),
    })
    .await;
    let location = format!("http://{}/snapshot/1234", elsewhere.address);
    let mut bench =
        Bench::start(move |_| vec![head("302 Found", &[("Location", &location), ("Content-Length", "0")])]).await;
    let got = bench.get(DEB).await;
    assert!(got.status == StatusCode::OK && got.body.as_ref() == Some(&body));
    // The rest is asked for where the file is said to be: that may have changed.
    assert_eq!(bench.asked(), [format!("/{DEB}"), format!("/{DEB}")]);
    let asked = elsewhere.asked();
    assert_eq!((asked[1].path.as_str(), asked[1].header("range")), ("/snapshot/1234", Some("bytes=50000-")));
    bench.reopen(true).await;
    assert!(bench.is_stored(DEB) && bench.get(DEB).await.body == Some(body));
}

#[tokio::test]
async fn metadata_outlives_its_upstream_as_stale() {
    for (fault, requests) in [("500 Internal Server Error", 2), ("403 Forbidden", 2), ("a reset", 2), ("a portal", 3)] {
        let mut bench = Bench::start(move |asked| match (asked.number, fault) {
            (0, _) => file(asked, b"signed", "\"v1\""),
            (_, "a reset") => vec![Act::Reset],
            (_, "a portal") if asked.path == "/" => plain("200 OK", b"Welcome"),
            (_, "a portal") => vec![head("302 Found", &[("Location", "/"), ("Content-Length", "0")])],
            (_, status) => plain(status, b"no"),
        })
        .await;
        bench.get(IN_RELEASE).await;
        bench.reopen(false).await;
        for answers in 1..=2 {
            let got = bench.get(IN_RELEASE).await;
            assert_eq!(got.body.as_deref(), Some(&b"signed"[..]), "{fault}");
            assert_eq!(got.headers["last-modified"], DATE, "{fault}");
            assert_eq!(bench.proxy.stale_answers(), answers, "{fault}");
        }
        assert_eq!(bench.asked().len(), requests, "{fault}: asked once per few seconds, dead or alive");
    }
}

#[tokio::test]
async fn a_silent_upstream_costs_whoever_wants_stored_metadata_less_than_its_patience() {
    let upstream = Upstream::start(|asked| match asked.number {
        0 => file(asked, b"signed", "\"v1\""),
        _ => vec![Act::Wait(Arc::new(Semaphore::new(0)))],
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let get = async || {
        let mirror = Mirror::new("debian", &format!("http://{}/debian", upstream.address).parse().expect("a URL"));
        // As patient as the program's own.
        let client = client(Duration::from_secs(60));
        let proxy = open_on(vec![mirror], client, folder.path(), false, Arc::new(|_, _| {}));
        let got = receive(request(&proxy, Method::GET, IN_RELEASE, &[]).await).await;
        proxy.landed().await;
        (got, proxy.stale_answers())
    };
    assert_eq!(get().await.1, 0);
    tokio::time::pause();
    let asked_at = tokio::time::Instant::now();
    let (got, stale) = get().await;
    assert_eq!((got.body.as_deref(), stale), (Some(&b"signed"[..]), 1));
    // `Acquire::http::Timeout` of APT.
    assert!(asked_at.elapsed() < Duration::from_secs(30), "{:?}", asked_at.elapsed());
}

#[tokio::test]
async fn metadata_that_upstream_took_back_is_gone_but_not_lost() {
    let mut bench = Bench::start(|asked| match asked.number {
        0 => file(asked, b"signed", "\"v1\""),
        _ => plain("404 Not Found", b""),
    })
    .await;
    bench.get(IN_RELEASE).await;
    bench.reopen(false).await;
    assert_eq!(bench.get(IN_RELEASE).await.status, StatusCode::NOT_FOUND);
    bench.reopen(true).await;
    assert_eq!(bench.get(IN_RELEASE).await.status, StatusCode::OK);
}

/// Runs in a process of its own, as the victim of the next test.
#[tokio::test]
async fn victim() {
    let (Ok(folder), Ok(upstream)) = (std::env::var("VICTIM_FOLDER"), std::env::var("VICTIM_UPSTREAM")) else { return };
    let proxy = open(folder.as_ref(), upstream.parse().expect("an address"), false, Arc::new(|_, _| {}));
    let mut body =
        proxy.handle(CLIENT, &Method::GET, DEB, &Default::default(), None).await.into_body().into_data_stream();
    body.next().await.expect("bytes").expect("no break");
    eprintln!("half-way");
    drain(body).await;
}

#[tokio::test]
async fn a_kill_half_way_leaves_nothing_that_could_be_served() {
    let body = content(100_000);
    let killed = Arc::new(AtomicBool::new(false));
    let (script_body, script_killed) = (body.clone(), Arc::clone(&killed));
    let upstream = Upstream::start(move |asked| match script_killed.load(Ordering::Relaxed) {
        false => break_off("stalled", &script_body, &Arc::new(Semaphore::new(0))),
        true => file(asked, &script_body, "\"v1\""),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["mirror::faults::victim", "--exact", "--nocapture"])
        .env("VICTIM_FOLDER", folder.path())
        .env("VICTIM_UPSTREAM", upstream.address.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a second process");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    while lines.next_line().await.expect("readable").expect("it gets half-way") != "half-way" {}
    child.kill().await.expect("killed");
    killed.store(true, Ordering::Relaxed);
    let parts = || {
        let entries = std::fs::read_dir(folder.path()).expect("readable");
        entries
            .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with(".part"))
            .count()
    };
    assert_eq!(parts(), 1, "the kill came half-way");
    let offline = open(folder.path(), upstream.address, true, Arc::new(|_, _| {}));
    assert_eq!(parts(), 0);
    let got = offline.handle(CLIENT, &Method::GET, DEB, &Default::default(), None).await;
    assert_eq!(got.status(), StatusCode::SERVICE_UNAVAILABLE);
    let online = open(folder.path(), upstream.address, false, Arc::new(|_, _| {}));
    let got = online.handle(CLIENT, &Method::GET, DEB, &Default::default(), None).await;
    assert!(drain(got.into_body().into_data_stream()).await == Some(body));
}
