//! What is measured: a case is done by every peer in turn, round after round, and all of them by the same clients.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    content, load,
    load::Target,
    peers::{Peer, Running},
    process,
    table::{Metric, Row},
    upstream::Upstream,
};

const MB: f64 = 1e6;
const GB: f64 = 1e9;
/// How often another server may fail at the same thing.
const TRIES: usize = 3;

/// What every hit is measured by.
pub static OF_HITS: [Metric; 4] = [
    Metric::more("MB/s", "speed", 0),
    Metric::only("req/s", 0),
    Metric::less("CPU s/GB", "CPU", 3),
    Metric::less("peak MB", "memory", 1),
];

/// What every miss is measured by.
pub static OF_MISSES: [Metric; 5] = [
    Metric::less("time s", "time", 2),
    Metric::less("1st byte ms", "1st byte", 1),
    Metric::less("upstream", "upstream", 2),
    Metric::less("CPU s/GB", "CPU", 3),
    Metric::less("peak MB", "memory", 1),
];

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub work: Work,
    /// Bytes of the file.
    pub length: u64,
    pub clients: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The server has the file.
    Hit,
    /// The server has nothing, and an upstream of so many bytes per second.
    Miss { rate: Option<u64> },
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Clients ask for so long before it counts: connections are open then, and windows wide.
    pub warm_up: Duration,
    pub window: Duration,
    pub rounds: usize,
    /// A miss of 1 GB with fifty clients moves 50 GB.
    pub rounds_of_misses: usize,
}

/// What all cases are measured with.
pub struct Bench {
    pub upstream: Upstream,
    pub folder: PathBuf,
    pub peers: Vec<Peer>,
    pub effort: Effort,
}

impl Bench {
    pub fn measure(&self, case: Case) -> anyhow::Result<Row> {
        let (rate, rounds) = match case.work {
            Work::Hit => (None, self.effort.rounds),
            Work::Miss { rate } => (rate, self.effort.rounds_of_misses),
        };
        let expected = content::digest(case.length);
        self.upstream.throttle(None);
        for &peer in &self.peers {
            let sent = patiently(peer, case, || self.digest(peer, case))?;
            ensure!(sent == expected, "{peer} sends another file: {case}");
        }
        self.upstream.throttle(rate);
        let mut samples = vec![Vec::new(); self.peers.len()];
        for round in 0..rounds {
            // Each is once the first, and once after each other.
            for turn in 0..self.peers.len() {
                let nth = (round + turn) % self.peers.len();
                let peer = self.peers[nth];
                samples[nth].push(patiently(peer, case, || match case.work {
                    Work::Hit => self.hit(peer, case),
                    Work::Miss { .. } => self.miss(peer, case),
                })?);
            }
        }
        Ok(Row { case: case.to_string(), metrics: case.metrics(), peers: self.peers.clone(), samples })
    }

    /// The SHA-256 of what one of several clients gets. Afterwards a server that is to be hit has the file.
    fn digest(&self, peer: Peer, case: Case) -> anyhow::Result<[u8; 32]> {
        let fresh = (case.work != Work::Hit).then(|| self.fresh()).transpose()?;
        let folder = fresh.as_ref().map_or_else(|| self.kept(peer), |fresh| fresh.path().to_owned());
        let (_running, target) = self.start(peer, &folder, case)?;
        load::digest(&target, case.clients.min(4))
    }

    fn hit(&self, peer: Peer, case: Case) -> anyhow::Result<Vec<f64>> {
        let (running, target) = self.start(peer, &self.kept(peer), case)?;
        // What a server does once after its start is not what is measured: nginx reads its cache's folders, and ours compares a
        // stored file with its digest.
        load::once(&target, 1)?;
        let asked = self.upstream.tally(&content::path(case.length)).requests;
        let (bytes, cpu, elapsed) = load::during(&target, case.clients, |meter| {
            let now = || {
                Ok::<_, anyhow::Error>((meter.bytes.load(Ordering::Relaxed), running.process.cpu()?, Instant::now()))
            };
            crate::pause(self.effort.warm_up);
            let begun = now()?;
            crate::pause(self.effort.window);
            let ended = now()?;
            Ok::<_, anyhow::Error>((ended.0 - begun.0, ended.1 - begun.1, ended.2 - begun.2))
        })??;
        let asked = self.upstream.tally(&content::path(case.length)).requests - asked;
        ensure!(asked == 0, "it has asked upstream {asked} times for a file that it had");
        let speed = bytes as f64 / elapsed.as_secs_f64();
        Ok(vec![speed / MB, speed / case.length as f64, per_gb(cpu, bytes), running.process.peak_memory()? as f64 / MB])
    }

    fn miss(&self, peer: Peer, case: Case) -> anyhow::Result<Vec<f64>> {
        let fresh = self.fresh()?;
        let (running, target) = self.start(peer, fresh.path(), case)?;
        let (asked, cpu) = (self.upstream.tally(&content::path(case.length)).bytes, running.process.cpu()?);
        let mut got = load::once(&target, case.clients)?;
        let cpu = running.process.cpu()? - cpu;
        let asked = self.upstream.tally(&content::path(case.length)).bytes - asked;
        let slowest = got.iter().map(|got| got.total).max().context("a client")?;
        got.sort_unstable_by_key(|got| got.first_byte);
        Ok(vec![
            slowest.as_secs_f64(),
            got[got.len() / 2].first_byte.as_secs_f64() * 1e3,
            asked as f64 / case.length as f64,
            per_gb(cpu, case.clients as u64 * case.length),
            running.process.peak_memory()? as f64 / MB,
        ])
    }

    fn start(&self, peer: Peer, folder: &Path, case: Case) -> anyhow::Result<(Running, Target)> {
        let running = peer.start(folder, self.upstream.address)?;
        let path = format!("{}{}", running.prefix, content::path(case.length));
        let target = Target { address: running.address, path, length: case.length };
        Ok((running, target))
    }

    /// Where what a server was hit with stays.
    fn kept(&self, peer: Peer) -> PathBuf {
        self.folder.join(peer.to_string())
    }

    /// Nothing is waiting to be written to the disk when a miss begins: what was is gone with the folder before.
    fn fresh(&self) -> anyhow::Result<tempfile::TempDir> {
        fs::create_dir_all(&self.folder)?;
        nix::unistd::sync();
        tempfile::tempdir_in(&self.folder).context("making a folder")
    }
}

impl Case {
    pub fn metrics(self) -> &'static [Metric] {
        match self.work {
            Work::Hit => &OF_HITS,
            Work::Miss { .. } => &OF_MISSES,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, length, clients } = *self;
        let work = match work {
            Work::Hit => "hit".to_owned(),
            Work::Miss { rate: None } => "miss".to_owned(),
            Work::Miss { rate: Some(rate) } => format!("miss at {}/s", size(rate)),
        };
        write!(f, "{work}, {}, {clients} client{}", size(length), if clients == 1 { "" } else { "s" })
    }
}

/// Has a server do it again if it failed, unless it is ours. nginx that has just started asks upstream for what it has, now
/// and then; apt-cacher-ng breaks off when many clients want what it does not have yet.
fn patiently<T>(peer: Peer, case: Case, work: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let tries = if peer == Peer::Ours { 1 } else { TRIES };
    for _ in 1..tries {
        match work() {
            Ok(done) => return Ok(done),
            Err(error) => eprintln!("{peer} is tried again: {case}: {error:#}"),
        }
    }
    work().with_context(|| format!("measuring {peer}: {case}"))
}

/// Seconds for a GB; not a number where the clock is too coarse to tell.
fn per_gb(cpu: Duration, bytes: u64) -> f64 {
    if cpu < 5 * process::TICK { f64::NAN } else { cpu.as_secs_f64() / (bytes as f64 / GB) }
}

/// As the table says it: every number here is a round one.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{} GB", bytes / 1_000_000_000),
        1_000_000.. => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} kB", bytes / 1000),
    }
}
