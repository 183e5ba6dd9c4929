//! A TFTP client written from the RFCs, for what no client program can be told to do.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

/// Longer than any answer takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    socket: UdpSocket,
    server: SocketAddrV4,
}

/// A read request for `name`, with options as they are written.
pub fn read_request(name: &[u8], options: &[(&str, &str)]) -> Vec<u8> {
    let options =
        options.iter().flat_map(|(option, value)| [option.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    [b"\0\x01", name, b"\0octet\0"].concat().into_iter().chain(options).collect()
}

pub fn ack(block: u16) -> Vec<u8> {
    [[0, 4], block.to_be_bytes()].concat()
}

/// What edk2 sends when it knows the size.
pub const ABORT: &[u8] = b"\0\x05\0\x08User aborted the transfer\0";

impl Client {
    /// A client of `server`, on a port of its own.
    pub fn of(server: SocketAddrV4) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a client socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, server }
    }

    /// Sends to the listening port.
    pub fn ask(&self, datagram: &[u8]) {
        self.send(datagram, self.server.into());
    }

    pub fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.socket.send_to(datagram, to).expect("sent");
    }

    /// The next datagram, and the transfer id (address and port) that it came from.
    pub fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut datagram = vec![0; 65536];
        let (length, from) = self.socket.recv_from(&mut datagram).expect("an answer");
        datagram.truncate(length);
        (datagram, from)
    }

    /// Asks, and returns the code of the ERROR that comes back.
    pub fn refusal(&self, datagram: &[u8]) -> u8 {
        self.ask(datagram);
        let (answer, _) = self.receive();
        assert_eq!(answer[..3], [0, 5, 0], "{}", answer.escape_ascii());
        answer[3]
    }

    /// Asks for a file and reads it to the end.
    pub fn download(&self, name: &str, options: &[(&str, &str)]) -> Vec<u8> {
        self.ask(&read_request(name.as_bytes(), options));
        let option = |wanted: &str, default: usize| {
            let asked = options.iter().find(|(name, _)| *name == wanted);
            asked.map_or(default, |(_, value)| value.parse().expect("a number"))
        };
        self.finish(self.receive(), option("blksize", 512), option("windowsize", 1))
    }

    /// Reads a file to the end, of which `first` was the first answer.
    pub fn finish(&self, first: (Vec<u8>, SocketAddr), block_size: usize, window: usize) -> Vec<u8> {
        let (mut file, mut last, mut unacknowledged) = (Vec::new(), 0u16, 0);
        let (mut answer, server) = first;
        loop {
            match answer[..2] {
                [0, 6] if file.is_empty() => self.send(&ack(0), server),
                [0, 6] => {}
                [0, 3] if answer[2..4] == last.wrapping_add(1).to_be_bytes() => {
                    last = last.wrapping_add(1);
                    file.extend_from_slice(&answer[4..]);
                    unacknowledged += 1;
                    let complete = answer.len() < 4 + block_size;
                    if complete || unacknowledged == window {
                        unacknowledged = 0;
                        self.send(&ack(last), server);
                    }
                    if complete {
                        return file;
                    }
                }
                [0, 3] => {
                    unacknowledged = 0;
                    self.send(&ack(last), server);
                }
                _ => panic!("unexpected: {}", answer.escape_ascii()),
            }
            let (next, from) = self.receive();
            assert_eq!(from, server, "one transfer, one transfer id");
            answer = next;
        }
    }
}
