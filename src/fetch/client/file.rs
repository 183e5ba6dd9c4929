//! What a server would answer, for a file of this machine: an archive in a directory is asked as one behind HTTP is.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::{
    HeaderMap, Method, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LAST_MODIFIED, RANGE,
    },
    http::response::Builder,
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use nix::fcntl::OFlag;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes that are read at a time.
const CHUNK: u64 = 256 * 1024;

/// An answer's beginning, and its body.
pub(super) type Answer = (Builder, Option<Reading>);

/// Answers a `GET` or `HEAD`. Blocks.
///
/// A file that is not there, or a folder, is a 404. Ranges are read as [`super::Outgoing`]'s users write them: `bytes=<first>-`.
///
/// # Errors
/// Whatever else there is to say of the file: that it may not be read, that it is no file.
pub(super) fn answer(method: &Method, path: &Path, asked: &HeaderMap) -> io::Result<Answer> {
    let Some(file) = open(path)? else { return Ok((Builder::new().status(StatusCode::NOT_FOUND), None)) };
    let version = Version::of(&file.metadata()?);
    let answer = Builder::new()
        .header(ETAG, version.etag())
        .header(LAST_MODIFIED, version.last_modified())
        .header(ACCEPT_RANGES, "bytes");
    let length = version.length;
    let (answer, part) = match version.part(asked) {
        Part::NotModified => return Ok((answer.status(StatusCode::NOT_MODIFIED), None)),
        Part::Unsatisfiable => {
            let answer = answer.header(CONTENT_RANGE, format!("bytes */{length}"));
            return Ok((answer.status(StatusCode::RANGE_NOT_SATISFIABLE), None));
        }
        Part::Whole => (answer, 0..length),
        Part::From(first) => {
            let answer = answer.header(CONTENT_RANGE, format!("bytes {first}-{}/{length}", length - 1));
            (answer.status(StatusCode::PARTIAL_CONTENT), first..length)
        }
    };
    let answer = answer.header(CONTENT_LENGTH, part.end - part.start);
    let file = Arc::new(file);
    Ok((answer, (method == Method::GET).then_some(Reading { file, version, left: part, chunk: None })))
}

/// The file at a path; `None` where there is none. Links are followed: the directory is the operator's own.
fn open(path: &Path) -> io::Result<Option<File>> {
    let file = || -> io::Result<Option<File>> {
        let found = fs::metadata(path)?;
        if found.is_dir() {
            return Ok(None);
        }
        // Looked at before it is opened: opening a device can do something.
        let no_file = || Err(io::Error::other("it is a device, a pipe or a socket, not a file"));
        if !found.is_file() {
            return no_file();
        }
        // Should a pipe have taken its place meanwhile, this does not wait for who writes to it.
        let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        if file.metadata()?.is_file() { Ok(Some(file)) } else { no_file() }
    };
    file().or_else(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            Ok(None)
        }
        _ => Err(error),
    })
}

/// Which bytes a file has, as far as that can be told without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    length: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    inode: u64,
}

/// How much of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    From(u64),
    NotModified,
    Unsatisfiable,
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { length: metadata.len(), modified, inode: metadata.ino() }
    }

    fn etag(&self) -> String {
        let Self { length, modified: (seconds, nanoseconds), inode } = self;
        format!("\"{length:x}-{seconds:x}.{nanoseconds:x}-{inode:x}\"")
    }

    /// RFC 9110 §5.6.7. A time that has no such form (before the year 1, after 9999) is given as 1970's beginning.
    fn last_modified(&self) -> String {
        let time = Timestamp::from_second(self.modified.0).unwrap_or_default();
        let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
        printed.unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
    }

    /// RFC 9110 §13.2.2. A date is compared for being the same: what a copy from another mirror was dated says nothing here.
    fn part(&self, asked: &HeaderMap) -> Part {
        let text = |name: HeaderName| asked.get(name)?.to_str().ok();
        let known = match (text(IF_NONE_MATCH), text(IF_MODIFIED_SINCE)) {
            (Some(etag), _) => etag == self.etag(),
            (None, date) => date.is_some_and(|date| date == self.last_modified()),
        };
        if known {
            return Part::NotModified;
        }
        let same = text(IF_RANGE).is_none_or(|version| version == self.etag() || version == self.last_modified());
        let range = text(RANGE).filter(|_| same);
        let first = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match first {
            None => Part::Whole,
            Some(first) if first < self.length => Part::From(first),
            Some(_) => Part::Unsatisfiable,
        }
    }
}

/// The body of an answer. It breaks when the file changes under it, as a connection would.
#[derive(Debug)]
pub(super) struct Reading {
    file: Arc<File>,
    version: Version,
    left: Range<u64>,
    chunk: Option<JoinHandle<io::Result<Bytes>>>,
}

/// The next bytes. The last ones only if the file is still what it was.
fn read(file: &File, version: &Version, left: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from((left.end - left.start).min(CHUNK)).expect("at most CHUNK");
    let mut chunk = vec![0; length];
    file.read_exact_at(&mut chunk, left.start)?;
    let last = left.start + length as u64 == left.end;
    if last && Version::of(&file.metadata()?) != *version {
        return Err(io::Error::other("it was changed while it was read"));
    }
    Ok(chunk.into())
}

impl Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let Self { file, version, left, chunk } = &mut *self;
        let reading = chunk.get_or_insert_with(|| {
            let (file, version, left) = (Arc::clone(file), version.clone(), left.clone());
            // A disk, a disc or a network file system may block, and a worker thread of the runtime must not.
            spawn_blocking(move || read(&file, &version, &left))
        });
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        *chunk = None;
        match &read {
            Ok(bytes) => left.start += bytes.len() as u64,
            Err(_) => left.start = left.end,
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}
