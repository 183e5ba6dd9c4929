//! The DHCP server against real clients.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ipnet::Ipv4Net;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use provisioner::{
    dhcp::{self, Config, Desk, Gate, Granted},
    model::{BootPlan, BootRequest, BootSpec, Hinted, Mac, Stage},
    plan::Network,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::Child,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::guard::Lan;

mod probe;

/// Longer than any client waits; only a failing test takes it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the test what was leased; panics over the first messages, as many as the test wants.
struct Reception {
    leased: mpsc::UnboundedSender<Granted>,
    panics: AtomicU32,
}

impl Desk for Reception {
    fn serves(&self, _: Mac) -> bool {
        let left = self.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "a panic that the test asked for");
        true
    }

    fn decide(&self, request: &BootRequest) -> BootPlan {
        unreachable!("no client of these tests boots, yet {request:?} was asked")
    }

    fn boot_file(&self, _: &BootSpec, _: Mac) -> Option<String> {
        None
    }

    fn leased(&self, lease: &Granted) {
        let _ = self.leased.send(lease.clone());
    }
}

/// A running server, and what it leases.
struct Serving {
    leased: mpsc::UnboundedReceiver<Granted>,
    gate: watch::Sender<Gate>,
    task: AbortOnDropHandle<anyhow::Result<()>>,
}

impl Serving {
    /// Serves `subnet` at the server's end of `lan`, as its first address.
    async fn start(lan: &Lan, subnet: &str, panics: u32) -> Self {
        let config = config(subnet);
        let (router, length) = (config.network.router, config.network.subnet.prefix_len());
        let (sender, leased) = mpsc::unbounded_channel();
        let desk = Arc::new(Reception { leased: sender, panics: panics.into() });
        // Bound before the interface has its address, as at start-up.
        let server = bound(lan, &config, desk).await;
        lan.server_ip(&["addr", "flush", "dev", Lan::SERVER_END]);
        lan.server_ip(&["addr", "add", &format!("{router}/{length}"), "dev", Lan::SERVER_END]);
        let (gate, may_answer) = watch::channel(Gate::Open);
        Self { leased, gate, task: AbortOnDropHandle::new(tokio::spawn(server.run(may_answer))) }
    }

    /// Waits until nothing is left in the socket that it receives from.
    async fn has_heard_all(&self, lan: &Lan) {
        // proc_pid_net(5): after a number the local address, the other one, the state, and what is left to send and to receive.
        let is_empty = |line: &str| {
            let mut columns = line.split_ascii_whitespace().skip(1);
            let is_ours = columns.next().is_some_and(|local| local.ends_with(":0043"));
            !is_ours || columns.nth(2).is_some_and(|left| left.ends_with(":00000000"))
        };
        let heard_all = || {
            let table = lan.server_place().run(|| fs::read_to_string("/proc/thread-self/net/udp")).expect("a table");
            table.lines().all(is_empty)
        };
        let wait = async {
            while !heard_all() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("it hears what it is told");
    }

    async fn granted(&mut self) -> Granted {
        timeout(PATIENCE, self.leased.recv()).await.expect("a client asks in time").expect("the server runs")
    }

    /// Ends it; its port is free then.
    async fn stop(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err_and(|ended| ended.is_cancelled()), "nothing but us ended it");
    }

    /// The next that another machine is granted: an impatient client may have repeated its last request.
    async fn granted_to_other_than(&mut self, mac: Mac) -> Granted {
        loop {
            let granted = self.granted().await;
            if granted.mac != mac {
                return granted;
            }
        }
    }
}

/// A server on a port that is free, or will be at once: a process that another test starts at this moment holds a copy of
/// the last server's socket until it is another program, and nothing tells when.
async fn bound(lan: &Lan, config: &Config, desk: Arc<Reception>) -> dhcp::Server {
    let bind = async {
        loop {
            match dhcp::bind(&lan.server_place(), config.clone(), desk.clone()) {
                Ok(server) => return server,
                Err(error) => eprintln!("{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, bind).await.expect("a free port")
}

fn config(subnet: &str) -> Config {
    let subnet: Ipv4Net = subnet.parse().expect("a network");
    let router = subnet.hosts().next().expect("a network with hosts");
    let network = Network { subnet, router, dns: vec![Ipv4Addr::new(9, 9, 9, 9)] };
    Config { interface: Lan::SERVER_END.to_owned(), network, reservation: None, known: Vec::new() }
}

/// A client process, killed at the end, and the lines that it prints.
struct Client<R> {
    process: Child,
    lines: Lines<BufReader<R>>,
}

impl<R: AsyncRead + Unpin> Client<R> {
    fn signal(&self, signal: Signal) {
        let pid = self.process.id().expect("it runs");
        kill(Pid::from_raw(pid as i32), signal).expect("it is our child");
    }

    async fn ends(mut self) {
        timeout(PATIENCE, self.process.wait()).await.expect("it ends in time").expect("it is our child");
    }

    /// The next line with `text` in it.
    async fn says(&mut self, text: &str) -> String {
        let find = async {
            while let Some(line) = self.lines.next_line().await.expect("readable output") {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the client ended before it said {text:?}")
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("the client never said {text:?}"))
    }
}

/// What udhcpc runs at every change: it configures the address and prints what it was told.
const SCRIPT: &str = "#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface ;;
bound | renew) ip addr replace $ip/$mask dev $interface ;;
esac
echo $1 ip=$ip/$mask router=$router dns=$dns lease=$lease server=$serverid boot=$siaddr/$boot_file/$tftp/$bootfile.
";

fn udhcpc(lan: &Lan, folder: &Path) -> Client<tokio::process::ChildStdout> {
    let script = folder.join("script");
    fs::write(&script, SCRIPT).expect("a temporary folder");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    let mut command = lan.client("udhcpc");
    command.args(["-f", "-i", Lan::CLIENT_END, "-t", "20", "-T", "1", "-x", "hostname:bare-1", "-s"]).arg(&script);
    let mut process = spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    Client { process, lines }
}

/// dhcpcd, with its leases in `folder`; `-1` ends it when it has an address, `-B` keeps it. It changes nothing outside its namespaces: `ip netns exec` gives it mounts of its own.
fn dhcpcd(lan: &Lan, folder: &Path, life: &str) -> Client<tokio::process::ChildStderr> {
    let mut command = lan.client("sh");
    let script =
        "mount --bind $0 /var/lib/dhcpcd && mount -t tmpfs run /run && exec dhcpcd $1 -4 -B -d -A -L -c /bin/true eth0";
    command.args(["-c", script]).arg(folder).arg(life);
    let mut process = spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    Client { process, lines }
}

fn spawn(command: &mut Command) -> Child {
    let command = std::mem::replace(command, Command::new("true"));
    tokio::process::Command::from(command).kill_on_drop(true).stdin(Stdio::null()).spawn().expect("an installed client")
}

#[tokio::test]
async fn udhcpc_is_leased_an_address_renews_and_releases_it() {
    let Some(lan) = Lan::make(&["udhcpc"]) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    // One address to give: that another client gets it shows that it was released.
    let mut serving = Serving::start(&lan, "192.168.42.0/30", 0).await;
    let address = Ipv4Addr::new(192, 168, 42, 2);
    let told = "ip=192.168.42.2/30 router=192.168.42.1 dns=9.9.9.9 lease=3600 server=192.168.42.1 boot=///.";

    let mut client = udhcpc(&lan, folder.path());
    let granted = serving.granted().await;
    assert_eq!((granted.address, granted.stage), (address, Stage::Os));
    assert_eq!((granted.hostname.as_deref(), granted.boot), (Some("bare-1"), None));
    assert_eq!(client.says("bound").await, format!("bound {told}"));
    let neighbours = lan.server_ip(&["neigh", "show", "dev", Lan::SERVER_END]);
    let entry = format!("192.168.42.2 lladdr {} ", granted.mac);
    assert!(neighbours.contains(&entry), "unicast without ARP to the client: {neighbours}");

    client.signal(Signal::SIGUSR1);
    assert_eq!(client.says("renew").await, format!("renew {told}"));
    assert_eq!(serving.granted().await.mac, granted.mac);

    client.signal(Signal::SIGUSR2);
    client.says("deconfig").await;
    drop(client);
    lan.client_ip(&["link", "set", Lan::CLIENT_END, "address", "02:00:00:00:00:99"]);
    let mut client = udhcpc(&lan, folder.path());
    assert_eq!(client.says("bound").await, format!("bound {told}"));
    assert_eq!(serving.granted_to_other_than(granted.mac).await.mac, Mac([2, 0, 0, 0, 0, 0x99]));
}

#[tokio::test]
async fn dhcpcd_is_leased_an_address_and_told_when_it_is_of_another_network() {
    let Some(lan) = Lan::make(&["dhcpcd"]) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut serving = Serving::start(&lan, "192.168.42.0/24", 0).await;
    let mut client = dhcpcd(&lan, folder.path(), "-1");
    let first = serving.granted().await.address;
    client.says(&format!("leased {first} for 3600 seconds")).await;
    client.ends().await;

    // Our restart, with the same network: it asks for what it had (INIT-REBOOT), and keeps it.
    serving.stop().await;
    let mut serving = Serving::start(&lan, "192.168.42.0/24", 0).await;
    let mut client = dhcpcd(&lan, folder.path(), "-1");
    client.says(&format!("rebinding lease of {first}")).await;
    client.says(&format!("leased {first} for 3600 seconds")).await;
    assert_eq!(serving.granted().await.address, first);
    client.ends().await;

    // Our restart, with another network.
    serving.stop().await;
    let mut serving = Serving::start(&lan, "10.77.0.0/24", 0).await;
    let mut client = dhcpcd(&lan, folder.path(), "-1");
    client.says(&format!("rebinding lease of {first}")).await;
    client.says("NAK").await;
    let second = serving.granted().await.address;
    assert_eq!(second.octets()[..3], [10, 77, 0]);
    client.says(&format!("leased {second} for 3600 seconds")).await;
}

#[tokio::test]
async fn a_panic_over_one_message_costs_that_message_only() {
    let Some(lan) = Lan::make(&["udhcpc"]) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut serving = Serving::start(&lan, "192.168.42.0/24", 2).await;
    let mut client = udhcpc(&lan, folder.path());
    client.says("bound").await;
    assert_eq!(serving.granted().await.stage, Stage::Os);
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_holder() {
    let Some(lan) = Lan::make(&[]) else { return };
    let bind = || {
        let desk = Arc::new(Reception { leased: mpsc::unbounded_channel().0, panics: 0.into() });
        dhcp::bind(&lan.server_place(), config("192.168.42.0/24"), desk)
    };
    let first = bind().expect("a free port");
    let error = bind().err().expect("the port is taken");
    let hinted = error.downcast_ref::<Hinted>().expect("a remedy");
    let holder = format!("(pid {})", std::process::id());
    assert!(hinted.what.starts_with("UDP port 67 (DHCP) on lan0 is taken by "), "{hinted:?}");
    assert!(hinted.what.ends_with(&holder) && hinted.hint.contains("stop that DHCP server"), "{hinted:?}");
    drop(first);
    freed(bind).await;

    // A server on another interface, such as libvirt's dnsmasq, is in nobody's way.
    lan.server_ip(&["link", "add", "other0", "type", "bridge"]);
    let elsewhere = Config { interface: "other0".to_owned(), ..config("192.168.43.0/24") };
    let desk = || Arc::new(Reception { leased: mpsc::unbounded_channel().0, panics: 0.into() });
    let _there = dhcp::bind(&lan.server_place(), elsewhere, desk()).expect("a free port");
    freed(bind).await;
}

/// Binds a port that was just given up.
///
/// QUIRK: a process that another test is starting holds a copy of every socket between its fork and its exec.
async fn freed(bind: impl Fn() -> anyhow::Result<dhcp::Server>) {
    let mut bound = bind();
    for _ in 0..500 {
        if bound.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        bound = bind();
    }
    bound.expect("a port that is free again");
}
