//! nginx as a caching proxy, set up to be as good at it as it can be.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context;
use nix::unistd::Uid;

use super::{Running, free_address, program};
use crate::process::Process;

pub fn start(folder: &Path, upstream: SocketAddr) -> anyhow::Result<Running> {
    let address = free_address()?;
    fs::write(folder.join("nginx.conf"), configuration(address, upstream))?;
    fs::create_dir_all(folder.join("temp"))?;
    let mut command = Command::new(program("nginx").context("it is not installed")?);
    // `-e`: before it reads its configuration it writes to the system's log, which is root's.
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).args(["-c", "nginx.conf"]);
    let mut process = Process::start(command.stdout(Stdio::null()), folder)?;
    process.listens(address)?;
    Ok(Running { process, address, prefix: "" })
}

fn configuration(address: SocketAddr, upstream: SocketAddr) -> String {
    let user = if Uid::effective().is_root() { "user root;" } else { "" };
    format!(
        r#"{user}
daemon off;
pid nginx.pid;
worker_processes auto;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;
    proxy_cache_path cache levels=1:2 keys_zone=cache:10m max_size=100g inactive=1d use_temp_path=off;
    server {{
        listen {address};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache cache;
            proxy_cache_valid 200 1d;
            # Without these it asks upstream once for each client that has waited five seconds.
            proxy_cache_lock on;
            proxy_cache_lock_timeout 1h;
            proxy_cache_lock_age 1h;
        }}
    }}
}}
"#
    )
}
