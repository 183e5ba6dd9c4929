use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::{Buf, Bytes};

use super::receipt::Receipt;

/// Most bytes of a file that one chunk stands for.
///
/// It is what one connection may send before the others get their turn, 0.1 ms of work or so. More than hyper buffers (400 KiB),
/// so that there is one of them at a time in a connection.
pub(super) const STRETCH: u64 = 1 << 20;
/// Most stretches of one write. hyper queues 16 chunks at most.
const MARKS: usize = 64;
/// How much of a stretch is read at a time by who wants its bytes in memory.
const FLAT: u64 = 64 << 10;

/// A piece of a body: bytes, or a stretch of a file that the kernel sends by itself.
///
/// A stretch is for one connection's [`Wire`](super::Wire), by way of hyper, which must not know. hyper (1.12) in its queueing
/// mode, which a vectored writer gets, never touches the bytes of a body: `proto::h1::io` asks its queue for slices
/// (`chunks_vectored`), hands them to `poll_write_vectored` in the same statement, and advances the queue by what was written.
/// What a stretch gives it is a slice of the right length in a region of memory that nobody reads, a *mark*. Where in the region
/// the mark begins says which entry of the connection's [`Lane`] it is; there the wire finds the file and the place in it.
///
/// Whoever wants the bytes themselves (`chunk`, as hyper in its flattening mode) gets them, read from the file: what a client
/// receives is right whatever hyper does, and the mark only makes it cheap. It would be wrong only where the slices of a stretch
/// reach another writer than the wire whose lane it was made for, and a lane is made by its wire alone.
pub struct Chunk {
    data: Data,
    /// Counts what was taken.
    receipt: Option<Arc<Receipt>>,
}

enum Data {
    Bytes(Bytes),
    Stretch(Stretch),
}

struct Stretch {
    file: Arc<File>,
    range: Range<u64>,
    lane: Lane,
    /// The first bytes, once somebody wanted them in memory.
    flat: OnceLock<Bytes>,
}

/// What the marks of one write stand for: shared by a connection's wire and the stretches of its bodies.
#[derive(Debug, Clone, Default)]
pub struct Lane(Arc<Mutex<Vec<Mark>>>);

/// Where in which file a mark's bytes are.
#[derive(Debug)]
struct Mark {
    file: Arc<File>,
    offset: u64,
}

/// A write with a stretch in it, up to that stretch's end.
#[derive(Debug)]
pub(super) struct Marked<'a> {
    /// Plain bytes, which come first.
    pub plain: &'a [IoSlice<'a>],
    /// Then these of this file.
    pub file: Arc<File>,
    pub offset: u64,
    pub length: usize,
}

/// The region of the marks: zeroes that the kernel never has to make, since nobody touches them.
static REGION: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; usize::try_from(STRETCH).expect("1 MiB") + MARKS]);

impl Chunk {
    /// Bytes that are there.
    pub(super) fn bytes(bytes: impl Into<Bytes>, receipt: &Arc<Receipt>) -> Self {
        Self { data: Data::Bytes(bytes.into()), receipt: Some(Arc::clone(receipt)) }
    }

    /// A range of a file, [`STRETCH`] bytes at most, for the wire of this lane.
    pub(super) fn stretch(file: &Arc<File>, range: Range<u64>, lane: &Lane, receipt: &Arc<Receipt>) -> Self {
        debug_assert!(range.end - range.start <= STRETCH, "a mark lies within the region");
        let stretch = Stretch { file: Arc::clone(file), range, lane: lane.clone(), flat: OnceLock::new() };
        Self { data: Data::Stretch(stretch), receipt: Some(Arc::clone(receipt)) }
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self { data: Data::Bytes(bytes), receipt: None }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            Data::Bytes(bytes) => write!(f, "Chunk({} bytes)", bytes.len()),
            Data::Stretch(stretch) => write!(f, "Chunk({:?} of a file)", stretch.range),
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        match &self.data {
            Data::Bytes(bytes) => bytes.len(),
            Data::Stretch(stretch) => stretch.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match &self.data {
            Data::Bytes(bytes) => bytes,
            Data::Stretch(stretch) => stretch.read(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some(first) = slices.first_mut().filter(|_| self.has_remaining()) else { return 0 };
        *first = IoSlice::new(match &self.data {
            Data::Bytes(bytes) => bytes,
            Data::Stretch(stretch) => stretch.mark(),
        });
        1
    }

    fn advance(&mut self, count: usize) {
        match &mut self.data {
            Data::Bytes(bytes) => bytes.advance(count),
            Data::Stretch(stretch) => stretch.advance(count),
        }
        if let Some(receipt) = &self.receipt {
            receipt.sent(count as u64);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        let bytes = match &mut self.data {
            Data::Bytes(bytes) => bytes.split_to(length),
            Data::Stretch(stretch) => stretch.copy(length),
        };
        if let Some(receipt) = &self.receipt {
            receipt.sent(length as u64);
        }
        bytes
    }
}

impl Stretch {
    fn remaining(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).expect("at most STRETCH")
    }

    fn mark(&self) -> &[u8] {
        let mut marks = self.lane.marks();
        let slot = marks.len();
        if slot == MARKS {
            return self.read();
        }
        marks.push(Mark { file: Arc::clone(&self.file), offset: self.range.start });
        &REGION[slot..][..self.remaining()]
    }

    /// Its first bytes, in memory.
    fn read(&self) -> &[u8] {
        self.flat.get_or_init(|| {
            let mut bytes = vec![0; self.remaining().min(FLAT as usize)];
            // `Buf` has no word for a failure, and fewer bytes than were promised would be taken for the end of the body, with
            // the next answer for its rest. A panic ends this one connection, as a failed write does.
            self.file.read_exact_at(&mut bytes, self.range.start).expect("what is to be sent can be read");
            bytes.into()
        })
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced beyond the end");
        self.range.start += count as u64;
        if let Some(mut flat) = self.flat.take()
            && flat.len() > count
        {
            flat.advance(count);
            self.flat = flat.into();
        }
    }

    fn copy(&mut self, length: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let piece = self.read();
            let piece = &piece[..piece.len().min(length - bytes.len())];
            bytes.extend_from_slice(piece);
            let taken = piece.len();
            self.advance(taken);
        }
        bytes.into()
    }
}

impl Lane {
    /// What the first mark among the slices of a write stands for, if there is one.
    ///
    /// It takes all marks away, which are made for one write: whoever writes next makes them anew.
    ///
    /// # Errors
    /// A mark that another lane gave out.
    pub(super) fn take<'a>(&self, slices: &'a [IoSlice<'a>]) -> io::Result<Option<Marked<'a>>> {
        let mut marked = slices.iter().enumerate();
        let Some((at, slot, length)) = marked.find_map(|(at, slice)| Some((at, Self::slot(slice)?, slice.len())))
        else {
            return Ok(None);
        };
        let mut marks = self.marks();
        let mark = marks.drain(..).nth(slot);
        let Mark { file, offset } =
            mark.ok_or_else(|| io::Error::other("a stretch was made for another connection"))?;
        Ok(Some(Marked { plain: &slices[..at], file, offset, length }))
    }

    /// The slot that a slice marks, if it is a mark.
    fn slot(slice: &[u8]) -> Option<usize> {
        slice.as_ptr().addr().checked_sub(REGION.as_ptr().addr()).filter(|slot| *slot < MARKS && !slice.is_empty())
    }

    /// Those that were made since they were last taken, by slot.
    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        // A panic in a chunk leaves whole marks.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
