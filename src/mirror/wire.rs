use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use rustix::{
    fs::sendfile,
    io::{Errno, retry_on_intr},
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::yield_now,
};

use super::chunk::{Lane, Marked};

/// After so many bytes the other connections have their turn, however fast this one's client is. Without that, one that takes
/// bytes as fast as they come would keep a thread for 128 MiB, which is how often tokio lets a task poll in a row.
const TURN: usize = 2 << 20;

/// A connection over which stretches of files leave by `sendfile(2)`: from the page cache to the socket without a copy, and
/// without a thread that waits.
///
/// Measured on loopback, beside nginx (sendfile on), with files of 1 GB in the page cache and 10 to 100 clients, in seconds of
/// CPU per GB: 0.10 to 0.14; nginx 0.13 to 0.23; reads of 256 KiB on the blocking pool and writes 0.47 to 0.63, with 270 MB of
/// buffers for 100 clients where there are none now. `mmap(2)` was not considered further: a mapped file that somebody truncates
/// kills the process with `SIGBUS`, which no daemon of root's may risk.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    lane: Lane,
    /// Bytes of files that were sent in this turn.
    turn: usize,
}

impl Wire {
    /// A wire over a connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, lane: Lane::default(), turn: 0 }
    }

    /// For the bodies that leave over this wire, and no other.
    pub fn lane(&self) -> Lane {
        self.lane.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(marked) = self.lane.take(slices)? else {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        };
        // It is woken again once the events of the others have been looked at.
        let result = match self.turn >= TURN && pin!(yield_now()).poll(cx).is_pending() {
            true => Poll::Pending,
            false => self.poll_send(cx, &marked),
        };
        match &result {
            Poll::Ready(Ok(sent)) => self.turn += sent,
            Poll::Ready(Err(_)) | Poll::Pending => self.turn = 0,
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Wire {
    /// Writes plain bytes and what a mark stands for, or as much of them as the socket takes.
    fn poll_send(&self, cx: &mut Context<'_>, marked: &Marked<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || self.send(marked));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn send(&self, marked: &Marked<'_>) -> io::Result<usize> {
        let &Marked { plain, ref file, mut offset, length } = marked;
        let plain_length: usize = plain.iter().map(|slice| slice.len()).sum();
        if plain_length > 0 {
            // MORE: headers share a packet with what follows.
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            let sent = retry_on_intr(|| sendmsg(&self.stream, plain, &mut SendAncillaryBuffer::default(), flags))?;
            if sent < plain_length {
                return Ok(sent);
            }
        }
        match retry_on_intr(|| sendfile(&self.stream, file, Some(&mut offset), length)) {
            // The next try tells why.
            Ok(0) | Err(_) if plain_length > 0 => Ok(plain_length),
            // The file was cut short under our hands. The body is not what was promised, so the connection breaks.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => Ok(plain_length + sent),
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }
}
