//! The mirror before an archive in a directory.

use std::{fs, os::unix::fs::symlink, path::Path};

use axum::http::{Method, StatusCode};
use provisioner::{distro::Mirror, mirror::Proxy};
use url::Url;

use super::bench::{DEB, Got, IN_RELEASE, content, impatient_client, open_on, receive, recorder, request};

struct World {
    archives: tempfile::TempDir,
    store: tempfile::TempDir,
    proxy: Proxy,
}

impl World {
    fn new() -> Self {
        let (archives, store) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let url = Url::from_directory_path(archives.path().join("debian")).expect("a URL");
        let proxy = open_on(vec![Mirror::new("debian", &url)], impatient_client(), store.path(), false, recorder().0);
        Self { archives, store, proxy }
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.archives.path().join(key);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        // As mirroring tools do.
        let new = path.with_extension("new");
        fs::write(&new, bytes).and_then(|()| fs::rename(new, path)).expect("written");
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        receive(request(&self.proxy, Method::GET, path, headers).await).await
    }
}

#[tokio::test]
async fn a_directory_is_mirrored_as_a_server_is() {
    let (world, body) = (World::new(), content(1_500_000));
    world.put(DEB, &body);
    for round in ["cold", "hot"] {
        let got = world.ask(DEB, &[("range", "bytes=1000000-")]).await;
        assert_eq!(
            (got.status, got.body.as_deref()),
            (StatusCode::PARTIAL_CONTENT, Some(&body[1_000_000..])),
            "{round}"
        );
        let got = world.ask(DEB, &[]).await;
        assert_eq!((got.status, got.body.as_ref()), (StatusCode::OK, Some(&body)), "{round}");
        let etag = got.headers["etag"].to_str().expect("text").to_owned();
        let got = world.ask(DEB, &[("if-none-match", &etag)]).await;
        assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{round}");
        world.proxy.landed().await;
    }
    assert_eq!(fs::read(world.store.path().join(DEB)).expect("stored"), body);
    // What never changes is not asked for again, wherever it came from.
    fs::remove_dir_all(world.archives.path()).expect("ejected");
    assert_eq!(world.ask(DEB, &[]).await.body.as_ref(), Some(&body));
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_cannot_be_read_is_not() {
    let world = World::new();
    world.put("debian/dists/trixie/Release", b"a file");
    symlink("loop", world.archives.path().join("debian/loop")).expect("made");
    for (path, status) in [
        ("debian/dists/trixie", 404),
        ("debian/none", 404),
        ("debian/dists/trixie/Release/below", 404),
        ("debian/loop", 502),
        ("debian/../../etc/passwd", 400),
        ("debian/%2e%2e/%2e%2e/etc/passwd", 400),
    ] {
        assert_eq!(world.ask(path, &[]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_file_that_changes_is_asked_about_and_its_new_content_served() {
    let world = World::new();
    world.put(IN_RELEASE, b"first");
    assert_eq!(world.ask(IN_RELEASE, &[]).await.body.as_deref(), Some(&b"first"[..]));
    world.proxy.landed().await;
    world.put(IN_RELEASE, b"other");
    // A run later: within one, it is not asked about again at once.
    let again = reopened(&world.archives.path().join("debian"), world.store.path());
    let got = receive(request(&again, Method::GET, IN_RELEASE, &[]).await).await;
    assert_eq!(got.body.as_deref(), Some(&b"other"[..]));
}

fn reopened(archive: &Path, store: &Path) -> Proxy {
    let url = Url::from_directory_path(archive).expect("a URL");
    open_on(vec![Mirror::new("debian", &url)], impatient_client(), store, false, recorder().0)
}
