//! Clients on real connections, to the provisioner's own HTTP server.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
};

use super::{
    bench::{Bench, DEB, content, listen},
    upstream::{Act, file, found, plain},
};

const LARGE: &str = "debian/pool/main/l/large/large_1_amd64.deb";
const MISSING: &str = "debian/pool/main/m/missing/missing_1_amd64.deb";

/// A small package, a large one, one that is not there; and the mirror's address.
async fn start(small: &[u8], large: &[u8]) -> (Bench, SocketAddr) {
    let (small, large) = (small.to_vec(), large.to_vec());
    let bench = Bench::start(move |asked| match asked.path.as_str() {
        path if path.ends_with(LARGE) => file(asked, &large, "\"l\""),
        path if path.ends_with(DEB) => file(asked, &small, "\"s\""),
        _ => plain("404 Not Found", b"no"),
    })
    .await;
    let address = listen(bench.proxy.clone());
    (bench, address)
}

async fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(address).await.expect("connected"))
}

async fn ask(client: &mut BufReader<TcpStream>, request: &str) {
    client.write_all(request.as_bytes()).await.expect("asked");
}

/// The head of the next answer, one line each.
async fn head(client: &mut BufReader<TcpStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.expect("a line");
        match line.trim_end() {
            "" => return lines,
            line => lines.push(line.to_owned()),
        }
    }
}

fn length(head: &[String]) -> usize {
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    length.expect("a length in title case").parse().expect("a number")
}

/// The next answer: its status line and its body.
async fn receive(client: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let head = head(client).await;
    let mut body = vec![0; length(&head)];
    client.read_exact(&mut body).await.expect("a whole body");
    (head[0].clone(), body)
}

/// How often this process has a file open.
fn open_descriptors(path: &Path) -> usize {
    let fds = fs::read_dir("/proc/self/fd").expect("this process");
    fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).filter(|open| open == path).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let (small, large) = (content(10_000), content(3_000_000));
    let (_bench, address) = start(&small, &large).await;
    let mut client = connect(address).await;
    let kinds = [DEB, LARGE, MISSING, DEB, "HEAD", LARGE, DEB, MISSING, LARGE];
    // Cold, then stored, then open already.
    for _ in 0..3 {
        let requests = kinds.map(|path| match path {
            "HEAD" => format!("HEAD /mirror/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n"),
            path => format!("GET /mirror/{path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        });
        ask(&mut client, &requests.concat()).await;
        for path in kinds {
            if path == "HEAD" {
                let head = head(&mut client).await;
                assert_eq!((head[0].as_str(), length(&head)), ("HTTP/1.1 200 OK", large.len()));
                continue;
            }
            let (status, body) = receive(&mut client).await;
            match path {
                DEB => assert!(status == "HTTP/1.1 200 OK" && body == small),
                LARGE => assert!(status == "HTTP/1.1 200 OK" && body == large),
                _ => assert!(status == "HTTP/1.1 404 Not Found" && !body.is_empty(), "{status}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http_1_0_is_answered_and_hung_up_on() {
    let (small, large) = (content(10_000), content(3_000_000));
    let (_bench, address) = start(&small, &large).await;
    for (path, body) in [(DEB, &small), (LARGE, &large), (DEB, &small), (LARGE, &large)] {
        let mut client = connect(address).await;
        ask(&mut client, &format!("GET /mirror/{path} HTTP/1.0\r\n\r\n")).await;
        let head = head(&mut client).await;
        assert_eq!((head[0].as_str(), length(&head)), ("HTTP/1.0 200 OK", body.len()));
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("the end");
        assert!(rest == *body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_holds_nobody_up_and_gets_it_all() {
    // More than the sockets hold.
    let (small, large) = (content(10_000), content(40_000_000));
    let (_bench, address) = start(&small, &large).await;
    let mut slow = connect(address).await;
    ask(&mut slow, &format!("GET /mirror/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(length(&head(&mut slow).await), large.len());
    let mut others = connect(address).await;
    for _ in 0..3 {
        ask(&mut others, &format!("GET /mirror/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(receive(&mut others).await.1 == large);
    }
    let mut body = vec![0; large.len()];
    slow.read_exact(&mut body).await.expect("a whole body");
    assert!(body == large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growing_file_is_followed_over_a_connection() {
    let (body, go) = (content(3_000_000), Arc::new(Semaphore::new(0)));
    let (script_body, script_go) = (body.clone(), Arc::clone(&go));
    let mut bench = Bench::start(move |_| {
        let (first, second) = script_body.split_at(2_000_000);
        let wait = Act::Wait(Arc::clone(&script_go));
        vec![found(script_body.len(), "\"v1\""), Act::Send(first.to_vec()), wait, Act::Send(second.to_vec())]
    })
    .await;
    let mut client = connect(listen(bench.proxy.clone())).await;
    ask(&mut client, &format!("GET /mirror/{DEB} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(length(&head(&mut client).await), body.len());
    let mut got = vec![0; body.len()];
    client.read_exact(&mut got[..2_000_000]).await.expect("the first part, before there is a second");
    go.add_permits(1);
    client.read_exact(&mut got[2_000_000..]).await.expect("the rest");
    assert!(got == body);
    let served = bench.served.recv().await.expect("a report");
    assert!(served.complete && served.bytes == body.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_lets_go_of_the_file() {
    let large = content(40_000_000);
    let (mut bench, address) = start(b"small", b"").await;
    let path = bench.folder.path().canonicalize().expect("there").join(LARGE);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, &large).expect("stored by an earlier run");
    let mut client = connect(address).await;
    ask(&mut client, &format!("GET /mirror/{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(length(&head(&mut client).await), large.len());
    assert_eq!(open_descriptors(&path), 1);
    drop(client);
    let served = bench.served.recv().await.expect("a report");
    assert!(!served.complete && served.bytes < large.len() as u64, "{served:?}");
    assert_eq!(open_descriptors(&path), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_file_stays_open_only_while_it_is_the_stored_one() {
    let (mut bench, address) = start(b"small", b"large").await;
    bench.get(DEB).await;
    bench.proxy.landed().await;
    let path = bench.folder.path().canonicalize().expect("there").join(DEB);
    let mut client = connect(address).await;
    let request = format!("GET /mirror/{DEB} HTTP/1.1\r\nHost: x\r\n\r\n");
    for _ in 0..2 {
        ask(&mut client, &request).await;
        assert_eq!(receive(&mut client).await.1, b"small");
        assert!(open_descriptors(&path) >= 1);
    }
    // Another process takes it away, and has written another one in its place.
    fs::remove_file(&path).expect("removed");
    ask(&mut client, &request).await;
    assert_eq!(receive(&mut client).await.1, b"small");
    assert_eq!(bench.asked().len(), 2, "fetched anew");
    bench.proxy.landed().await;
    // What it has put there is not what was stored.
    for fetches in [3, 4] {
        let new = path.with_extension("new");
        fs::write(&new, "others").expect("written");
        fs::rename(&new, &path).expect("renamed");
        ask(&mut client, &request).await;
        assert_eq!(receive(&mut client).await.1, b"small");
        assert_eq!(bench.asked().len(), fetches);
        bench.proxy.landed().await;
    }
    let reports = std::iter::from_fn(|| bench.served.try_recv().ok());
    assert!(reports.into_iter().all(|served| served.complete));
}
