//! A server as a process: started, watched from outside, ended by its id.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Unit of the times in `/proc/<pid>/stat` (proc(5)): 100 in a second on every architecture that Debian has.
pub const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(20);
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Ends, with the processes that it started, when dropped.
pub struct Process {
    child: Child,
    errors: PathBuf,
}

impl Process {
    /// Its standard error goes to a file in `folder`.
    pub fn start(command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let errors = folder.join("stderr");
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors)?).spawn();
        let child = started.with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, errors })
    }

    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits until it takes connections.
    pub fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                bail!("it does not listen on {address}: {}", fs::read_to_string(&self.errors).unwrap_or_default());
            }
            crate::pause(TICK);
        }
        Ok(())
    }

    /// Time on processors so far, the kernel's work for it included.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        self.family().into_iter().map(cpu_of).sum()
    }

    /// The most memory of its own that it had: resident, without what it shares with files (programs, page cache) and others.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        self.family().into_iter().map(peak_of).sum()
    }

    /// Itself and what it started.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(&pid) = family.get(next) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            next += 1;
        }
        family
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let family = self.family();
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                for pid in &family {
                    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
                }
            }
            crate::pause(TICK / 5);
        }
    }
}

fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses that may hold anything; utime and stime are the 14th and the 15th.
    let fields = stat.rsplit_once(')').context("a name")?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}

fn peak_of(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let value =
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        value.with_context(|| format!("{name} of process {pid}"))
    };
    let shared = field("RssFile:")? + field("RssShmem:")?;
    Ok(field("VmHWM:")?.saturating_sub(shared) * 1024)
}
