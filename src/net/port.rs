use std::{fmt, io};

use nix::libc;

use super::{Place, Protocol, holder, probe};
use crate::model::Hinted;

/// A port that a server of ours listens on: "UDP port 67 (DHCP) on enp0s31f6".
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
    /// What is served there, such as `DHCP`.
    pub service: &'static str,
    /// The interface that the server keeps to.
    pub interface: Option<&'a str>,
}

impl fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, number, service, interface } = self;
        write!(f, "{protocol} port {number} ({service})")?;
        interface.map_or(Ok(()), |interface| write!(f, " on {interface}"))
    }
}

impl Port<'_> {
    /// What an error of binding it in `place` means: a [`Hinted`] where there is a remedy. `if_taken` is the one for a port
    /// that somebody else holds; who that is stands in the error.
    pub fn explain(&self, error: io::Error, place: &Place, if_taken: &str) -> anyhow::Error {
        let hinted = match error.kind() {
            io::ErrorKind::AddrInUse => {
                let holder = place.run(|| Ok(holder(self.protocol, self.number))).ok().flatten();
                let who = holder.as_deref().unwrap_or("another process");
                Hinted::new(format!("{self} is taken by {who}"), if_taken)
            }
            io::ErrorKind::PermissionDenied => {
                Hinted::new(format!("binding {self}: this user may not"), probe::how_to_be_allowed())
            }
            _ if error.raw_os_error() == Some(libc::ENODEV) => {
                let hint = "`ip link` lists the interfaces of this machine; name one with --interface";
                Hinted::new(format!("binding {self}: there is no such interface"), hint)
            }
            _ => return anyhow::Error::new(error).context(format!("binding {self}")),
        };
        hinted.into()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

    use nix::errno::Errno;

    use super::*;
    use crate::net::bind_tcp;

    const DHCP: Port<'_> = Port { protocol: Protocol::Udp, number: 67, service: "DHCP", interface: Some("lan0") };

    #[test]
    fn errors_say_what_to_do() {
        for (errno, what, hint) in [
            (Errno::EACCES, "binding UDP port 67 (DHCP) on lan0: this user may not", "sudo setcap"),
            (Errno::EPERM, "binding UDP port 67 (DHCP) on lan0: this user may not", "sudo setcap"),
            (Errno::ENODEV, "binding UDP port 67 (DHCP) on lan0: there is no such interface", "ip link"),
        ] {
            let error = DHCP.explain(errno.into(), &Place::Here, "");
            let hinted = error.downcast_ref::<Hinted>().expect("a remedy");
            assert_eq!(hinted.what, what);
            assert!(hinted.hint.contains(hint), "{}", hinted.hint);
        }
        let other = DHCP.explain(Errno::ENOMEM.into(), &Place::Here, "");
        assert!(other.downcast_ref::<Hinted>().is_none() && other.to_string().contains("lan0"), "{other:?}");
    }

    #[test]
    fn who_has_a_port_stands_in_the_error_and_the_remedy_in_the_hint() {
        let us = format!("(pid {})", std::process::id());
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let tcp = bind_tcp(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None).expect("a free port");
        for (protocol, number) in [
            (Protocol::Udp, udp.local_addr().expect("bound").port()),
            (Protocol::Tcp, tcp.local_addr().expect("bound").port()),
        ] {
            let port = Port { protocol, number, interface: None, service: "test" };
            let error = port.explain(io::ErrorKind::AddrInUse.into(), &Place::Here, "stop it");
            let Hinted { what, hint } = error.downcast().expect("a remedy");
            assert!(what.starts_with(&format!("{protocol} port {number} (test) is taken by ")), "{what}");
            assert!(what.ends_with(&us) && hint == "stop it", "{what} {hint}");
        }
    }
}
