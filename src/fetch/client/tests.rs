use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
};

use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use nix::{
    sys::stat::Mode,
    unistd::{Uid, mkfifo, setfsuid},
};
use reqwest::StatusCode;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), client: client().expect("a client") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("written");
    }

    fn url(&self, name: &str) -> Url {
        address::below(&Url::from_directory_path(self.folder.path()).expect("a URL"), name)
    }

    async fn ask(&self, name: &str, headers: &[(HeaderName, &str)]) -> Result<Response, Unanswered> {
        let request = self.client.get(self.url(name));
        headers.iter().fold(request, |request, (name, value)| request.header(name.clone(), value)).send().await
    }
}

fn text(response: &Response, name: HeaderName) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text")).to_owned()
}

/// Longer than what is read at a time.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

#[tokio::test]
async fn a_file_is_answered_as_a_server_would() {
    let (bench, body) = (Bench::new(), content());
    bench.write("a ~+%41", &body);
    let whole = bench.ask("a ~+%41", &[]).await.expect("an answer");
    assert_eq!((whole.status(), text(&whole, CONTENT_LENGTH)), (StatusCode::OK, body.len().to_string()));
    assert_eq!((whole.content_length(), whole.url()), (Some(body.len() as u64), &bench.url("a ~+%41")));
    let (etag, date) = (text(&whole, ETAG), text(&whole, LAST_MODIFIED));
    assert_eq!(whole.bytes().await.expect("read"), body);

    let head = bench.client.head(bench.url("a ~+%41")).timeout(Duration::from_secs(9)).send().await.expect("an answer");
    assert_eq!((text(&head, CONTENT_LENGTH), text(&head, ETAG)), (body.len().to_string(), etag.clone()));
    assert!(head.bytes().await.expect("read").is_empty());

    for (headers, status, from) in [
        (vec![(RANGE, "bytes=1000-")], 206, Some(1000)),
        (vec![(RANGE, "bytes=1000-"), (IF_RANGE, &*etag)], 206, Some(1000)),
        (vec![(RANGE, "bytes=1000-"), (IF_RANGE, &*date)], 206, Some(1000)),
        (vec![(RANGE, "bytes=1000-"), (IF_RANGE, "\"another\"")], 200, Some(0)),
        (vec![(RANGE, "bytes=1200000-")], 416, None),
        (vec![(IF_NONE_MATCH, &*etag)], 304, None),
        (vec![(IF_NONE_MATCH, "\"another\""), (IF_MODIFIED_SINCE, &*date)], 200, Some(0)),
        (vec![(IF_MODIFIED_SINCE, &*date)], 304, None),
        (vec![(IF_MODIFIED_SINCE, "Fri, 31 Dec 2100 00:00:00 GMT")], 200, Some(0)),
    ] {
        let got = bench.ask("a ~+%41", &headers).await.expect("an answer");
        assert_eq!(got.status(), status, "{headers:?}");
        let range = text(&got, CONTENT_RANGE);
        match status {
            206 => assert_eq!(range, "bytes 1000-1199999/1200000", "{headers:?}"),
            416 => assert_eq!(range, "bytes */1200000"),
            _ => assert_eq!(range, "", "{headers:?}"),
        }
        let expected = from.map_or(&[][..], |from: usize| &body[from..]);
        assert!(got.bytes().await.expect("read") == expected, "{headers:?}");
    }
    bench.write("empty", b"");
    let empty = bench.ask("empty", &[]).await.expect("an answer");
    assert_eq!((empty.status(), text(&empty, CONTENT_LENGTH)), (StatusCode::OK, "0".to_owned()));
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_no_file_is_never_opened() {
    let bench = Bench::new();
    bench.write("file", b"a file");
    fs::create_dir(bench.path("folder")).expect("made");
    symlink("file", bench.path("link")).expect("made");
    symlink("loop", bench.path("loop")).expect("made");
    let outside = tempfile::NamedTempFile::new().expect("a file");
    fs::write(outside.path(), "of the operator").expect("written");
    symlink(outside.path(), bench.path("out")).expect("made");
    // Whoever opens it waits for a writer.
    mkfifo(&bench.path("pipe"), Mode::S_IRWXU).expect("made");
    for (name, expected) in [("link", "a file"), ("out", "of the operator")] {
        let got = bench.ask(name, &[]).await.expect("an answer");
        assert_eq!(got.bytes().await.expect("read"), expected, "{name}");
    }
    for absent in ["none", "folder", "file/below", &"long".repeat(100), "nul\0"] {
        assert_eq!(bench.ask(absent, &[]).await.expect("an answer").status(), StatusCode::NOT_FOUND, "{absent}");
    }
    for (name, why) in [("pipe", "not a file"), ("loop", "symbolic links")] {
        let error = format!("{:#}", anyhow::Error::from(bench.ask(name, &[]).await.expect_err("refused")));
        assert!(error.contains(why) && error.contains(&bench.path(name).display().to_string()), "{error}");
    }
}

/// On a thread that is nobody on files: for root, every file can be read.
#[test]
fn what_may_not_be_read_is_an_error_and_not_absent() {
    let bench = Bench::new();
    bench.write("secret", b"");
    fs::set_permissions(bench.path("secret"), fs::Permissions::from_mode(0o0)).expect("a file of ours");
    fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
    let asking = || {
        setfsuid(Uid::from_raw(612_345));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(bench.ask("secret", &[])).map(|response| response.status())
    };
    let error = thread::scope(|scope| scope.spawn(asking).join().expect("no panic")).expect_err("refused");
    assert!(matches!(&error, Unanswered::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied));
}

/// Reads the first bytes, lets `change` happen, and reads the rest.
async fn read_while(bench: &Bench, change: impl FnOnce(&Path)) -> Result<Vec<u8>, reqwest::Error> {
    let mut response = bench.ask("file", &[]).await.expect("an answer");
    let mut bytes = response.chunk().await?.expect("its beginning").to_vec();
    change(&bench.path("file"));
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn bytes_of_two_versions_never_meet() {
    let (bench, body) = (Bench::new(), content());
    bench.write("file", &body);
    let first = text(&bench.ask("file", &[]).await.expect("an answer"), ETAG);
    // By rename, as every mirroring tool does: who has begun to read goes on with the file that was there.
    let replaced = read_while(&bench, |path| {
        fs::write(path.with_extension("new"), vec![0; 1_200_000]).expect("written");
        fs::rename(path.with_extension("new"), path).expect("renamed");
    });
    assert!(replaced.await.expect("whole") == body);
    let resumed = bench.ask("file", &[(RANGE, "bytes=9-"), (IF_RANGE, &first)]).await.expect("an answer");
    assert_eq!(resumed.status(), StatusCode::OK, "from its beginning: it is another file");

    let rewritten = read_while(&bench, |path| fs::write(path, vec![1; 1_200_000]).expect("written"));
    rewritten.await.expect_err("written to while it was read");
    let truncated = read_while(&bench, |path| fs::write(path, "short").expect("written"));
    truncated.await.expect_err("nothing there any more");
}
