use std::{io, time::Instant};

use tokio::{net::UdpSocket, time::timeout_at};

use super::{
    options::Terms,
    packet::{self, ErrorCode, Packet},
    source::Source,
    transfer::{Event, Failure, Step, Transfer, wire_number},
};

/// What a client sends during a transfer is small; of a long ERROR message the beginning is enough.
const RECEIVE: usize = 512;

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Client(#[from] Failure),
    /// Mostly what ICMP says: the client closed its port or left the network. Normal for ROMs, which do not say goodbye.
    #[error("the client cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    #[error("reading the file: {0}")]
    Unreadable(#[source] io::Error),
}

/// One transfer over its own socket, which is connected: the kernel keeps other senders away from it and answers them
/// (port unreachable), and it reports what ICMP says about the client.
pub(super) struct Session {
    socket: UdpSocket,
    source: Source,
    transfer: Transfer,
    option_ack: Vec<u8>,
    /// The DATA packet being sent; kept to be written again.
    datagram: Vec<u8>,
}

impl Session {
    /// Prepares a transfer, and tells its first step.
    pub fn new(socket: UdpSocket, source: Source, terms: &Terms, idle: std::time::Duration) -> (Self, Step) {
        let (transfer, first) = Transfer::start(source.size(), terms, idle, Instant::now());
        let option_ack = packet::option_ack(&terms.granted);
        (Self { socket, source, transfer, option_ack, datagram: Vec::new() }, first)
    }

    /// Bytes that the client is known to have.
    pub fn delivered(&self) -> u64 {
        self.transfer.delivered()
    }

    /// Takes one step after the other, to the end.
    pub async fn run(&mut self, mut step: Step) -> Result<(), End> {
        loop {
            match step {
                Step::Wait => {}
                Step::SendOptionAck => {
                    self.socket.send(&self.option_ack).await.map_err(End::Unreachable)?;
                }
                Step::Send(blocks) => {
                    for block in blocks {
                        self.send(block).await?;
                    }
                }
                Step::Done => return Ok(()),
                Step::Failed(failure) => return Err(failure.into()),
            }
            let event = self.event().await.map_err(End::Unreachable)?;
            step = self.transfer.step(event, Instant::now());
        }
    }

    async fn send(&mut self, block: u64) -> Result<(), End> {
        match self.source.read(self.transfer.bytes_of(block)).await {
            Ok(payload) => {
                packet::data(&mut self.datagram, wire_number(block), payload);
                self.socket.send(&self.datagram).await.map(drop).map_err(End::Unreachable)
            }
            Err(error) => {
                // The operator is told by the log; the client only needs to stop waiting.
                let _ = self.socket.send(&packet::error(ErrorCode::NotDefined, "the file cannot be read")).await;
                Err(End::Unreadable(error))
            }
        }
    }

    async fn event(&mut self) -> io::Result<Event> {
        let mut datagram = [0; RECEIVE];
        loop {
            let Ok(received) = timeout_at(self.transfer.deadline().into(), self.socket.recv(&mut datagram)).await
            else {
                return Ok(Event::Timeout);
            };
            match Packet::parse(&datagram[..received?]) {
                Ok(Packet::Ack(number)) => return Ok(Event::Ack(number)),
                Ok(Packet::Error { code, message }) => return Ok(Event::Error { code, message }),
                // Nothing else belongs to a transfer, and nothing else may keep it alive.
                _ => {}
            }
        }
    }
}
