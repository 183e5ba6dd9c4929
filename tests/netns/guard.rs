//! Two network namespaces joined by a cable, gone when the test is.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use provisioner::net::Place;

/// Every namespace of ours is named `<PREFIX><pid of the test>-<counter>-<side>`.
const PREFIX: &str = "provisioner-test-";

/// A server's and a client's namespace with a veth pair between them: `lan0` and `eth0`, both up, without addresses.
///
/// Dropping it, also by a panic, ends every process inside and removes the namespaces with all that is in them.
pub struct Lan {
    server: String,
    client: String,
}

impl Lan {
    /// Interface name at the server's end.
    pub const SERVER_END: &str = "lan0";
    /// Interface name at the client's end.
    pub const CLIENT_END: &str = "eth0";

    /// Makes one, when this machine allows it and has `tools` besides. None: the test is to be skipped, the reason is
    /// printed. With `CI=true` in the environment a missing tool is a failure.
    pub fn make(tools: &[&str]) -> Option<Self> {
        if let Some(why) = why_not(tools) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            eprintln!("skipped: {why}");
            return None;
        }
        sweep();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let lan = Self { server: format!("{name}-server"), client: format!("{name}-client") };
        for side in [&lan.server, &lan.client] {
            run(ip(&["netns", "add", side]));
            run(ip(&["-n", side, "link", "set", "lo", "up"]));
        }
        let (server, client) = (Self::SERVER_END, Self::CLIENT_END);
        let ends = ["netns", &lan.server, "type", "veth", "peer", "name", client, "netns", &lan.client];
        run(ip(&[&["link", "add", server][..], &ends[..]].concat()));
        lan.server_ip(&["link", "set", server, "up"]);
        lan.client_ip(&["link", "set", client, "up"]);
        Some(lan)
    }

    /// Where the server's sockets are made.
    pub fn server_place(&self) -> Place {
        place(&self.server)
    }

    /// Where the client's sockets are made.
    pub fn client_place(&self) -> Place {
        place(&self.client)
    }

    /// A command that runs in the server's namespace, with mounts of its own.
    pub fn server(&self, program: &str) -> Command {
        ip(&["netns", "exec", &self.server, program])
    }

    /// A command that runs in the client's namespace.
    pub fn client(&self, program: &str) -> Command {
        ip(&["netns", "exec", &self.client, program])
    }

    /// Runs `ip` for the server's namespace; what it printed.
    pub fn server_ip(&self, arguments: &[&str]) -> String {
        run(ip(&[&["-n", &self.server], arguments].concat()))
    }

    /// Runs `ip` for the client's namespace; what it printed.
    pub fn client_ip(&self, arguments: &[&str]) -> String {
        run(ip(&[&["-n", &self.client], arguments].concat()))
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for side in [&self.server, &self.client] {
            remove(side);
        }
    }
}

fn why_not(tools: &[&str]) -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let found = |tool: &str| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(tool).exists())
    };
    let missing = ["ip"].iter().chain(tools).find(|tool| !found(tool))?;
    Some(format!("{missing} is not installed"))
}

/// Removes what tests left behind that were killed.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Best effort: it runs while a test fails, too.
fn remove(namespace: &str) {
    let inside = ip(&["netns", "pids", namespace]).stderr(Stdio::null()).output();
    let inside = inside.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for process in inside.lines().filter_map(|line| line.trim().parse().ok()) {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    let _ = ip(&["netns", "del", namespace]).stderr(Stdio::null()).status();
}

fn place(namespace: &str) -> Place {
    let file = File::open(Path::new("/run/netns").join(namespace)).expect("a namespace of ours");
    Place::Namespace(Arc::new(file.into()))
}

fn ip(arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments);
    command
}

fn run(mut command: Command) -> String {
    let output = command.output().expect("ip is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
