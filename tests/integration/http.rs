//! What clients may do to the server of the provisioning network by holding on to its connections.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use crate::mirror::bench::{Bench, listen, room_for_connections};

/// Connections that one client may hold.
const MOST: usize = 256;

/// The head of a report, but for the line that ends it.
const REPORT: &str = "POST /callback/52:54:00:00:00:01/0123/failed HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n";

async fn server() -> SocketAddr {
    listen(Bench::start(|_| Vec::new()).await.proxy)
}

/// A connection from `127.0.0.<host>`.
async fn connect(server: SocketAddr, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).expect("an address of loopback");
    socket.connect(server).await.expect("connected")
}

/// Whether a request over this connection is answered; otherwise the connection is closed.
async fn is_answered(connection: &mut TcpStream) -> bool {
    let mut byte = [0];
    let sent = connection.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sent.is_ok() && matches!(connection.read(&mut byte).await, Ok(1))
}

#[tokio::test]
async fn a_machine_that_dies_between_the_head_of_its_report_and_the_body_does_not_keep_its_connection() {
    let mut connection = BufReader::new(connect(server().await, 1).await);
    connection.write_all(format!("{REPORT}Expect: 100-continue\r\n\r\n").as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    connection.read_exact(&mut go_on).await.expect("the server waits for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(b"disk").await.expect("sent");

    tokio::time::pause();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("the server's end");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_holds_all_the_connections_it_can_leaves_the_others_theirs() {
    room_for_connections();
    let server = server().await;
    let mut held = join_all((0..MOST).map(|_| connect(server, 2))).await;
    for connection in &mut held {
        connection.write_all(format!("{REPORT}\r\n").as_bytes()).await.expect("sent");
    }
    for _ in 0..2 {
        assert!(!is_answered(&mut connect(server, 2).await).await, "one more than a client may hold");
    }
    assert!(is_answered(&mut connect(server, 3).await).await, "another client");
    held.pop();
    while !is_answered(&mut connect(server, 2).await).await {}
}
