//! What is on the wire, from the real HTTP server: as loaders, apt and zchunk read it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use super::{
    bench::{content, impatient_client, listen, open_on},
    clients::{can_run, has},
    upstream::{Act, Asked, Upstream, file, head, plain},
};

struct World {
    upstream: Upstream,
    address: SocketAddr,
    _store: tempfile::TempDir,
}

impl World {
    async fn start(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (upstream, store) = (Upstream::start(script).await, tempfile::tempdir().expect("a folder"));
        let url = format!("http://{}/debian", upstream.address).parse().expect("a URL");
        let mirrors = vec![provisioner::distro::Mirror::new("debian", &url)];
        let proxy = open_on(mirrors, impatient_client(), store.path(), false, std::sync::Arc::new(|_, _| {}));
        Self { upstream, address: listen(proxy), _store: store }
    }

    /// Sends this and reads until the server closes.
    async fn raw(&self, request: &str) -> Vec<u8> {
        let mut connection = TcpStream::connect(self.address).await.expect("connected");
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.expect("an orderly end");
        answer
    }
}

/// Takes the first response off: its head, and as many bytes of body as it announces.
fn split_response(bytes: &[u8]) -> (String, &[u8], &[u8]) {
    let blank = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..blank].to_vec()).expect("text");
    let length = header(&head, "Content-Length").map_or(0, |length| length.parse().expect("a number"));
    let rest = &bytes[blank + 4..];
    (head, &rest[..length], &rest[length..])
}

/// By its exact name: loaders compare it byte by byte.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_requests_in_one_segment_are_answered_in_their_order() {
    let sizes = [10, 700_000, 0, 300, 65_536, 1, 262_145];
    let world = World::start(move |asked| {
        let number = asked.path.trim_start_matches("/debian/pool/").trim_end_matches(".deb").parse::<usize>();
        match number.ok().and_then(|number| sizes.get(number)) {
            Some(size) => file(asked, &content(*size), "\"v1\""),
            None => plain("404 Not Found", b"none"),
        }
    })
    .await;
    let numbers = [1, 9, 0, 2, 8, 6, 3, 7, 4, 5];
    let request = |(place, number): (usize, &usize)| {
        let close = if place == 9 { "Connection: close\r\n" } else { "" };
        format!("GET /mirror/debian/pool/{number}.deb HTTP/1.1\r\nHost: x\r\n{close}\r\n")
    };
    let requests: String = numbers.iter().enumerate().map(request).collect();
    for round in ["cold", "hot"] {
        let answer = world.raw(&requests).await;
        let mut rest = &answer[..];
        for number in numbers {
            let (head, body, further) = split_response(rest);
            match sizes.get(number) {
                Some(size) => {
                    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{round} {number}: {head}");
                    assert!(body == content(*size), "{round} {number}");
                    assert_eq!(header(&head, "Content-Type"), Some("application/vnd.debian.binary-package"));
                    assert_eq!((header(&head, "ETag"), header(&head, "Etag")), (None, Some("\"v1\"")), "{head}");
                }
                None => assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{round} {number}: {head}"),
            }
            assert!(head.lines().skip(1).all(|line| line.starts_with(|first: char| first.is_ascii_uppercase())));
            rest = further;
        }
        assert!(rest.is_empty(), "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http_1_0_is_never_sent_chunks() {
    let body = content(300_000);
    let script_body = body.clone();
    let world = World::start(move |asked| match asked.path.as_str() {
        "/debian/pool/nolength.deb" => vec![head("200 OK", &[]), Act::Send(script_body.clone())],
        "/debian/pool/chunked.deb" => {
            let mut chunked = format!("{:x}\r\n", script_body.len()).into_bytes();
            chunked.extend_from_slice(&script_body);
            chunked.extend_from_slice(b"\r\n0\r\n\r\n");
            vec![head("200 OK", &[("Transfer-Encoding", "chunked")]), Act::Send(chunked)]
        }
        _ => file(asked, &script_body, "\"v1\""),
    })
    .await;
    for name in ["known", "nolength", "chunked"] {
        // lpxelinux says HTTP/1.0 and closes after each file.
        let answer = world.raw(&format!("GET /mirror/debian/pool/{name}.deb HTTP/1.0\r\nHost: x\r\n\r\n")).await;
        let blank = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..blank]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200 ok") && !head.contains("transfer-encoding"), "{name}: {head}");
        assert!(answer[blank + 4..] == body, "{name}");
    }
    // With keep-alive, as some say nevertheless, the length tells where it ends.
    let keep = "GET /mirror/debian/pool/known.deb HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = world.raw(&format!("{keep}GET /mirror/debian/pool/known.deb HTTP/1.0\r\n\r\n")).await;
    let (first, first_body, rest) = split_response(&answer);
    assert_eq!(header(&first, "Connection"), Some("keep-alive"), "{first}");
    let (_, second_body, rest) = split_response(rest);
    assert!(first_body == body && second_body == body && rest.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_no_open_proxy_and_slashes_need_no_redirect() {
    let world = World::start(|asked| file(asked, b"hello", "\"v1\"")).await;
    let status = async |target: &str| {
        let answer =
            world.raw(&format!("{target} HTTP/1.1\r\nHost: elsewhere.test\r\nConnection: close\r\n\r\n")).await;
        String::from_utf8_lossy(&answer)[9..12].to_owned()
    };
    for (target, expected) in [
        ("GET http://elsewhere.test/", "404"),
        ("GET http://elsewhere.test/debian/pool/x.deb", "404"),
        ("GET http://elsewhere.test/mirror/elsewhere/x", "404"),
        ("GET /mirror/http://elsewhere.test/x", "404"),
        ("GET /mirror/debian/../../x", "400"),
        ("CONNECT elsewhere.test:80", "405"),
    ] {
        assert_eq!(status(target).await, expected, "{target}");
    }
    assert_eq!(world.upstream.asked().len(), 0);
    // Whatever host it names (RFC 9112 §3.2.2 wants the form taken), the path is ours.
    for target in [
        "GET http://elsewhere.test/mirror/debian/pool/x.deb",
        "GET //mirror///debian//pool/x.deb",
        "HEAD /mirror/debian/pool//x.deb",
    ] {
        assert_eq!(status(target).await, "200", "{target}");
    }
    let asked: Vec<_> = world.upstream.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, ["/debian/pool/x.deb"]);
}

/// Takes a `multipart/byteranges` body apart by what its parts say of their lengths, as zchunk does.
fn parts(mut body: &[u8], boundary: &str, total: usize) -> Vec<(usize, Vec<u8>)> {
    let mut parts = Vec::new();
    while body != format!("\r\n--{boundary}--\r\n").as_bytes() {
        body = body.strip_prefix(format!("\r\n--{boundary}\r\n").as_bytes()).expect("a delimiter");
        let blank = body.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&body[..blank]).expect("text");
        let range = header(head, "Content-Range").and_then(|range| range.strip_prefix("bytes ")).expect("a range");
        let (range, of) = range.split_once('/').expect("a total");
        let (first, last) = range.split_once('-').expect("a range");
        let (first, last) = (first.parse::<usize>().expect("a number"), last.parse::<usize>().expect("a number"));
        assert_eq!(of, total.to_string());
        let bytes = &body[blank + 4..][..last + 1 - first];
        parts.push((first, bytes.to_vec()));
        body = &body[blank + 4 + bytes.len()..];
    }
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_several_ranges_of_a_file_in_one_answer() {
    if !can_run(has("curl").await, "curl") {
        return;
    }
    let body = content(500_000);
    let script_body = body.clone();
    let world = World::start(move |asked| file(asked, &script_body, "\"v1\"")).await;
    let url = format!("http://{}/mirror/debian/pool/x.deb", world.address);
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("head");
    for round in ["cold", "hot"] {
        for (ranges, expected) in
            [("0-9,100-199", vec![0..10, 100..200]), ("400000-,0-0,5-9,8-20", vec![400_000..500_000, 0..1, 5..21])]
        {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "-r", ranges, "-D"])
                .arg(&dump)
                .arg(&url);
            let output = curl.output().await.expect("curl runs");
            assert!(output.status.success(), "{round} {ranges}: {output:?}");
            let head = std::fs::read_to_string(&dump).expect("a head");
            assert!(head.starts_with("HTTP/1.1 206 Partial Content"), "{head}");
            assert_eq!(header(&head, "Content-Length"), Some(&*output.stdout.len().to_string()), "{head}");
            let media_type = header(&head, "Content-Type").expect("a type");
            let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("its type");
            let expected: Vec<_> = expected.into_iter().map(|part| (part.start, body[part].to_vec())).collect();
            assert!(parts(&output.stdout, boundary, body.len()) == expected, "{round} {ranges}");
        }
    }
    assert_eq!(world.upstream.asked().len(), 1);
}
