use std::fmt;

use super::{Interface, Kind};
use crate::model::Hinted;

/// The interface to provision on: the one that was asked for, else the only wired one without the default route.
///
/// A name that was asked for may be a virtual one (bridges and taps are how virtual machines are reached).
///
/// # Errors
/// Each lists every interface and why it is not the one. The interface with the default route is refused even when asked
/// for: it is part of a network that has a DHCP server already, and answering there would let strangers' machines boot,
/// and erase, from this one.
pub fn choose<'a>(interfaces: &'a [Interface], asked: Option<&str>) -> Result<&'a Interface, Hinted> {
    match asked {
        Some(name) => named(interfaces, name),
        None => only_one(interfaces),
    }
}

fn named<'a>(interfaces: &'a [Interface], name: &str) -> Result<&'a Interface, Hinted> {
    let Some(interface) = interfaces.iter().find(|interface| interface.name == name) else {
        return Err(Hinted::new(
            format!("there is no interface {name}; this machine has:{}", list(interfaces)),
            "--interface takes one of these names",
        ));
    };
    let objection = match objection(interface) {
        None | Some(Objection::Virtual) => return Ok(interface),
        Some(objection) => objection,
    };
    let hint = match &objection {
        Objection::PortOf(controller) => format!("traffic arrives at {controller}: use --interface {controller}"),
        Objection::DefaultRoute => {
            "connect the machines to another network card (a USB ethernet adapter will do) and name that".to_owned()
        }
        _ => "firmware boots over a cable: use an ethernet interface, a bridge or a tap".to_owned(),
    };
    Err(Hinted::new(format!("interface {name} cannot be used: {objection}"), hint))
}

fn only_one(interfaces: &[Interface]) -> Result<&Interface, Hinted> {
    let mut candidates = interfaces.iter().filter(|interface| objection(interface).is_none());
    match (candidates.next(), candidates.next()) {
        (Some(interface), None) => Ok(interface),
        (Some(_), Some(_)) => Err(Hinted::new(
            format!("several interfaces could be the one to provision on:{}", list(interfaces)),
            "say which with --interface NAME",
        )),
        (None, _) => Err(Hinted::new(
            format!("there is no interface to provision on:{}", list(interfaces)),
            "plug in an ethernet adapter, or name a bridge or tap with --interface NAME",
        )),
    }
}

/// Why an interface is not chosen by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Objection {
    Loopback,
    NotEthernet,
    Wireless,
    PortOf(String),
    DefaultRoute,
    Virtual,
}

/// The gravest first: only [`Objection::Virtual`] is waived for a name that was asked for.
fn objection(interface: &Interface) -> Option<Objection> {
    match (&interface.kind, &interface.port_of) {
        (Kind::Loopback, _) => Some(Objection::Loopback),
        (Kind::NotEthernet, _) => Some(Objection::NotEthernet),
        (Kind::Wireless, _) => Some(Objection::Wireless),
        (_, Some(controller)) => Some(Objection::PortOf(controller.clone())),
        _ if interface.default_route => Some(Objection::DefaultRoute),
        (Kind::Virtual(_), None) => Some(Objection::Virtual),
        (Kind::Wired, None) => None,
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("it never leaves this machine"),
            Self::NotEthernet => f.write_str("it carries no ethernet frames"),
            Self::Wireless => f.write_str("firmware does not boot over the air"),
            Self::PortOf(controller) => write!(f, "it is a port of {controller}"),
            Self::DefaultRoute => f.write_str(
                "it carries the default route, so its network has a DHCP server already and machines that are not \
                 yours to erase",
            ),
            Self::Virtual => f.write_str("it is used only when asked for"),
        }
    }
}

/// One line for each: name, hardware address, what it is, why not.
fn list(interfaces: &[Interface]) -> String {
    interfaces.iter().map(|interface| format!("\n  {}", line(interface))).collect()
}

fn line(interface: &Interface) -> String {
    let mac = interface.mac.map_or_else(|| "no hardware address".to_owned(), |mac| mac.to_string());
    let why = match objection(interface) {
        Some(objection) => objection.to_string(),
        None => match (interface.up, interface.carrier) {
            (true, true) => "could be used, has a link",
            (true, false) => "could be used, has no cable",
            (false, _) => "could be used, is down",
        }
        .to_owned(),
    };
    format!("{}  {mac}  {}: {why}", interface.name, interface.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mac;

    fn interface(name: &str, kind: Kind) -> Interface {
        Interface {
            name: name.to_owned(),
            index: 2,
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            kind,
            up: true,
            carrier: true,
            addresses: vec![],
            default_route: false,
            port_of: None,
        }
    }

    fn wired(name: &str) -> Interface {
        interface(name, Kind::Wired)
    }

    fn laptop() -> Vec<Interface> {
        vec![
            interface("lo", Kind::Loopback),
            wired("enp0s31f6"),
            Interface { default_route: true, ..interface("wlan0", Kind::Wireless) },
            interface("docker0", Kind::Virtual("bridge".into())),
            interface("wg0", Kind::NotEthernet),
        ]
    }

    #[test]
    fn the_only_free_wired_interface_is_chosen() {
        assert_eq!(choose(&laptop(), None).map(|chosen| chosen.name.clone()), Ok("enp0s31f6".to_owned()));
    }

    #[test]
    fn several_or_none_is_an_error_that_lists_each_with_its_reason() {
        let mut interfaces = laptop();
        interfaces.push(Interface { carrier: false, ..wired("enx00") });
        let error = choose(&interfaces, None).expect_err("two could be it");
        assert_eq!(
            error.what,
            "several interfaces could be the one to provision on:\n  \
             lo  02:00:00:00:00:01  loopback: it never leaves this machine\n  \
             enp0s31f6  02:00:00:00:00:01  wired ethernet: could be used, has a link\n  \
             wlan0  02:00:00:00:00:01  wireless: firmware does not boot over the air\n  \
             docker0  02:00:00:00:00:01  virtual (bridge): it is used only when asked for\n  \
             wg0  02:00:00:00:00:01  no ethernet: it carries no ethernet frames\n  \
             enx00  02:00:00:00:00:01  wired ethernet: could be used, has no cable"
        );
        assert!(error.hint.contains("--interface"));

        interfaces.retain(|interface| interface.kind != Kind::Wired);
        interfaces.push(Interface { default_route: true, ..wired("eth0") });
        let error = choose(&interfaces, None).expect_err("the only card leads to the internet");
        assert!(
            error.what.contains("eth0  02:00:00:00:00:01  wired ethernet: it carries the default route"),
            "{error}"
        );
        assert!(choose(&[], None).is_err());
    }

    #[test]
    fn a_name_that_was_asked_for() {
        let bridge = Kind::Virtual("bridge".into());
        let port = Interface { port_of: Some("br0".into()), ..wired("eth1") };
        for (candidate, expected) in [
            (wired("eth1"), Ok(())),
            (interface("eth1", bridge.clone()), Ok(())),
            (interface("eth1", Kind::Wireless), Err("over the air")),
            (interface("eth1", Kind::Loopback), Err("never leaves")),
            (interface("eth1", Kind::NotEthernet), Err("no ethernet frames")),
            (Interface { default_route: true, ..wired("eth1") }, Err("carries the default route")),
            (Interface { default_route: true, ..interface("eth1", bridge) }, Err("carries the default route")),
            (port, Err("port of br0")),
        ] {
            let interfaces = [wired("eth0"), candidate];
            match (choose(&interfaces, Some("eth1")), expected) {
                (Ok(chosen), Ok(())) => assert_eq!(chosen.name, "eth1"),
                (Err(error), Err(reason)) => assert!(error.what.contains(reason), "{error}"),
                (outcome, _) => panic!("{:?}: {outcome:?}", interfaces[1]),
            }
        }
        let error = choose(&laptop(), Some("eth9")).expect_err("no such name");
        assert!(error.what.starts_with("there is no interface eth9; this machine has:\n  lo"), "{error}");
    }
}
