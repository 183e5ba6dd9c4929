//! Our mirror: this program once more, as a server and nothing else.

use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::Context;
use futures_util::future::BoxFuture;
use provisioner::{
    distro::Mirror,
    fetch,
    http::{self, Content, Heard},
    mirror::{Config, Immutable, Proxy, Unlisted},
    model::Mac,
    net::Place,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use super::Running;
use crate::process::Process;

pub fn start(folder: &Path, upstream: SocketAddr) -> anyhow::Result<Running> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--serve").arg(folder.join("cache")).arg("--upstream").arg(upstream.to_string());
    let mut process = Process::start(&mut command, folder)?;
    let mut line = String::new();
    BufReader::new(process.stdout().context("its output")?).read_line(&mut line)?;
    let port = line.trim().parse().with_context(|| format!("reading its port from {line:?}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    process.listens(address)?;
    Ok(Running { process, address, prefix: "mirror/" })
}

/// What the process does that was started by [`start`]: says its port, and serves until it is told to end or whoever started
/// it is gone. What it was sent is in its store then.
#[tokio::main]
pub async fn serve(folder: PathBuf, upstream: SocketAddr) -> anyhow::Result<()> {
    let mirror = Proxy::open(Config {
        mirrors: vec![Mirror::new("debian", &format!("http://{upstream}/debian").parse()?)],
        ledger: Arc::new(Unlisted),
        immutable: Immutable { package_suffixes: vec![".deb".to_owned()], folders: vec!["pool".to_owned()] },
        folder,
        client: fetch::client()?,
        offline: false,
        limit: None,
        upstream: Handle::current(),
        on_served: Arc::new(|_, _| {}),
    })?;
    let config = http::Config { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), interface: None };
    let server = http::bind(&Place::Here, &config, Arc::new(Nothing), mirror.clone())?;
    println!("{}", server.local_addr()?.port());
    let mut end = signal(SignalKind::terminate())?;
    let (gone, parent) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        let _ = gone.send(());
    });
    tokio::select! {
        ended = server.run() => ended?,
        _ = end.recv() => {}
        _ = parent => {}
    }
    mirror.landed().await;
    Ok(())
}

/// The desk of a house that only has a mirror.
struct Nothing;

impl http::Desk for Nothing {
    fn boot_file(&self, _: IpAddr, _: &str, _: bool) -> Option<Content> {
        None
    }

    fn answers(&self, _: Mac, _: &str, _: &str) -> Option<Content> {
        None
    }

    fn callback(&self, _: Mac, _: &str, _: &str, _: &str) -> Heard {
        Heard::Unknown
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
