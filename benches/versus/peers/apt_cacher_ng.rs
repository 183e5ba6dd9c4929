//! apt-cacher-ng with the settings that Debian ships, on a folder of its own.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Context;

use super::{Running, free_address, program};
use crate::process::Process;

pub fn start(folder: &Path, upstream: SocketAddr) -> anyhow::Result<Running> {
    let address = free_address()?;
    let (settings, folders) = (folder.join("etc"), ["cache", "log"].map(|name| folder.join(name)));
    for folder in folders.iter().chain([&settings]) {
        fs::create_dir_all(folder)?;
    }
    let [cache, log] = folders.map(|folder| folder.display().to_string());
    let port = address.port();
    let lines = format!(
        "CacheDir: {cache}\nLogDir: {log}\nSocketPath: {cache}/socket\nForeGround: 1\nBindAddress: 127.0.0.1\n\
         Port: {port}\nAllowUserPorts: 0\nRemap-bench: /debian ; http://{upstream}/debian\n"
    );
    fs::write(settings.join("acng.conf"), lines)?;
    let mut command = Command::new(program("apt-cacher-ng").context("it is not installed")?);
    let mut process = Process::start(command.arg("-c").arg(&settings), folder)?;
    process.listens(address)?;
    Ok(Running { process, address, prefix: "" })
}
