//! A client written from the RFCs alone, and a network without sockets or clocks that loses, repeats and reorders.
//!
//! The client is the worst that the RFCs allow: it acknowledges every block that it did not expect.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::*;

/// A datagram under way.
#[derive(Debug, Clone)]
pub enum Message {
    OptionAck,
    Data(u16, Vec<u8>),
    Ack(u16),
}

/// Decides the fate of each datagram: how long each copy that arrives takes. No copy means that it was lost.
pub type Link<'a> = &'a mut dyn FnMut(&Message) -> Vec<Duration>;

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    pub received: Vec<u8>,
    pub complete: bool,
    pub end: Step,
    pub blocks_sent: u64,
    pub lasted: Duration,
}

#[derive(Debug, Default)]
struct Client {
    block_size: usize,
    window: usize,
    /// Last block received in order.
    last: u16,
    unacknowledged: usize,
    file: Vec<u8>,
    complete: bool,
}

impl Client {
    fn receive(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::OptionAck if self.file.is_empty() => Some(Message::Ack(0)),
            Message::Data(block, payload) if block == self.last.wrapping_add(1) && !self.complete => {
                self.last = block;
                self.complete = payload.len() < self.block_size;
                self.file.extend(payload);
                self.unacknowledged += 1;
                (self.complete || self.unacknowledged == self.window).then(|| self.acknowledge())
            }
            Message::Data(..) => Some(self.acknowledge()),
            _ => None,
        }
    }

    fn acknowledge(&mut self) -> Message {
        self.unacknowledged = 0;
        Message::Ack(self.last)
    }
}

/// Runs one transfer of `file` to its end. The client says its last acknowledgment again after `client_timeout` of silence.
pub fn run(file: &[u8], terms: &Terms, client_timeout: Duration, link: Link<'_>) -> Outcome {
    let begin = Instant::now();
    let mut network = Network { link, under_way: BTreeMap::new(), counter: 0 };
    let mut client = Client { block_size: terms.block_size, window: terms.window as usize, ..Client::default() };
    let mut client_deadline = begin + client_timeout;
    let (mut transfer, mut step) = Transfer::start(file.len() as u64, terms, Duration::from_secs(30), begin);
    let (mut now, mut blocks_sent) = (begin, 0);
    loop {
        match step {
            Step::Wait => {}
            Step::SendOptionAck => network.send(Message::OptionAck, now),
            Step::Send(ref blocks) => {
                assert!((blocks.end - blocks.start) <= terms.window, "{blocks:?} is more than a window");
                for block in blocks.clone() {
                    let bytes = transfer.bytes_of(block);
                    let payload = file[bytes.start as usize..bytes.end as usize].to_vec();
                    network.send(Message::Data(wire_number(block), payload), now);
                    blocks_sent += 1;
                }
            }
            Step::Done | Step::Failed(_) => {
                let Client { file: received, complete, .. } = client;
                return Outcome { received, complete, end: step, blocks_sent, lasted: now - begin };
            }
        }
        step = loop {
            let arrival = network.under_way.first_key_value().map(|((at, _), _)| *at);
            let next = arrival.into_iter().chain([client_deadline, transfer.deadline()]).min().expect("two deadlines");
            now = next;
            if arrival == Some(next) {
                let (_, message) = network.under_way.pop_first().expect("it was there");
                if let Message::Ack(number) = message {
                    break transfer.step(Event::Ack(number), now);
                }
                client_deadline = now + client_timeout;
                client.receive(message).into_iter().for_each(|answer| network.send(answer, now));
            } else if next == transfer.deadline() {
                break transfer.step(Event::Timeout, now);
            } else {
                client_deadline = now + client_timeout;
                let answer = client.acknowledge();
                network.send(answer, now);
            }
        };
    }
}

struct Network<'a> {
    link: Link<'a>,
    under_way: BTreeMap<(Instant, u64), Message>,
    counter: u64,
}

impl Network<'_> {
    fn send(&mut self, message: Message, now: Instant) {
        for delay in (self.link)(&message) {
            self.counter += 1;
            self.under_way.insert((now + delay, self.counter), message.clone());
        }
    }
}
