use std::{fmt, fs, net::IpAddr, path::Path};

use anyhow::Context;
use ipnet::IpNet;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
    route::{RouteAttribute, RouteMessage, RouteType},
};

use crate::{
    model::Mac,
    net::{
        Place,
        netlink::{self, Dump},
    },
};

/// One network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `enp0s31f6`.
    pub name: String,
    /// The kernel's number for it; not used again for another interface until the namespace ends.
    pub index: u32,
    /// Its hardware address, when it has one of six octets.
    pub mac: Option<Mac>,
    /// What it is.
    pub kind: Kind,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether something answers at the other end of the cable. Cards that are down do not know.
    pub carrier: bool,
    /// Its addresses, of both families.
    pub addresses: Vec<IpNet>,
    /// Whether a default route, IPv4 or IPv6, of any routing table leaves by it.
    pub default_route: bool,
    /// The bridge, bond or VRF it is a port of; it then has no traffic of its own.
    pub port_of: Option<String>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An ethernet socket of a real device.
    Wired,
    /// Wi-Fi or a mobile modem.
    Wireless,
    /// Ethernet made in software, with the kernel's word for it (`bridge`, `veth`, `tun`, `vlan` …).
    Virtual(String),
    /// `lo`.
    Loopback,
    /// Anything that carries no ethernet frames: tunnels, PPP, InfiniBand.
    NotEthernet,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wired => f.write_str("wired ethernet"),
            Self::Wireless => f.write_str("wireless"),
            Self::Virtual(kind) => write!(f, "virtual ({kind})"),
            Self::Loopback => f.write_str("loopback"),
            Self::NotEthernet => f.write_str("no ethernet"),
        }
    }
}

/// Every interface in `place`, in the kernel's order.
///
/// In another namespace there is only netlink, which does not tell Wi-Fi from ethernet (and before Linux 5.14 knows no real
/// device at all): `/sys` shows the namespace in which it was mounted. Rehearsals put only virtual links there.
pub fn interfaces(place: &Place) -> anyhow::Result<Vec<Interface>> {
    let dump = netlink::dump(place).context("asking the kernel for the network interfaces")?;
    Ok(match place {
        Place::Here => assemble(&dump, |name, index| Device::of(&Path::new("/sys/class/net").join(name), index)),
        Place::Namespace(_) => assemble(&dump, |_, _| Device::default()),
    })
}

/// Whether `name` is up and something answers at the other end of its cable. `false` as well when it is gone.
pub fn has_carrier(place: &Place, name: &str) -> bool {
    netlink::link_flags(place, name).is_ok_and(|flags| flags.contains(LinkFlags::Up | LinkFlags::LowerUp))
}

/// What sysfs adds to netlink's knowledge.
#[derive(Debug, Clone, Copy, Default)]
struct Device {
    real: bool,
    wireless: bool,
}

impl Device {
    /// Reads `/sys/class/net/NAME`, unless it describes a namesake: `unshare -n` and `nsenter -n` keep the old `/sys`.
    fn of(directory: &Path, index: u32) -> Self {
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
        if read("ifindex").trim().parse() != Ok(index) {
            return Self::default();
        }
        let modem = read("uevent").lines().any(|line| matches!(line, "DEVTYPE=wlan" | "DEVTYPE=wwan"));
        Self {
            real: directory.join("device").exists(),
            wireless: modem || directory.join("wireless").exists() || directory.join("phy80211").exists(),
        }
    }
}

fn assemble(dump: &Dump, device: impl Fn(&str, u32) -> Device) -> Vec<Interface> {
    dump.links
        .iter()
        .map(|link| {
            let index = link.header.index;
            let name = name(link);
            Interface {
                mac: mac(link),
                kind: kind(link, device(&name, index)),
                up: link.header.flags.contains(LinkFlags::Up),
                carrier: link.header.flags.contains(LinkFlags::LowerUp),
                addresses: dump
                    .addresses
                    .iter()
                    .filter(|found| found.header.index == index)
                    .filter_map(address)
                    .collect(),
                default_route: dump.routes.iter().any(|route| is_default_by(route, index)),
                port_of: controller(link, &dump.links),
                name,
                index,
            }
        })
        .collect()
}

fn find<T>(link: &LinkMessage, wanted: impl Fn(&LinkAttribute) -> Option<T>) -> Option<T> {
    link.attributes.iter().find_map(wanted)
}

fn name(link: &LinkMessage) -> String {
    find(link, |attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
    .unwrap_or_default()
}

fn mac(link: &LinkMessage) -> Option<Mac> {
    find(link, |attribute| match attribute {
        LinkAttribute::Address(octets) => octets.as_slice().try_into().ok().map(Mac),
        _ => None,
    })
}

fn controller(link: &LinkMessage, links: &[LinkMessage]) -> Option<String> {
    let index = find(link, |attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })?;
    links.iter().find(|other| other.header.index == index).map(name)
}

fn kind(link: &LinkMessage, device: Device) -> Kind {
    let software = find(link, |attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    });
    let parent = find(link, |attribute| matches!(attribute, LinkAttribute::ParentDevName(_)).then_some(()));
    match (link.header.link_layer_type, software) {
        _ if link.header.flags.contains(LinkFlags::Loopback) => Kind::Loopback,
        (LinkLayerType::Ether, _) if device.wireless => Kind::Wireless,
        (LinkLayerType::Ether, Some(kind)) => Kind::Virtual(kind),
        (LinkLayerType::Ether, None) if device.real || parent.is_some() => Kind::Wired,
        (LinkLayerType::Ether, None) => Kind::Virtual("no device behind it".to_owned()),
        _ => Kind::NotEthernet,
    }
}

/// `IFA_LOCAL` is our end; on point-to-point links `IFA_ADDRESS` is the other one (rtnetlink(7)).
fn address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address: IpAddr = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

/// Any table counts: VPNs put their default route into one of their own.
fn is_default_by(route: &RouteMessage, index: u32) -> bool {
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && route.attributes.iter().any(|attribute| match attribute {
            RouteAttribute::Oif(out) => *out == index,
            RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::{link::InfoKind, route::RouteNextHop};

    use super::*;

    fn link(layer: LinkLayerType, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.link_layer_type = layer;
        link.attributes = attributes;
        link
    }

    #[test]
    fn kinds_are_told_apart() {
        let parent = || vec![LinkAttribute::ParentDevName("0000:00:1f.6".into())];
        let bridge = || vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)])];
        let real = Device { real: true, wireless: false };
        let wireless = Device { real: true, wireless: true };
        let none = Device::default();
        for (layer, attributes, device, expected) in [
            (LinkLayerType::Ether, parent(), none, Kind::Wired),
            (LinkLayerType::Ether, vec![], real, Kind::Wired),
            (LinkLayerType::Ether, parent(), wireless, Kind::Wireless),
            (LinkLayerType::Ether, bridge(), none, Kind::Virtual("bridge".into())),
            (LinkLayerType::Ether, vec![], none, Kind::Virtual("no device behind it".into())),
            (LinkLayerType::None, vec![], none, Kind::NotEthernet),
            (LinkLayerType::Infiniband, parent(), real, Kind::NotEthernet),
        ] {
            assert_eq!(kind(&link(layer, attributes), device), expected);
        }
    }

    #[test]
    fn only_unicast_routes_to_everywhere_are_default_routes() {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.attributes = vec![RouteAttribute::Oif(4)];
        assert!(is_default_by(&route, 4) && !is_default_by(&route, 5));

        route.header.destination_prefix_length = 1;
        assert!(!is_default_by(&route, 4));

        route.header.destination_prefix_length = 0;
        route.header.kind = RouteType::Unreachable;
        assert!(!is_default_by(&route, 4), "IPv6 has an unreachable default route on lo");

        let mut hop = RouteNextHop::default();
        hop.interface_index = 7;
        route.header.kind = RouteType::Unicast;
        route.attributes = vec![RouteAttribute::MultiPath(vec![hop])];
        assert!(is_default_by(&route, 7));
    }

    #[test]
    fn a_namesake_in_sysfs_is_not_believed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("ifindex"), "7\n").expect("written");
        fs::write(directory.path().join("uevent"), "DEVTYPE=wlan\nINTERFACE=wlan0\n").expect("written");
        assert!(Device::of(directory.path(), 7).wireless);
        assert!(!Device::of(directory.path(), 8).wireless);
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let interfaces = interfaces(&Place::Here).expect("netlink answers");
        let lo = interfaces.iter().find(|interface| interface.name == "lo").expect("every namespace has lo");
        assert_eq!((&lo.kind, lo.default_route), (&Kind::Loopback, false));
    }
}
