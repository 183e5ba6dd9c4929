use std::fmt;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::Integrations;
use crate::{model::Hinted, net::probe::Interface};

/// One reversible change to this host. The names in the record file are those of the variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Change {
    /// NetworkManager stops managing the interface.
    Unmanage,
    /// The interface is brought up.
    LinkUp,
    /// The interface gets this address.
    Address(Ipv4Net),
    /// firewalld moves the interface to its zone `trusted`, in its running configuration only.
    Trust {
        /// The zone it goes back to; `None` when it was in none.
        zone_before: Option<String>,
    },
}

impl Change {
    /// In plain words, for the operator: "give enp0s31f6 the address 192.168.42.1/24".
    pub fn on<'a>(&'a self, interface: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self {
            Self::Unmanage => write!(f, "tell NetworkManager to leave {interface} alone"),
            Self::LinkUp => write!(f, "bring {interface} up"),
            Self::Address(address) => write!(f, "give {interface} the address {address}"),
            Self::Trust { .. } => write!(f, "put {interface} in firewalld's zone trusted"),
        })
    }
}

/// What must be changed so that `interface` serves the network of `router` (our address on it, with its prefix length):
/// nothing for what is already so. In the order in which it must be done.
///
/// # Errors
/// Another of `interfaces` has an address in an overlapping network: answers could leave by the wrong one.
pub fn needed(
    interface: &Interface,
    interfaces: &[Interface],
    router: Ipv4Net,
    integrations: &Integrations,
) -> Result<Vec<Change>, Hinted> {
    if let Some((other, address)) = overlap(interface, interfaces, router) {
        return Err(Hinted::new(
            format!("the network {} of {} overlaps {address} of interface {other}", router.trunc(), interface.name),
            match free_network(interfaces) {
                Some(free) => format!("choose a range that this machine does not use: --network {free}"),
                None => "choose a range that this machine does not use with --network".to_owned(),
            },
        ));
    }
    let mut changes = Vec::new();
    // NetworkManager first: it takes addresses away from an interface that it lets go of.
    if integrations.network_manager {
        changes.push(Change::Unmanage);
    }
    if !interface.up {
        changes.push(Change::LinkUp);
    }
    if !interface.addresses.contains(&IpNet::V4(router)) {
        changes.push(Change::Address(router));
    }
    if let Some(zone_before) = &integrations.firewalld_zone
        && zone_before.as_deref() != Some("trusted")
    {
        changes.push(Change::Trust { zone_before: zone_before.clone() });
    }
    Ok(changes)
}

fn overlap<'a>(interface: &Interface, interfaces: &'a [Interface], router: Ipv4Net) -> Option<(&'a str, Ipv4Net)> {
    interfaces
        .iter()
        .filter(|other| other.index != interface.index)
        .flat_map(|other| ipv4(other).map(|address| (other.name.as_str(), address)))
        .find(|(_, address)| overlaps(*address, router))
}

fn ipv4(interface: &Interface) -> impl Iterator<Item = Ipv4Net> {
    interface.addresses.iter().filter_map(|address| match address {
        IpNet::V4(address) => Some(*address),
        IpNet::V6(_) => None,
    })
}

/// Two networks overlap exactly when one contains the other's first address.
fn overlaps(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A private network (RFC 1918) for the hint: the default one, else the like in the other two ranges.
fn free_network(interfaces: &[Interface]) -> Option<Ipv4Net> {
    [[192, 168, 42, 0], [10, 42, 42, 0], [172, 30, 42, 0]]
        .into_iter()
        .map(|octets| Ipv4Net::new_assert(octets.into(), 24))
        .find(|network| !interfaces.iter().flat_map(ipv4).any(|address| overlaps(address, *network)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::probe::Kind;

    fn interface(name: &str, index: u32, up: bool, addresses: &[&str]) -> Interface {
        Interface {
            name: name.to_owned(),
            index,
            mac: None,
            kind: Kind::Wired,
            up,
            carrier: up,
            addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
            default_route: false,
            port_of: None,
        }
    }

    fn router() -> Ipv4Net {
        "192.168.42.1/24".parse().expect("an address")
    }

    #[test]
    fn only_what_is_not_yet_so_is_changed_and_in_order() {
        use Change as C;
        let zone = |name: Option<&str>| Some(name.map(str::to_owned));
        let plain = || Integrations::default();
        let all = Integrations { network_manager: true, firewalld_zone: zone(Some("public")) };
        let trusted = Integrations { network_manager: false, firewalld_zone: zone(Some("trusted")) };
        let unzoned = Integrations { network_manager: false, firewalld_zone: zone(None) };
        let address = C::Address(router());
        for (up, addresses, integrations, expected) in [
            (true, &["192.168.42.1/24"][..], plain(), vec![]),
            (false, &["192.168.42.1/24"], plain(), vec![C::LinkUp]),
            (true, &["fe80::1/64"], plain(), vec![address.clone()]),
            (true, &["192.168.42.1/16", "192.168.42.7/24"], plain(), vec![address.clone()]),
            (true, &["192.168.42.1/24"], trusted, vec![]),
            (true, &["192.168.42.1/24"], unzoned, vec![C::Trust { zone_before: None }]),
            (false, &[], all, vec![C::Unmanage, C::LinkUp, address, C::Trust { zone_before: Some("public".into()) }]),
        ] {
            let eth0 = interface("eth0", 2, up, addresses);
            let interfaces = [eth0.clone(), interface("wlan0", 3, true, &["192.168.1.7/24"])];
            assert_eq!(needed(&eth0, &interfaces, router(), &integrations), Ok(expected), "{up} {addresses:?}");
        }
    }

    #[test]
    fn a_network_that_another_interface_uses_is_refused() {
        let eth0 = interface("eth0", 2, true, &[]);
        for (address, suggestion) in [
            ("192.168.0.7/16", "10.42.42.0/24"),
            ("192.168.42.130/25", "10.42.42.0/24"),
            ("0.0.0.1/0", "with --network"),
        ] {
            let interfaces = [eth0.clone(), interface("docker0", 3, false, &["fd00::1/64", address])];
            let error = needed(&eth0, &interfaces, router(), &Integrations::default()).expect_err("an overlap");
            let what = format!("the network 192.168.42.0/24 of eth0 overlaps {address} of interface docker0");
            assert_eq!(error.what, what);
            assert!(error.hint.contains("--network") && error.hint.ends_with(suggestion), "{}", error.hint);
        }
    }

    #[test]
    fn changes_read_as_sentences_and_survive_the_record() {
        for (change, words, json) in [
            (Change::Unmanage, "tell NetworkManager to leave eth0 alone", r#""unmanage""#),
            (Change::LinkUp, "bring eth0 up", r#""link-up""#),
            (Change::Address(router()), "give eth0 the address 192.168.42.1/24", r#"{"address":"192.168.42.1/24"}"#),
            (
                Change::Trust { zone_before: Some("public".into()) },
                "put eth0 in firewalld's zone trusted",
                r#"{"trust":{"zone-before":"public"}}"#,
            ),
        ] {
            assert_eq!(change.on("eth0").to_string(), words);
            assert_eq!(serde_json::to_string(&change).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<Change>(json).expect("JSON"), change);
        }
    }
}
