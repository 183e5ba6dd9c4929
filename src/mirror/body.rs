use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use hyper::body::{Frame, SizeHint};
use tokio::task::spawn_blocking;

use super::{
    chunk::{Chunk, Lane, STRETCH},
    entity::{Entity, Reader},
    pages::{self, Pages},
    receipt::Receipt,
};

/// Up to here bytes are copied rather than sent by the kernel: they leave in one write with the headers. A stored file of 10 kB
/// is four system calls (receive, look at the file, read, write), 13 µs of CPU where nginx takes 17.
const SMALL: u64 = 16 << 10;
/// Most bytes that a reader without a wire, or of a file system that does not tell what is cached, holds at a time.
///
/// They are read on a thread of the blocking pool, since a cold disk may block it. The hop to that thread costs some 10 µs,
/// which 256 KiB (2 ms at 1 Gbit/s) make negligible, while a hundred readers stay at a few dozen MiB.
const CHUNK: u64 = 256 << 10;

/// The body of a response of the mirror: text, and parts of a file, which may still be growing.
///
/// A body that errs must break the connection, as hyper does. A slow reader holds up neither the fetch nor the others: the
/// page cache is the only buffer behind it.
pub struct Body(Inner);

enum Inner {
    Text(Option<Chunk>),
    File(Pin<Box<dyn Stream<Item = io::Result<Chunk>> + Send>>),
}

/// What a body consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the file, whose length is known.
    Part(Range<u64>),
    /// All of the file.
    Whole,
}

impl Body {
    /// These bytes, or none.
    pub(super) fn text(text: Bytes, receipt: Receipt) -> Self {
        receipt.made(text.len() as u64);
        receipt.end();
        Self(Inner::Text((!text.is_empty()).then(|| Chunk::bytes(text, &Arc::new(receipt)))))
    }

    /// Pieces of a file. They leave over the wire of `lane`; without one, as bytes.
    pub(super) fn of(
        entity: Entity,
        pieces: impl Into<VecDeque<Piece>>,
        lane: Option<&Lane>,
        receipt: Receipt,
    ) -> Self {
        let (pieces, lane, receipt) = (pieces.into(), lane.cloned(), Arc::new(receipt));
        let most = if lane.is_some() { STRETCH } else { CHUNK };
        let sender = Sender { entity, pieces, reader: None, lane, most, receipt };
        let chunks = stream::unfold(sender, |mut sender| async { Some((sender.next().await.transpose()?, sender)) });
        Self(Inner::File(Box::pin(chunks)))
    }

    /// Its bytes, in memory.
    pub fn into_data_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
        let copy = |mut chunk: Chunk| chunk.copy_to_bytes(chunk.remaining());
        let chunks = match self.0 {
            Inner::Text(chunk) => stream::iter(chunk.map(Ok)).left_stream(),
            Inner::File(chunks) => chunks.right_stream(),
        };
        chunks.map(move |chunk| chunk.map(copy))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Text(chunk) => f.debug_tuple("Body").field(chunk).finish(),
            Inner::File(_) => f.write_str("Body(of a file)"),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Chunk;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Chunk>>>> {
        match &mut self.0 {
            Inner::Text(chunk) => Poll::Ready(chunk.take().map(|chunk| Ok(Frame::data(chunk)))),
            Inner::File(chunks) => chunks.as_mut().poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Text(chunk) => SizeHint::with_exact(chunk.as_ref().map_or(0, |chunk| chunk.remaining() as u64)),
            Inner::File(_) => SizeHint::default(),
        }
    }
}

/// Makes chunks of pieces.
struct Sender {
    entity: Entity,
    pieces: VecDeque<Piece>,
    reader: Option<Reader>,
    lane: Option<Lane>,
    /// Most bytes of the next chunk.
    most: u64,
    receipt: Arc<Receipt>,
}

impl Sender {
    async fn next(&mut self) -> io::Result<Option<Chunk>> {
        let chunk = loop {
            let Some(reader) = &mut self.reader else {
                match self.pieces.pop_front() {
                    None => break None,
                    Some(Piece::Text(text)) => break Some(Chunk::bytes(text, &self.receipt)),
                    Some(Piece::Part(part)) => self.reader = Some(self.entity.reader(Some(part))),
                    Some(Piece::Whole) => self.reader = Some(self.entity.reader(None)),
                }
                continue;
            };
            match reader.next(self.most).await? {
                None => self.reader = None,
                Some(range) => {
                    // hyper drops a body with a length after its last byte, without asking for the end.
                    self.reader.take_if(|reader| reader.finished());
                    break Some(self.chunk(range).await?);
                }
            }
        };
        self.receipt.made(chunk.as_ref().map_or(0, |chunk| chunk.remaining() as u64));
        if self.reader.is_none() && self.pieces.is_empty() {
            self.receipt.end();
        }
        Ok(chunk)
    }

    /// A range of the file, such that no thread of the runtime waits for a disk.
    async fn chunk(&mut self, range: Range<u64>) -> io::Result<Chunk> {
        let file = self.entity.file();
        if range.end - range.start <= SMALL
            && let Some(bytes) = pages::read_cached(file, &range)
        {
            return Ok(Chunk::bytes(bytes, &self.receipt));
        }
        let blocking = Arc::clone(file);
        if let Some(lane) = self.lane.as_ref().filter(|_| range.end - range.start > SMALL) {
            let pages = Pages::of(file, &range);
            if pages != Pages::Unknown {
                if pages == Pages::Cold {
                    let cold = range.clone();
                    spawn_blocking(move || pages::warm(&blocking, cold)).await.map_err(io::Error::other)??;
                }
                return Ok(Chunk::stretch(file, range, lane, &self.receipt));
            }
            self.most = CHUNK;
        }
        let bytes = spawn_blocking(move || pages::read(&blocking, &range)).await.map_err(io::Error::other)??;
        Ok(Chunk::bytes(bytes, &self.receipt))
    }
}
