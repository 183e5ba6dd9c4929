use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Problems, Settings};

/// The provisioning network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its address range.
    pub subnet: Ipv4Net,
    /// Our own address on it; what targets are told is their router, boot and DHCP server.
    pub router: Ipv4Addr,
    /// Name servers that targets are told (DHCP option 6). Never empty where there are targets: debian-installer stops and
    /// asks without one.
    pub dns: Vec<Ipv4Addr>,
}

/// `--network`
const DEFAULT_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 42, 0), 24);

impl Network {
    /// Our address with the length of the network, as `ip address` writes it.
    pub fn router_net(&self) -> Ipv4Net {
        Ipv4Net::new_assert(self.router, self.subnet.prefix_len())
    }

    /// The network that was asked for. One of `--network` and `--router` is enough: the other follows from it. Without
    /// `resolvers` no machine is told of any.
    pub(super) fn check(settings: &Settings, resolvers: Option<&[Ipv4Addr]>, problems: &mut Problems) -> Self {
        let subnet = match (settings.network, settings.router) {
            (Some(network), _) => network.trunc(),
            (None, Some(router)) => router.trunc(),
            (None, None) => DEFAULT_NETWORK,
        };
        let first_host = subnet.hosts().next().unwrap_or_else(|| subnet.addr());
        let router = settings.router.map_or(first_host, |router| router.addr());
        check_subnet(subnet, problems);
        if settings.router.is_some_and(|router| router.trunc() != subnet) {
            problems.add(
                format!("--router {} is not in --network {subnet}", settings.router.unwrap_or_default()),
                format!("give both the same network, such as --router {first_host}/{}", subnet.prefix_len()),
            );
        } else if !is_host(subnet, router) {
            problems.add(
                format!("--router {router} is the address of the network {subnet} itself or its broadcast address"),
                format!("use a host's address, such as {first_host}"),
            );
        }
        if let Some(ip) = settings.ip {
            check_target(ip, subnet, router, problems);
        }
        let dns = if settings.dns.is_empty() { resolvers.unwrap_or_default() } else { &settings.dns }.to_vec();
        if dns.is_empty() && resolvers.is_some() {
            problems.add(
                "no name server is known that targets could reach",
                "name one with --dns, such as --dns 9.9.9.9: debian-installer stops and asks without one",
            );
        }
        Self { subnet, router, dns }
    }
}

fn check_subnet(subnet: Ipv4Net, problems: &mut Problems) {
    let address = subnet.addr();
    if !(8..=29).contains(&subnet.prefix_len()) {
        problems.add(
            format!("--network {subnet} has no sensible size"),
            "use a network from /8 to /29; it needs an address for this machine and one for each target",
        );
    }
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || address.is_link_local() {
        problems.add(
            format!("--network {subnet} cannot be used for machines on a cable"),
            format!("use a private network, such as {DEFAULT_NETWORK}"),
        );
    }
}

fn check_target(ip: Ipv4Addr, subnet: Ipv4Net, router: Ipv4Addr, problems: &mut Problems) {
    if !subnet.contains(&ip) {
        problems.add(
            format!("--ip {ip} is not in the network {subnet} of --router"),
            "use an address of that network, or move the network with --network or --router",
        );
    } else if ip == router {
        problems.add(format!("--ip {ip} is this machine's own address"), "give the target another one than --router");
    } else if !is_host(subnet, ip) {
        problems.add(
            format!("--ip {ip} is the address of the network {subnet} itself or its broadcast address"),
            "use a host's address",
        );
    }
}

fn is_host(subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address) && address != subnet.network() && address != subnet.broadcast()
}
