use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::sudo;

/// A transport protocol, each with ports of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A port is held by who has it bound.
    Udp,
    /// A port is held by who listens on it; connections may share it.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// Who holds this port in the network namespace of the calling thread: `dnsmasq (pid 812)`, several separated by commas.
/// Which interface a socket is tied to is not told, so those of other interfaces are among them.
///
/// None when nobody does, or when we may not look into the processes of others.
pub fn holder(protocol: Protocol, port: u16) -> Option<String> {
    let tables = match protocol {
        Protocol::Udp => ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"],
        Protocol::Tcp => ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"],
    };
    let inodes: BTreeSet<u64> = tables
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_of(&table, protocol, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    // The descriptors of other users' processes are root's to read.
    let mut holders = sudo::with_own_files(|| processes_with(&inodes));
    holders.sort();
    (!holders.is_empty()).then(|| holders.join(", "))
}
/// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`.
const LISTENING: &str = "0A";

/// Inodes of the sockets that hold a port, from a table of proc_pid_net(5): after its number a line has `address:port` of both
/// ends and the state, all in hexadecimal, and the inode six columns further.
fn inodes_of(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (_, local) = columns.next()?.rsplit_once(':')?;
        let state = columns.nth(1)?;
        let holds = u16::from_str_radix(local, 16).ok()? == port && (protocol == Protocol::Udp || state == LISTENING);
        holds.then(|| columns.nth(5)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn processes_with(inodes: &BTreeSet<u64>) -> Vec<String> {
    processes()
        .filter(|process| has_socket(process, inodes))
        .filter_map(|process| {
            let command = fs::read_to_string(process.join("comm")).ok()?;
            // SECURITY: a process calls itself what it likes, and this goes to a terminal.
            Some(format!("{} (pid {})", command.trim_end().escape_debug(), process.file_name()?.to_str()?))
        })
        .collect()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_process)
}

/// An open socket is a link to `socket:[inode]`, and following it shows that inode. Another's folder cannot be read
/// without privilege: then it has none, as far as we can see.
fn has_socket(process: &Path, inodes: &BTreeSet<u64>) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.into_iter().any(|entry| {
        let is_socket = fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        is_socket && fs::metadata(entry.path()).is_ok_and(|descriptor| inodes.contains(&descriptor.ino()))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn names_the_process_that_has_the_port() {
        let us = format!("(pid {})", std::process::id());
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("it is bound").port();
        assert!(holder(Protocol::Udp, port).is_some_and(|holder| holder.ends_with(&us)));
        drop(socket);
        assert_eq!(holder(Protocol::Udp, port), None);

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        assert!(holder(Protocol::Tcp, address.port()).is_some_and(|holder| holder.ends_with(&us)));
        let at = client.local_addr().expect("it is connected").port();
        assert_eq!(holder(Protocol::Tcp, at), None, "a connection holds no port");
    }

    #[test]
    fn reads_the_kernels_table_and_survives_another() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n \
                     1: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n \
                     2: 0100007F:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0 0\n \
                     3: 0100007F:0044 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 2 0 0\n";
        assert_eq!(inodes_of(table, Protocol::Udp, 67), [4711]);
        assert_eq!(inodes_of(table, Protocol::Tcp, 67), [0; 0]);
        assert_eq!(inodes_of(table, Protocol::Tcp, 68), [4713]);
        for broken in ["", "x", "h\n1: 00000000:0043", "h\n1: zz:yy a b c d e f g h i"] {
            assert_eq!(inodes_of(broken, Protocol::Udp, 67), [0; 0], "{broken:?}");
        }
    }
}
