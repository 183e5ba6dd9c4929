//! Who is compared: each starts on a folder of its own, in front of the same upstream.

mod apt_cacher_ng;
mod nginx;
pub mod ours;

use std::{
    env, fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;

use crate::process::Process;

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ours,
    Nginx,
    AptCacherNg,
}

/// A server at work.
pub struct Running {
    pub process: Process,
    pub address: SocketAddr,
    /// What precedes the path of an upstream's file in its own paths.
    pub prefix: &'static str,
}

impl Peer {
    pub const ALL: [Self; 3] = [Self::Ours, Self::Nginx, Self::AptCacherNg];

    /// Whether it can be started here.
    pub fn is_installed(self) -> bool {
        match self {
            Self::Ours => true,
            Self::Nginx => program("nginx").is_some(),
            Self::AptCacherNg => program("apt-cacher-ng").is_some(),
        }
    }

    /// Starts it on what an earlier run left in `folder`, or on nothing.
    pub fn start(self, folder: &Path, upstream: SocketAddr) -> anyhow::Result<Running> {
        fs::create_dir_all(folder)?;
        let started = match self {
            Self::Ours => ours::start(folder, upstream),
            Self::Nginx => nginx::start(folder, upstream),
            Self::AptCacherNg => apt_cacher_ng::start(folder, upstream),
        };
        started.with_context(|| format!("starting {self}"))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "provisioner",
            Self::Nginx => "nginx",
            Self::AptCacherNg => "apt-cacher-ng",
        })
    }
}

/// Where a server's program is. Debian keeps them out of a user's `PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A port that was free just now: neither of the others can say which one it took.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(listen()?.local_addr()?)
}

/// A listener on loopback.
///
/// QUIRK: not on a port of the kernel's choice: apt-cacher-ng 3.7.4 uses none above 32767, its own or upstream's.
pub fn listen() -> anyhow::Result<TcpListener> {
    let mut ports = (1024 + process::id() % 16384..=32767).filter_map(|port| u16::try_from(port).ok());
    ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).context("looking for a free port")
}
