use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{options::Terms, rto::Rto};

/// One file on its way to one client, without the socket and without the bytes.
///
/// Blocks count from 1 and do not wrap here; only [`wire_number`] knows that RFC 1350 gave them 16 bits. In flight are the
/// blocks `base..next`, never more than a window.
///
/// The Sorcerer's Apprentice (RFC 1123 §4.2.3.1) is one duplicate that breeds another in every later window. In lockstep a
/// block is sent only because `base` moved or time ran out. In windows of more than one block the client may also say
/// that it lost some (RFC 7440 §4), by acknowledging what comes before them; but the echo of a block that reached it twice
/// looks just the same. So that is believed once, and then not before a whole window went by in which nothing was sent
/// twice (`credible`). Until then the timeout cares for what is lost.
#[derive(Debug)]
pub(super) struct Transfer {
    size: u64,
    block_size: u64,
    window: u64,
    /// How long the client may be silent altogether.
    patience: Duration,
    rto: Rto,
    /// The OACK is out and not acknowledged.
    offering: bool,
    /// First block not acknowledged.
    base: u64,
    /// First block not sent since `base` moved.
    next: u64,
    /// When the last thing was sent.
    sent: Instant,
    /// When the transfer last moved forward.
    moved: Instant,
    /// Some of what is in flight was sent more than once.
    repeated: bool,
    /// An acknowledgment short of the window's end is news of a loss, not an echo.
    credible: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// ACK with this number on the wire.
    Ack(u16),
    /// ERROR.
    Error { code: u16, message: String },
    /// [`Transfer::deadline`] passed.
    Timeout,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until the next event.
    Wait,
    /// Send the OACK.
    SendOptionAck,
    /// Send these blocks, in order.
    Send(Range<u64>),
    /// The client has everything.
    Done,
    /// The transfer is over, and the client needs no word about it.
    Failed(Failure),
}

/// Why a transfer ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// edk2 ends each of its size probes so (code 8).
    #[error("ended by the client: {message:?}, code {code}")]
    Ended { code: u16, message: String },
    #[error("the client went silent")]
    Silent,
}

/// A block's number on the wire: the lower 16 bits, so that 0 follows 65535.
pub(super) fn wire_number(block: u64) -> u16 {
    block as u16
}

impl Transfer {
    /// Begins to send `size` bytes. `idle` is how long the client may be silent, unless the timeout that it negotiated needs
    /// more for three tries.
    pub fn start(size: u64, terms: &Terms, idle: Duration, now: Instant) -> (Self, Step) {
        let mut transfer = Self {
            size,
            block_size: terms.block_size as u64,
            window: terms.window,
            patience: idle.max(terms.timeout.unwrap_or_default() * 3),
            rto: Rto::new(terms.timeout),
            offering: !terms.granted.is_empty(),
            base: 1,
            next: 1,
            sent: now,
            moved: now,
            repeated: false,
            credible: true,
        };
        let step = if transfer.offering { Step::SendOptionAck } else { transfer.send_from(1) };
        (transfer, step)
    }

    /// Takes an event. After [`Step::Done`] or [`Step::Failed`] there are no more.
    pub fn step(&mut self, event: Event, now: Instant) -> Step {
        match event {
            Event::Ack(number) => self.acknowledged(number, now),
            Event::Error { code, message } => Step::Failed(Failure::Ended { code, message }),
            Event::Timeout if now >= self.moved + self.patience => Step::Failed(Failure::Silent),
            Event::Timeout => {
                self.rto.unanswered();
                self.repeat(now)
            }
        }
    }

    /// When to send an [`Event::Timeout`].
    pub fn deadline(&self) -> Instant {
        (self.sent + self.rto.current()).min(self.moved + self.patience)
    }

    /// The bytes of a block in the file. The last block is shorter than the others, and empty when they end with the file:
    /// that is how the client knows it (RFC 1350 §6).
    pub fn bytes_of(&self, block: u64) -> Range<u64> {
        let end_of = |blocks: u64| blocks.saturating_mul(self.block_size).min(self.size);
        end_of(block - 1)..end_of(block)
    }

    /// Bytes that the client is known to have.
    pub fn delivered(&self) -> u64 {
        self.bytes_of(self.base).start
    }

    fn last_block(&self) -> u64 {
        self.size / self.block_size + 1
    }

    fn acknowledged(&mut self, number: u16, now: Instant) -> Step {
        // Counted from the last acknowledged block, so that the wrap of the numbers falls out. A late acknowledgment of an
        // earlier block is "ahead" by nearly 65536 and so never in flight.
        let ahead = u64::from(number.wrapping_sub(wire_number(self.base - 1)));
        match ahead {
            0 if self.offering => {
                self.offering = false;
                self.advance(0, now)
            }
            0 if self.credible && self.window > 1 => self.repeat(now),
            ahead if (1..=self.next - self.base).contains(&ahead) => self.advance(ahead, now),
            _ => Step::Wait,
        }
    }

    fn advance(&mut self, blocks: u64, now: Instant) -> Step {
        self.rto.answered((!self.repeated).then(|| now.saturating_duration_since(self.sent)));
        self.base += blocks;
        self.moved = now;
        self.sent = now;
        if self.base > self.last_block() {
            return Step::Done;
        }
        if self.base == self.next {
            self.credible = !self.repeated;
            self.repeated = false;
        } else if self.credible {
            self.credible = false;
            self.repeated = true;
            return self.send_from(self.base);
        }
        self.send_from(self.next)
    }

    /// Fills the window, beginning with `from`.
    fn send_from(&mut self, from: u64) -> Step {
        self.next = (self.base + self.window).min(self.last_block() + 1);
        if from == self.next { Step::Wait } else { Step::Send(from..self.next) }
    }

    fn repeat(&mut self, now: Instant) -> Step {
        self.sent = now;
        self.repeated = true;
        self.credible = false;
        if self.offering { Step::SendOptionAck } else { Step::Send(self.base..self.next) }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
