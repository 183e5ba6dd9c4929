//! What is kept on the disk: several provisioners on one folder, a limit, damage, a full disk.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::Path,
};

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use provisioner::{mirror::Stock, model::Condition};

use super::{
    bench::{Bench, DEB, Got, IN_RELEASE, content, drain, open, open_limited, receive, recorder, request},
    upstream::{Asked, Upstream, file, plain},
};
use crate::mounts::{in_own_mounts, small};

/// Flips a bit as a failing disk does: no time changes.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).expect("a stored file");
    let metadata = file.metadata().expect("metadata");
    let (middle, mut byte) = (metadata.len() / 2, [0]);
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("written");
    file.set_modified(metadata.modified().expect("a time")).expect("set");
}

fn conditions(folder: &Path) -> Vec<Condition> {
    let stock = Stock::at(folder);
    stock.files().expect("a list").iter().map(|file| stock.check(file).expect("checked")).collect()
}

#[tokio::test]
async fn a_flipped_bit_is_found_and_never_served() {
    let body = content(100_000);
    let script_body = body.clone();
    let mut bench = Bench::start(move |asked| file(asked, &script_body, "\"v1\"")).await;
    for key in [DEB, IN_RELEASE] {
        assert!(bench.get(key).await.body.as_ref() == Some(&body), "{key}");
    }
    bench.reopen(false).await;
    for key in [DEB, IN_RELEASE] {
        flip(&bench.folder.path().join(key));
    }
    let found = conditions(bench.folder.path());
    assert!(found.iter().all(|found| matches!(found, Condition::Damaged { .. })), "{found:?}");
    for key in [DEB, IN_RELEASE] {
        // Not revalidated either: it is not what upstream's validators are of.
        assert!(bench.get(key).await.body.as_ref() == Some(&body), "{key}");
    }
    assert_eq!(bench.asked().len(), 4);
    bench.proxy.landed().await;
    assert_eq!(conditions(bench.folder.path()), [Condition::Right; 2]);

    bench.reopen(true).await;
    for key in [DEB, IN_RELEASE] {
        flip(&bench.folder.path().join(key));
        let Got { status, body, .. } = bench.get(key).await;
        let text = String::from_utf8(body.expect("a reason")).expect("text");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("is damaged in the cache") && text.contains("--offline"), "{text}");
    }
}

#[tokio::test]
async fn what_changes_on_the_disk_during_a_run_is_found_too() {
    let mut bench = Bench::start(|asked| file(asked, b"hello", "\"v1\"")).await;
    bench.get(DEB).await;
    bench.reopen(true).await;
    for _ in 0..2 {
        assert_eq!(bench.get(DEB).await.body.as_deref(), Some(&b"hello"[..]));
    }
    flip(&bench.folder.path().join(DEB));
    assert_eq!(bench.get(DEB).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn what_was_stored_before_digests_were_is_served_still() {
    let mut bench = Bench::start(|asked| file(asked, b"hello", "\"v1\"")).await;
    bench.get(DEB).await;
    bench.reopen(true).await;
    let sidecar = bench.folder.path().join(".meta").join(format!("{DEB}.json"));
    let text = fs::read_to_string(&sidecar).expect("a sidecar");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let members = json.as_object_mut().expect("an object");
    assert!(members.remove("sha256").is_some() && members.remove("verified") == Some(false.into()), "{text}");
    fs::write(&sidecar, json.to_string()).expect("written");
    let got = bench.get(DEB).await;
    assert_eq!((got.body.as_deref(), &got.headers["etag"]), (Some(&b"hello"[..]), &"\"v1\"".parse().expect("a value")));
    assert_eq!(conditions(bench.folder.path()), [Condition::Undigested]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_provisioners_on_one_folder_do_not_disturb_each_other() {
    let body = content(2_000_000);
    let script_body = body.clone();
    let bench = Bench::start(move |asked| file(asked, &script_body, "\"v1\"")).await;
    let other = open(bench.folder.path(), bench.upstream.address, false, recorder().0);
    for round in 0..10 {
        let key = format!("debian/pool/{round}.deb");
        let askers = [&bench.proxy, &other].map(|proxy| request(proxy, Method::GET, &key, &[]));
        for response in futures_util::future::join_all(askers).await {
            assert!(receive(response).await.body.as_ref() == Some(&body), "{key}");
        }
    }
    bench.proxy.landed().await;
    other.landed().await;
    assert_eq!(conditions(bench.folder.path()), [Condition::Right; 10]);
    let asked = bench.asked().len();
    for proxy in [&bench.proxy, &other] {
        assert!(
            receive(request(proxy, Method::GET, "debian/pool/3.deb", &[]).await).await.body.as_ref() == Some(&body)
        );
    }
    assert_eq!(bench.asked().len(), asked, "each finds what either has stored");
}

#[tokio::test]
async fn a_limit_is_kept_and_a_larger_file_is_served_but_not_kept() {
    let upstream = Upstream::start(sized).await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = open_limited(folder.path(), upstream.address, 100_000);
    let size = || Stock::at(folder.path()).files().expect("a list").iter().map(|file| file.size).sum::<u64>();
    for number in 0..8 {
        let key = format!("debian/pool/{number}/30000");
        assert_eq!(receive(request(&proxy, Method::GET, &key, &[]).await).await.body, Some(content(30_000)));
        proxy.landed().await;
        assert!(folder.path().join(&key).exists() && size() <= 100_000, "{key}: {}", size());
    }
    let large = receive(request(&proxy, Method::GET, "debian/pool/200000", &[]).await).await;
    assert_eq!(large.body, Some(content(200_000)));
    proxy.landed().await;
    assert!(!folder.path().join("debian/pool/200000").exists() && size() > 0);
}

/// Every body is right, whatever the other one evicts, replaces or compares at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_evict_each_others_files_serve_nothing_wrong() {
    let upstream = Upstream::start(sized).await;
    let prefix = tempfile::tempdir().expect("a folder");
    let folder = prefix.path().join("mirror");
    let proxies = [0, 1].map(|_| open_limited(&folder, upstream.address, 200_000));
    let clients = (0..8_usize).map(|client| {
        let proxy = proxies[client % 2].clone();
        tokio::spawn(async move {
            for round in 0..40_usize {
                let size = 20_000 + 1000 * ((client * 7 + round * 11) % 30);
                // Volatile ones are replaced, too.
                let key = format!("debian/{}/{size}", if round % 3 == 0 { "dists" } else { "pool" });
                let got = receive(request(&proxy, Method::GET, &key, &[]).await).await;
                assert!(got.body == Some(content(size)), "{key}: {}", got.status);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let verified = || crate::cache::cache(prefix.path(), &["verify"]);
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        let ran = tokio::task::block_in_place(verified);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    }
    for client in clients {
        client.await.expect("the right bytes");
    }
    for proxy in &proxies {
        proxy.landed().await;
    }
    assert!(conditions(&folder).iter().all(|condition| *condition == Condition::Right));
    let ran = crate::cache::cache(prefix.path(), &["prune"]);
    assert!(ran.out.contains("leftovers of killed runs: 0"), "{}", ran.out);
}

/// An upstream whose files say their own size.
fn sized(asked: &Asked) -> Vec<super::upstream::Act> {
    let size = asked.path.rsplit('/').next().and_then(|name| name.parse().ok());
    plain("200 OK", &content(size.expect("a size")))
}

#[test]
fn a_full_disk_is_met_by_evicting_what_nobody_reads() {
    in_own_mounts(|| {
        let folder = tempfile::tempdir().expect("a folder");
        small(1_000_000, folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(fill(folder.path()));
    });
}

async fn fill(folder: &Path) {
    let upstream = Upstream::start(sized).await;
    let proxy = open(folder, upstream.address, false, recorder().0);
    let get = |path: &'static str| request(&proxy, Method::GET, path, &[]);
    let is_there = |path: &str| folder.join(path).exists();
    let (read, unread) = ("debian/pool/read/300000", "debian/pool/unread/300000");
    for path in [unread, read] {
        assert!(receive(get(path).await).await.body.is_some());
        proxy.landed().await;
    }
    let mut reader = get(read).await.into_body().into_data_stream();
    let first = reader.next().await.expect("bytes").expect("no break");

    let next = "debian/pool/next/500000";
    assert_eq!(receive(get(next).await).await.body, Some(content(500_000)), "the same download goes on");
    proxy.landed().await;
    assert!(is_there(next) && is_there(read) && !is_there(unread));

    // With both of them in use there is no room.
    let second = get(next).await;
    let too_much = receive(get("debian/pool/more/400000").await).await;
    assert!(too_much.body.is_none() || too_much.status == StatusCode::INTERNAL_SERVER_ERROR, "{too_much:?}");
    proxy.landed().await;
    let parts = fs::read_dir(folder).expect("a folder").flatten();
    let parts: Vec<_> = parts.filter(|entry| entry.file_name().to_string_lossy().starts_with(".part")).collect();
    assert!(!is_there("debian/pool/more/400000") && parts.is_empty(), "{parts:?}");
    let rest = drain(reader).await.expect("no break");
    assert!([&first[..], &rest].concat() == content(300_000));
    drop(second);

    assert_eq!(receive(get("debian/pool/more/400000").await).await.body, Some(content(400_000)));
    proxy.landed().await;
    assert!(conditions(folder).iter().all(|condition| *condition == Condition::Right));
}

#[tokio::test]
async fn a_reader_gets_all_of_what_another_process_would_evict() {
    let prefix = tempfile::tempdir().expect("a folder");
    let body = content(3_000_000);
    let script_body = body.clone();
    let upstream = Upstream::start(move |asked| file(asked, &script_body, "\"v1\"")).await;
    let fetch = |address: SocketAddr| open(&prefix.path().join("mirror"), address, false, recorder().0);
    let proxy = fetch(upstream.address);
    assert!(receive(request(&proxy, Method::GET, DEB, &[]).await).await.body.is_some());
    proxy.landed().await;
    let mut reader = request(&proxy, Method::GET, DEB, &[]).await.into_body().into_data_stream();
    let first = reader.next().await.expect("bytes").expect("no break");

    let prune = || crate::cache::cache(prefix.path(), &["prune", "--everything"]);
    let ran = prune();
    assert_eq!((ran.code, ran.out.contains("it is in use")), (0, true), "{} {}", ran.out, ran.err);
    let rest = drain(reader).await.expect("no break");
    assert!([&first[..], &rest].concat() == body);
    drop(proxy);
    let ran = prune();
    assert!(ran.out.contains("removed") && !prefix.path().join("mirror").join(DEB).exists(), "{}", ran.out);
    assert!(receive(request(&fetch(upstream.address), Method::GET, DEB, &[]).await).await.body == Some(body));
}
