//! The archive behind the mirrors: cheap, counted, and as slow as it is told to be.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    content::{Blocks, length_of},
    peers::listen,
};

/// Smallest step of a throttled upstream.
const STEP: u64 = 64 << 10;

/// Serves until the program ends.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What was asked of the upstream for a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub requests: u64,
    pub bytes: u64,
}

#[derive(Default)]
struct Shared {
    tallies: Mutex<HashMap<String, Tally>>,
    pace: Mutex<Pace>,
}

/// All connections together send no faster than `rate`, in bytes per second.
#[derive(Default)]
struct Pace {
    rate: Option<u64>,
    free: Option<Instant>,
}

struct Request {
    path: String,
    head: bool,
    range: Option<(u64, Option<u64>)>,
    keep: bool,
}

impl Upstream {
    pub fn start() -> anyhow::Result<Self> {
        let listener = listen()?;
        let (address, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // A mirror that hangs up is no error here: what it was sent is counted.
                thread::spawn(move || state.serve(&stream));
            }
        });
        Ok(Self { address, shared })
    }

    /// From now on: bytes per second, or as fast as it goes.
    pub fn throttle(&self, rate: Option<u64>) {
        *lock(&self.shared.pace) = Pace { rate, free: None };
    }

    pub fn tally(&self, path: &str) -> Tally {
        lock(&self.shared.tallies).get(path).copied().unwrap_or_default()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut reader, mut blocks) = (BufReader::new(stream), Blocks::new());
        while let Some(request) = Request::read(&mut reader)? {
            self.answer(&request, stream, &mut blocks)?;
            if !request.keep {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request, mut stream: &TcpStream, blocks: &mut Blocks) -> io::Result<()> {
        let Some(length) = length_of(&request.path) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        };
        lock(&self.tallies).entry(request.path.clone()).or_default().requests += 1;
        let (status, Range { mut start, end }) = request.part_of(length);
        let part = if end - start < length {
            format!("Content-Range: bytes {start}-{}/{length}\r\n", end - 1)
        } else {
            String::new()
        };
        let connection = if request.keep { "keep-alive" } else { "close" };
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{part}Content-Length: {}\r\n\
             Content-Type: application/vnd.debian.binary-package\r\nAccept-Ranges: bytes\r\nETag: \"{length}\"\r\n\
             Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\nConnection: {connection}\r\n\r\n",
            end - start
        )?;
        while !request.head && start < end {
            let piece = blocks.piece(start..self.wait(start..end));
            stream.write_all(piece)?;
            start += piece.len() as u64;
            lock(&self.tallies).entry(request.path.clone()).or_default().bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Waits for this connection's turn. Up to where it may send then.
    fn wait(&self, wanted: Range<u64>) -> u64 {
        let mut pace = lock(&self.pace);
        let Some(rate) = pace.rate else { return wanted.end };
        let (now, end) = (Instant::now(), wanted.end.min(wanted.start + STEP));
        let turn = pace.free.unwrap_or(now).max(now);
        pace.free = Some(turn + Duration::from_secs_f64((end - wanted.start) as f64 / rate as f64));
        drop(pace);
        crate::pause(turn - now);
        end
    }
}

impl Request {
    /// The next one, if the client has one more.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path, version) = (words.next(), words.next().unwrap_or_default(), words.next());
        let mut request = Self {
            path: path.trim_start_matches('/').to_owned(),
            head: method.as_deref() == Some("HEAD"),
            range: None,
            keep: version.as_deref() == Some("HTTP/1.1"),
        };
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                return Ok(Some(request));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some((first, last)) = line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
                request.range = first.parse().ok().map(|first| (first, last.parse().ok()));
            } else if line == "connection: close" {
                request.keep = false;
            }
        }
    }

    fn part_of(&self, length: u64) -> (&'static str, Range<u64>) {
        match self.range {
            Some((first, last)) if first < length => {
                ("206 Partial Content", first..last.map_or(length, |last| length.min(last + 1)))
            }
            _ => ("200 OK", 0..length),
        }
    }
}

/// What is behind these locks is right after every single statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
