use std::{io, net::SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Config;
use crate::net::{self, Place, Port};

/// A UDP socket of ours, on `port` of the configured address (0: a free one). Needs a tokio runtime around it.
pub(super) fn open(place: &Place, config: &Config, port: u16) -> io::Result<UdpSocket> {
    let address = SocketAddrV4::new(*config.address.ip(), port);
    let socket = place.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(interface) = &config.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        // Everything is bound before the network of this host is changed, so the address may not be there yet.
        socket.set_freebind_v4(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    })?;
    UdpSocket::from_std(socket.into())
}

/// What it means that the listening socket cannot be had, and what to do about it.
pub(super) fn explain(error: io::Error, place: &Place, config: &Config) -> anyhow::Error {
    let interface = config.interface.as_deref();
    let port = Port { protocol: net::Protocol::Udp, number: config.address.port(), service: "TFTP", interface };
    port.explain(error, place, "stop that TFTP server while you provision")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::model::Hinted;

    fn config(port: u16) -> Config {
        Config::at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_remedy() {
        let first = open(&Place::Here, &config(0), 0).expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let error = open(&Place::Here, &config(port), port).expect_err("the port is taken");
        let hinted = explain(error, &Place::Here, &config(port)).downcast::<Hinted>().expect("a remedy");
        let what = format!("UDP port {port} (TFTP) is taken by ");
        let us = format!("(pid {})", std::process::id());
        assert!(hinted.what.starts_with(&what) && hinted.what.ends_with(&us), "{hinted:?}");
        assert!(hinted.hint.contains("stop that TFTP server"), "{hinted:?}");
    }

    #[tokio::test]
    async fn an_address_may_come_later() {
        // TEST-NET-1 is nobody's.
        let config = Config::at(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0));
        let socket = open(&Place::Here, &config, 0).expect("bound before the address exists");
        assert_eq!(socket.local_addr().expect("bound").ip(), Ipv4Addr::new(192, 0, 2, 1));
    }
}
