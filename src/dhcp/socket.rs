use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::SERVER_PORT;
use crate::net::{self, Place, Port};

/// A broadcast socket on the servers' port of that interface alone. It works before the interface has an address.
///
/// No SO_REUSEADDR: a second DHCP server on this interface must be an error, not a race.
pub(super) fn bind(place: &Place, interface: &str) -> io::Result<UdpSocket> {
    place.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Before bind(), so that a server on another interface (libvirt's dnsmasq) is no conflict.
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_broadcast(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER_PORT).into())?;
        Ok(socket.into())
    })
}

/// What an error of [`bind`] means, and what to do about it.
pub(super) fn explain(error: io::Error, place: &Place, interface: &str) -> anyhow::Error {
    let port = Port { protocol: net::Protocol::Udp, number: SERVER_PORT, service: "DHCP", interface: Some(interface) };
    port.explain(error, place, "stop that DHCP server while you provision")
}
