//! Bodies over real connections, with hyper in between.

use std::{
    collections::VecDeque,
    fs::File,
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::http::{HeaderValue, Response, header::CONTENT_LENGTH};
use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

use super::{
    Lane, Served, Wire,
    body::{Body, Piece},
    entity::{Entity, Head, Phase, Progress},
    receipt::Receipt,
};

/// A server on a connection of its own, whose answer has these pieces. Its socket's buffer is as small as it gets.
async fn connect(
    entity: Entity,
    pieces: Vec<Piece>,
    length: Option<u64>,
    vectored: bool,
) -> (TcpStream, mpsc::UnboundedReceiver<Served>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (stream, peer) = listener.accept().await.expect("accepted");
    socket2::SockRef::from(&stream).set_send_buffer_size(1).expect("set");
    let wire = Wire::new(stream);
    let lane = wire.lane();
    let (send, served) = mpsc::unbounded_channel();
    let answer = move |_| {
        let send = send.clone();
        let on_served = Arc::new(move |_, served: &Served| drop(send.send(served.clone())));
        let receipt = Receipt::new(on_served, peer.ip(), Served::of("debian", "pool/a.deb"));
        let body = Body::of(entity.clone(), VecDeque::from(pieces.clone()), Some(&lane), receipt);
        let mut response = Response::new(body);
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        async { Ok::<_, std::convert::Infallible>(response) }
    };
    tokio::spawn(async move {
        http1::Builder::new().writev(vectored).serve_connection(TokioIo::new(wire), service_fn(answer)).await
    });
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("asked");
    (client, served)
}

/// What a client gets: the body, as far as it came.
async fn read(mut client: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that broke may be reset.
    let _ = client.read_to_end(&mut bytes).await;
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    head.map_or(Vec::new(), |head| bytes.split_off(head + 4))
}

fn content(length: u32) -> Vec<u8> {
    (0..length).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

fn file_of(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().expect("a file");
    file.write_all_at(bytes, 0).expect("written");
    file
}

#[tokio::test]
async fn pieces_arrive_in_order_whether_they_are_copied_or_not() {
    let bytes = content(1_000_000);
    let (text, parts) = (Bytes::from_static(b"--boundary--"), [5..20, 30..3_500_000, 0..70_000, 3_999_999..4_000_000]);
    let mut pieces = vec![Piece::Text(text.clone())];
    let mut expected = text.to_vec();
    for part in parts {
        pieces.extend([Piece::Part(part.start as u64..part.end as u64), Piece::Text(text.clone())]);
        expected.extend_from_slice(&bytes[part]);
        expected.extend_from_slice(&text);
    }
    // hyper in its flattening mode takes the bytes themselves.
    for vectored in [true, false] {
        for length in [None, Some(expected.len() as u64)] {
            let entity = Entity::stored(file_of(&bytes), Head::default(), bytes.len() as u64);
            let (client, mut served) = connect(entity, pieces.clone(), length, vectored).await;
            assert!(read(client).await == expected, "vectored: {vectored}");
            let served = served.recv().await.expect("a report");
            assert_eq!((served.bytes, served.complete), (expected.len() as u64, true));
        }
    }
}

#[tokio::test]
async fn a_reader_of_a_growing_file_gets_what_is_written_meanwhile() {
    let bytes = content(500_000);
    for phase in [Phase::Complete, Phase::Broken] {
        let file = Arc::new(file_of(&bytes[..300_000]));
        let (progress, follow) = watch::channel(Progress { readable: 300_000, phase: Phase::Growing });
        let entity = Entity::growing(Arc::clone(&file), Arc::default(), None, follow);
        let (client, mut served) = connect(entity, vec![Piece::Whole], None, true).await;
        let reader = tokio::spawn(read(client));
        let mut written = 300_000;
        for end in [300_001, 310_000, 1_900_000, 1_999_999] {
            file.write_all_at(&bytes[written..end], written as u64).expect("written");
            progress.send_replace(Progress { readable: end as u64, phase: Phase::Growing });
            written = end;
            tokio::task::yield_now().await;
        }
        file.write_all_at(&bytes[written..], written as u64).expect("written");
        progress.send_replace(Progress { readable: bytes.len() as u64, phase });
        let (got, served) = (reader.await.expect("read"), served.recv().await.expect("a report"));
        match phase {
            Phase::Complete => assert!(got == bytes && served.complete),
            _ => assert!(got.len() < bytes.len() && bytes.starts_with(&got) && !served.complete),
        }
    }
}

#[tokio::test]
async fn a_file_that_shrank_breaks_the_connection() {
    let bytes = content(100_000);
    for vectored in [true, false] {
        let entity = Entity::stored(file_of(&bytes), Head::default(), bytes.len() as u64 + 1);
        let (client, mut served) = connect(entity, vec![Piece::Whole], Some(400_001), vectored).await;
        assert!(bytes.starts_with(&read(client).await));
        assert!(!served.recv().await.expect("a report").complete);
    }
}

#[tokio::test]
async fn what_a_client_did_not_take_is_not_reported_as_sent() {
    let bytes = content(1_000_000);
    let entity = Entity::stored(file_of(&bytes), Head::default(), bytes.len() as u64);
    let (mut client, mut served) = connect(entity, vec![Piece::Whole], Some(4_000_000), true).await;
    socket2::SockRef::from(&client).set_recv_buffer_size(1).expect("set");
    client.read_exact(&mut [0; 1000]).await.expect("a beginning");
    drop(client);
    let served = served.recv().await.expect("a report");
    assert!(!served.complete && served.bytes < 4_000_000, "{served:?}");
}

#[tokio::test]
async fn a_stretch_that_was_made_for_another_connection_is_not_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let mut wire = Wire::new(stream);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let on_served = Arc::new(move |_, _: &Served| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let receipt = Arc::new(Receipt::new(on_served, Ipv4Addr::LOCALHOST.into(), Served::of("debian", "a")));
    let mut chunk = super::Chunk::stretch(&Arc::new(file_of(&content(100))), 0..400, &Lane::default(), &receipt);
    drop(receipt);
    assert!(wire.write_buf(&mut chunk).await.is_err());
    drop(chunk);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
