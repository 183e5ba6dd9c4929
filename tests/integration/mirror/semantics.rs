//! What clients are answered: hits, misses, conditions, ranges, errors, offline.

use axum::http::{Method, StatusCode};
use provisioner::mirror::Served;

use super::{
    bench::{Bench, DEB, IN_RELEASE, content},
    upstream::{DATE, file, head, plain},
};

#[tokio::test]
async fn a_package_is_fetched_once_and_then_served_from_the_store() {
    let body = content(700_000);
    let served_body = body.clone();
    let mut bench = Bench::start(move |asked| file(asked, &served_body, "\"v1\"")).await;
    for round in ["cold", "hot", "after a restart"] {
        let got = bench.get(DEB).await;
        assert_eq!((got.status, got.body.as_ref()), (StatusCode::OK, Some(&body)), "{round}");
        for (name, value) in
            [("content-length", "700000"), ("etag", "\"v1\""), ("last-modified", DATE), ("accept-ranges", "bytes")]
        {
            assert_eq!(got.headers[name], value, "{round}");
        }
        let path = DEB.strip_prefix("debian/").expect("it is").to_owned();
        let whole =
            Served { mirror: "debian".into(), path, bytes: 700_000, complete: true, verified: false, status: 200 };
        assert_eq!(bench.served.recv().await, Some(whole), "{round}");
        if round == "hot" {
            bench.reopen(false).await;
        }
    }
    assert_eq!(bench.asked(), [format!("/{DEB}")]);
}

#[tokio::test]
async fn a_head_has_the_headers_of_the_file_and_no_body() {
    let bench = Bench::start(|asked| file(asked, b"hello", "\"v1\"")).await;
    for round in ["cold", "hot"] {
        let got = bench.ask(Method::HEAD, DEB, &[("range", "bytes=1-2")]).await;
        let length = got.headers["content-length"].to_str().ok();
        assert_eq!((got.status, got.body, length), (StatusCode::OK, Some(vec![]), Some("5")), "{round}");
    }
    let got = bench.ask(Method::POST, DEB, &[]).await;
    assert_eq!((got.status, got.headers["allow"].to_str().ok()), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD")));
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn ranges_and_conditions_cold_and_hot() {
    let body = content(1000);
    for hot in [false, true] {
        for (name, value, status, expected, range) in [
            ("range", "bytes=10-19", 206, Some(&body[10..20]), Some("bytes 10-19/1000")),
            ("range", "bytes=990-", 206, Some(&body[990..]), Some("bytes 990-999/1000")),
            ("range", "bytes=-5", 206, Some(&body[995..]), Some("bytes 995-999/1000")),
            ("range", "bytes=1000-", 416, None, Some("bytes */1000")),
            ("range", "bytes=0-1,5-900", 200, Some(&body[..]), None),
            ("if-none-match", "\"v1\"", 304, None, None),
            ("if-none-match", "\"v0\"", 200, Some(&body[..]), None),
            ("if-modified-since", DATE, 304, None, None),
        ] {
            let served = body.clone();
            let bench = Bench::start(move |asked| file(asked, &served, "\"v1\"")).await;
            if hot {
                bench.get(DEB).await;
            }
            let got = bench.ask(Method::GET, DEB, &[(name, value)]).await;
            assert_eq!(
                (got.status.as_u16(), got.body.as_deref()),
                (status, Some(expected.unwrap_or_default())),
                "{value}"
            );
            assert_eq!(got.headers.get("content-range").and_then(|range| range.to_str().ok()), range, "{value}");
        }
    }
}

#[tokio::test]
async fn every_spelling_of_a_path_is_one_file_and_other_paths_are_none() {
    let bench = Bench::start(|asked| file(asked, b"g++", "\"v1\"")).await;
    for path in ["debian/pool/g++_1~rc.deb", "debian//pool/g%2b%2B_1%7erc.deb", "/debian/./pool/g%2b+_1%7Erc.deb"] {
        assert_eq!(bench.get(path).await.body.as_deref(), Some(&b"g++"[..]), "{path}");
    }
    assert_eq!(bench.asked(), ["/debian/pool/g++_1~rc.deb"]);
    for (path, status) in [
        ("debian/../../etc/passwd", 400),
        ("debian/%2e%2e/%2e%2e/etc/passwd", 400),
        ("debian/pool/..%2f..%2fx", 400),
        ("debian/a%00", 400),
        ("ubuntu/pool/a.deb", 404),
        ("debian/dists/", 404),
        ("", 404),
    ] {
        assert_eq!(bench.get(path).await.status.as_u16(), status, "{path}");
    }
    assert_eq!(bench.asked().len(), 1, "nobody was asked");
}

#[tokio::test]
async fn metadata_is_revalidated_but_not_at_every_request() {
    let mut bench = Bench::start(|asked| match asked.number {
        0 | 1 => file(asked, b"old", "\"v1\""),
        _ => file(asked, b"new!", "\"v2\""),
    })
    .await;
    for _ in 0..3 {
        assert_eq!(bench.get(IN_RELEASE).await.body.as_deref(), Some(&b"old"[..]));
    }
    assert_eq!(bench.asked().len(), 1, "it was just fetched");
    // A restart forgets when upstream was asked last.
    bench.reopen(false).await;
    for _ in 0..3 {
        let got = bench.get(IN_RELEASE).await;
        assert_eq!(
            (got.body.as_deref(), &got.headers["etag"]),
            (Some(&b"old"[..]), &"\"v1\"".parse().expect("a value"))
        );
    }
    let asked = bench.upstream.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[1].header("if-none-match"), asked[1].header("if-modified-since")), (Some("\"v1\""), Some(DATE)));
    bench.reopen(false).await;
    assert_eq!(bench.get(IN_RELEASE).await.body.as_deref(), Some(&b"new!"[..]));
    assert_eq!(bench.get(IN_RELEASE).await.headers["etag"], "\"v2\"");
    assert_eq!(bench.asked().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_not_there_and_not_remembered() {
    let bench = Bench::start(|asked| match asked.number {
        0 | 1 => plain("404 Not Found", b"no"),
        _ => file(asked, b"hello", "\"v1\""),
    })
    .await;
    for _ in 0..2 {
        let got = bench.get(DEB).await;
        let text = String::from_utf8(got.body.expect("a body")).expect("text");
        assert_eq!((got.status, text.lines().count()), (StatusCode::NOT_FOUND, 1));
        assert!(text.contains(DEB), "{text}");
    }
    assert_eq!(bench.get(DEB).await.status, StatusCode::OK);
    assert_eq!(bench.asked().len(), 3);
}

#[tokio::test]
async fn a_folder_of_upstream_is_not_a_file() {
    let bench = Bench::start(|asked| {
        if asked.path.ends_with('/') {
            return plain("200 OK", b"<html>a listing</html>");
        }
        vec![head("301 Moved Permanently", &[("Location", &format!("{}/", asked.path)), ("Content-Length", "0")])]
    })
    .await;
    assert_eq!(bench.get("debian/dists").await.status, StatusCode::NOT_FOUND);
    assert!(!bench.is_stored("debian/dists"));
}

#[tokio::test]
async fn offline_serves_what_is_stored_and_names_what_is_not() {
    let mut bench = Bench::start(|asked| file(asked, b"hello", "\"v1\"")).await;
    for path in [DEB, IN_RELEASE] {
        bench.get(path).await;
    }
    bench.reopen(true).await;
    for path in [DEB, IN_RELEASE] {
        assert_eq!(bench.get(path).await.body.as_deref(), Some(&b"hello"[..]));
    }
    let got = bench.get("debian/pool/other.deb").await;
    let text = String::from_utf8(got.body.expect("a body")).expect("text");
    assert_eq!(
        (got.status, got.headers["content-length"].to_str().ok()),
        (StatusCode::SERVICE_UNAVAILABLE, Some(&*text.len().to_string()))
    );
    assert!(text.contains("debian/pool/other.deb") && text.contains("offline"), "{text}");
    assert_eq!((bench.asked().len(), bench.proxy.stale_answers()), (2, 0));
}
