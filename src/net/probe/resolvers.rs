use std::{fs, net::Ipv4Addr};

/// Where name servers are listed. When a stub on this machine fills in for the real ones, `/etc/resolv.conf` names only the
/// stub; systemd-resolved and NetworkManager keep the real list beside it.
const FILES: [&str; 3] =
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];

/// The IPv4 name servers of this machine that a target could reach as well, in order of preference.
pub fn resolvers() -> Vec<Ipv4Addr> {
    first_usable(FILES.into_iter().filter_map(|file| fs::read_to_string(file).ok()))
}

fn first_usable(files: impl Iterator<Item = String>) -> Vec<Ipv4Addr> {
    files.map(|text| parse(&text)).find(|servers| !servers.is_empty()).unwrap_or_default()
}

/// Reads resolv.conf(5). 127.0.0.0/8 is this machine, and so is 0.0.0.0: both would mean the target itself there.
fn parse(text: &str) -> Vec<Ipv4Addr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(server) = words.next().and_then(|word| word.parse::<Ipv4Addr>().ok()) else { continue };
        if !server.is_loopback() && !server.is_unspecified() && !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_in_order_and_once() {
        let text = "# generated\nsearch lan\nnameserver 9.9.9.9 # quad\n nameserver\t192.0.2.1\nnameserver 2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver 9.9.9.9\nnameserver 0.0.0.0\nnameserver\noptions edns0";
        assert_eq!(parse(text), [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(192, 0, 2, 1)]);
    }

    #[test]
    fn behind_a_local_stub_the_real_servers_are_found() {
        let files = ["nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n", "nameserver 192.0.2.99\n"];
        let texts = || files.into_iter().map(str::to_owned);
        assert_eq!(first_usable(texts()), [Ipv4Addr::new(192, 0, 2, 53)]);
        assert_eq!(first_usable(texts().skip(2)), [Ipv4Addr::new(192, 0, 2, 99)]);
        assert_eq!(first_usable(texts().take(1)), Vec::<Ipv4Addr>::new());
    }
}
