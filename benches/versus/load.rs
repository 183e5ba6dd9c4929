//! The clients: each a thread with one connection that asks for the same file again and again.
//!
//! They let the kernel drop what they receive (`MSG_TRUNC`, tcp(7)), so that this machine's cores are the servers'.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use nix::sys::socket::{MsgFlags, recv};
use sha2::{Digest, Sha256};

/// A hundred of these should not be felt.
const STACK: usize = 256 << 10;
/// Room for a head and a body of 10 kB, so that both are one read.
const BUFFER: usize = 16 << 10;
/// Most that is dropped at once. Never touched, so never there.
const DROPPED: usize = 8 << 20;
/// A server that says nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(180);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub length: u64,
}

/// What all clients have received so far.
#[derive(Default)]
pub struct Meter {
    /// Bytes of bodies.
    pub bytes: AtomicU64,
    stop: AtomicBool,
}

/// How a client fared with one file.
#[derive(Debug, Clone, Copy)]
pub struct Got {
    pub first_byte: Duration,
    pub total: Duration,
}

/// Keeps `clients` of them asking while `watch` runs.
pub fn during<T>(target: &Target, clients: usize, watch: impl FnOnce(&Meter) -> T) -> anyhow::Result<T> {
    let (meter, start) = (Meter::default(), Barrier::new(clients + 1));
    thread::scope(|scope| {
        let asking = spawn(scope, clients, |_| {
            let client = Client::connect(target, &meter);
            start.wait();
            let mut client = client?;
            while client.get(Body::Dropped)?.is_some() {}
            Ok(())
        })?;
        start.wait();
        let seen = watch(&meter);
        meter.stop.store(true, Ordering::Relaxed);
        join(asking)?;
        Ok(seen)
    })
}

/// `clients` of them ask for the whole file once, at the same time.
pub fn once(target: &Target, clients: usize) -> anyhow::Result<Vec<Got>> {
    let (meter, start) = (Meter::default(), Barrier::new(clients));
    thread::scope(|scope| {
        let asking = spawn(scope, clients, |_| {
            let client = Client::connect(target, &meter);
            start.wait();
            client?.get(Body::Dropped)?.context("nobody stops it")
        })?;
        join(asking)
    })
}

/// The SHA-256 of what one of `clients` is sent; the others leave when it has all of it.
pub fn digest(target: &Target, clients: usize) -> anyhow::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    during(target, clients - 1, |_| {
        let meter = Meter::default();
        Client::connect(target, &meter)?.get(Body::Hashed(&mut hasher)).map(drop)
    })??;
    Ok(hasher.finalize().into())
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    clients: usize,
    work: impl Fn(usize) -> anyhow::Result<T> + Copy + Send + 'scope,
) -> anyhow::Result<Vec<thread::ScopedJoinHandle<'scope, anyhow::Result<T>>>> {
    let start = |n| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || work(n));
    (0..clients).map(start).collect::<Result<_, _>>().context("starting a client")
}

fn join<T>(asking: Vec<thread::ScopedJoinHandle<'_, anyhow::Result<T>>>) -> anyhow::Result<Vec<T>> {
    asking.into_iter().map(|one| one.join().map_err(|_| anyhow!("a client panicked"))?).collect()
}

enum Body<'a> {
    Dropped,
    Hashed(&'a mut Sha256),
}

struct Client<'a> {
    target: &'a Target,
    meter: &'a Meter,
    request: String,
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl<'a> Client<'a> {
    fn connect(target: &'a Target, meter: &'a Meter) -> anyhow::Result<Self> {
        let request = format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", target.path, target.address);
        Ok(Self { target, meter, request, socket: open(target)?, buffer: vec![0; DROPPED] })
    }

    /// One file, unless the clients are stopped before its end.
    fn get(&mut self, mut body: Body<'_>) -> anyhow::Result<Option<Got>> {
        let begun = Instant::now();
        self.socket.write_all(self.request.as_bytes()).context("asking")?;
        let (close, mut received) = self.head(&mut body)?;
        let mut first_byte = (received > 0).then(|| begun.elapsed());
        while received < self.target.length {
            if self.meter.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let wanted = (self.target.length - received).min(DROPPED as u64) as usize;
            let count = match &mut body {
                Body::Dropped => recv(self.socket.as_raw_fd(), &mut self.buffer[..wanted], MsgFlags::MSG_TRUNC)?,
                Body::Hashed(hasher) => {
                    let count = self.socket.read(&mut self.buffer[..wanted])?;
                    hasher.update(&self.buffer[..count]);
                    count
                }
            };
            ensure!(count > 0, "the body ends after {received} of {} bytes", self.target.length);
            first_byte.get_or_insert_with(|| begun.elapsed());
            received += self.count(count);
        }
        let (first_byte, total) = (first_byte.unwrap_or_default(), begun.elapsed());
        if close {
            self.socket = open(self.target)?;
        }
        Ok((!self.meter.stop.load(Ordering::Relaxed)).then_some(Got { first_byte, total }))
    }

    /// Reads the head. Whether the connection ends after the body, and how much of the body came with the head.
    fn head(&mut self, body: &mut Body<'_>) -> anyhow::Result<(bool, u64)> {
        let mut filled = 0;
        let end = loop {
            let count = self.socket.read(&mut self.buffer[filled..BUFFER]).context("reading a head")?;
            filled += count;
            if let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(count > 0, "the connection ends within a head of {filled} bytes");
            ensure!(filled < BUFFER, "the head does not end");
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<u64>().ok());
        if !head.starts_with("http/1.1 200") || length != Some(self.target.length) {
            bail!("not {} bytes:\n{head}", self.target.length);
        }
        let close = head.contains("\nconnection: close");
        if let Body::Hashed(hasher) = body {
            hasher.update(&self.buffer[end..filled]);
        }
        Ok((close, self.count(filled - end)))
    }

    fn count(&self, bytes: usize) -> u64 {
        self.meter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        bytes as u64
    }
}

fn open(target: &Target) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(target.address).context("connecting")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}
