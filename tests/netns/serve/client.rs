//! Real clients at the other end of the cable.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use provisioner::model::Mac;

use crate::guard::Lan;

/// Where everything is served.
pub const HTTP: &str = "http://192.168.42.1:4280";

/// What Debian's GRUB asks for.
pub const GRUB_CFG: &str = "debian-installer/amd64/grub/grub.cfg";

/// Gives the client's end this address, as a loader does with what DHCP told it, and no other.
pub fn settle(lan: &Lan, address: Ipv4Addr) {
    lan.client_ip(&["addr", "flush", "dev", Lan::CLIENT_END]);
    lan.client_ip(&["addr", "add", &format!("{address}/24"), "dev", Lan::CLIENT_END]);
}

/// udhcpc until it has a lease: the variables that its script was given.
pub fn udhcpc(lan: &Lan) -> BTreeMap<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns/serve/print-lease.sh");
    let mut command = lan.client("udhcpc");
    command.args(["-f", "-q", "-n", "-i", Lan::CLIENT_END, "-t", "20", "-T", "1", "-s"]).arg(script);
    let printed = text(output(command.stderr(Stdio::null())));
    printed.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// dhcpcd until it has a lease, as the system on this machine's disk. It changes nothing outside its namespaces.
pub fn dhcpcd(lan: &Lan, mac: Mac) {
    let folder = tempfile::tempdir().expect("a folder");
    lan.client_ip(&["link", "set", Lan::CLIENT_END, "address", &mac.to_string()]);
    let script = "mount --bind $0 /var/lib/dhcpcd && mount -t tmpfs run /run && \
                  exec dhcpcd -1 -4 -B -A -L -c /bin/true eth0";
    output(lan.client("sh").args(["-c", script]).arg(folder.path()).stderr(Stdio::null()));
}

/// A file by tftp-hpa's client.
pub fn tftp(lan: &Lan, name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    // It ends with 0 whatever happens.
    let printed = output(lan.client("tftp").args(["-m", "binary", "192.168.42.1", "-c", "get", name]).arg(&file));
    std::fs::read(file).unwrap_or_else(|_| panic!("{name}: {}", text(printed)))
}

/// GRUB's script.
pub fn grub_cfg(lan: &Lan) -> String {
    text(tftp(lan, GRUB_CFG))
}

/// The path of the answers that a loader's script names.
pub fn answers_path(script: &str) -> String {
    let url = script.split_ascii_whitespace().find_map(|word| word.strip_prefix("url=")).expect("an address");
    url.strip_prefix(HTTP).expect("an address of ours").to_owned()
}

/// The body that curl gets for a path; its status must be a success.
pub fn curl(lan: &Lan, path: &str, arguments: &[&str]) -> Vec<u8> {
    output(lan.client("curl").args(["-sS", "--fail", "--max-time", "60"]).args(arguments).arg(format!("{HTTP}{path}")))
}

/// The status that curl gets for a path.
pub fn status(lan: &Lan, path: &str, arguments: &[&str]) -> u16 {
    let write_out = ["-sS", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}"];
    let printed = output(lan.client("curl").args(write_out).args(arguments).arg(format!("{HTTP}{path}")));
    text(printed).parse().expect("a status")
}

/// Sends these bytes on one connection; all that comes back until the server closes it.
pub fn exchange(lan: &Lan, request: &str) -> Vec<u8> {
    let server: SocketAddr = HTTP.trim_start_matches("http://").parse().expect("an address");
    let mut stream = lan.client_place().run(|| TcpStream::connect(server)).expect("a listener");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time");
    stream.write_all(request.as_bytes()).expect("a connection");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("a connection");
    answer
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().expect("an installed client");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}
