//! The machine that the mirror runs on: its disk is full, or its clock jumps.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::http::{Method, StatusCode};
use provisioner::{
    distro::Mirror,
    mirror::{Known, Proxy},
};
use tokio::process::Command;

use super::{
    archive::{Book, expected},
    bench::{Bench, DEB, Got, IN_RELEASE, content, impatient_client, open_with, receive, recorder, request},
    clients::can_run,
    matrix::visible,
    upstream::{Upstream, file},
};

/// Runs a test of this file again as root of mount points of its own, after `mounts`, a shell script whose `$1` is the folder.
/// `None`: this machine does not let us.
async fn inside(test: &str, mounts: &str, folder: &Path) -> Option<()> {
    let own = ["--map-root-user", "--mount", "--"];
    let may = Command::new("unshare").args(own).arg("true").stderr(Stdio::null()).status().await;
    if !can_run(may.is_ok_and(|status| status.success()), "unshare, or user namespaces") {
        return None;
    }
    let script = format!(r#"folder="$1"; shift; {mounts} && exec "$@""#);
    let output = Command::new("unshare")
        .args(own)
        .args(["sh", "-c", &script, "sh"])
        .arg(folder)
        .arg(std::env::current_exe().expect("this binary"))
        .args([&format!("mirror::host::{test}"), "--exact", "--nocapture"])
        .env("INSIDE_FOLDER", folder)
        .output()
        .await
        .expect("unshare runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    Some(())
}

/// A mirror in a folder; `pool/<known>` is the one file whose content is known.
fn open(folder: &Path, upstream: &Upstream, known: Option<&[u8]>) -> Proxy {
    let book = Arc::<Book>::default();
    if let Some(body) = known {
        book.write("pool/known.deb", Known::Content(expected(body)));
    }
    let mirror = Mirror::new("debian", &format!("http://{}/debian", upstream.address).parse().expect("a URL"));
    open_with(vec![mirror], book, impatient_client(), folder, false, recorder().0)
}

async fn get(proxy: &Proxy, key: &str) -> Got {
    receive(request(proxy, Method::GET, key, &[]).await).await
}

const ROOM: usize = 4 << 20;

#[tokio::test]
async fn a_full_disk_inside() {
    let Ok(disk) = std::env::var("INSIDE_FOLDER") else { return };
    let (filler, folder) = (Path::new(&disk).join("filler"), Path::new(&disk).join("mirror"));
    let upstream = Upstream::start(|asked| {
        let length = if asked.path.contains("small") { 100_000 } else { ROOM / 2 };
        file(asked, &content(length), "\"v1\"")
    })
    .await;
    let (small, large) = (content(100_000), content(ROOM / 2));
    let proxy = open(&folder, &upstream, Some(&large));
    // Not the mirror's, so that there is nothing that it could make room with.
    fs::write(&filler, vec![1; ROOM - ROOM / 4]).expect("written");
    for key in ["debian/pool/large.deb", "debian/dists/large", "debian/pool/known.deb"] {
        assert!(has_no_room(&get(&proxy, key).await, key), "{key}");
        assert_eq!(visible(&folder), [""; 0], "{key}");
    }
    let (kept, other) = ("debian/pool/small.deb", "debian/dists/small");
    assert!(get(&proxy, kept).await.body.as_ref() == Some(&small), "there is room for it");
    proxy.landed().await;
    assert_eq!(visible(&folder), [kept]);

    // Not one byte is left: what is stored is served, by a new run too.
    let mut rest = File::options().append(true).open(&filler).expect("opened");
    while std::io::Write::write(&mut rest, &[1; 4096]).is_ok() {}
    drop(rest);
    let again = open(&folder, &upstream, None);
    for proxy in [&proxy, &again] {
        assert!(get(proxy, kept).await.body.as_ref() == Some(&small));
    }
    let got = get(&again, other).await;
    assert!(has_no_room(&got, other) || got.body.as_ref() == Some(&small), "what is not is an error, or has room made");
    again.landed().await;
    assert!(visible(&folder).iter().all(|key| key == kept || key == other), "{:?}", visible(&folder));

    fs::remove_file(filler).expect("removed");
    for key in ["debian/pool/large.deb", "debian/pool/known.deb"] {
        assert!(get(&proxy, key).await.body.as_ref() == Some(&large), "{key}: there is room now");
        proxy.landed().await;
        assert!(fs::read(folder.join(key)).expect("kept") == large, "{key}");
        fs::remove_file(folder.join(key)).expect("removed");
    }
}

/// A break, or an answer that says so.
fn has_no_room(got: &Got, key: &str) -> bool {
    let text = got.body.as_ref().map(|text| String::from_utf8_lossy(text));
    match got.status {
        StatusCode::OK => text.is_none(),
        StatusCode::INTERNAL_SERVER_ERROR => {
            text.is_some_and(|text| text.contains(key) && text.contains("No space left on device"))
        }
        _ => false,
    }
}

#[tokio::test]
async fn a_full_disk_costs_what_has_no_room_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounts = format!(r#"mount -t tmpfs -o size={ROOM} small "$folder""#);
    inside("a_full_disk_inside", &mounts, folder.path()).await;
    assert_eq!(visible(folder.path()), [""; 0], "it was not this machine's disk");
}

/// The store compares times only for equality: a file of the future is no fresher than one of 1970.
#[tokio::test]
async fn a_clock_that_jumped_costs_a_question_at_most() {
    let day = Duration::from_secs(86_400);
    for (when, time) in [
        ("1970", SystemTime::UNIX_EPOCH),
        ("before 1970", SystemTime::UNIX_EPOCH - 400 * day),
        ("in a year", SystemTime::now() + 365 * day),
        ("in 2100", SystemTime::UNIX_EPOCH + 47_500 * day),
    ] {
        let mut bench = Bench::start(|asked| file(asked, b"hello", "\"v1\"")).await;
        for key in [DEB, IN_RELEASE] {
            bench.get(key).await;
        }
        bench.proxy.landed().await;
        for key in [DEB, IN_RELEASE] {
            let stored = File::options().write(true).open(bench.folder.path().join(key)).expect("kept");
            stored.set_modified(time).expect("set");
        }
        bench.reopen(false).await;
        for key in [DEB, IN_RELEASE] {
            let got = bench.get(key).await;
            assert_eq!((got.status, got.body.as_deref()), (StatusCode::OK, Some(&b"hello"[..])), "{when}: {key}");
        }
        let asked = bench.asked();
        assert_eq!(asked[2..], [format!("/{IN_RELEASE}")], "{when}: a package lasts, metadata is asked about");
        bench.reopen(true).await;
        for key in [DEB, IN_RELEASE] {
            assert_eq!(bench.get(key).await.status, StatusCode::OK, "{when}: offline");
        }
    }
}
