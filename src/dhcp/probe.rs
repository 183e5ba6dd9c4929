//! Whether this link has a DHCP server already: asked aloud, and heard from what others say to each other.
//!
//! A packet socket, not UDP port 68: a DHCP client of this host has that port, often without `SO_REUSEADDR` and for every
//! interface at once (ISC dhclient on the uplink), and a client of this very interface would take the answers. It also hears
//! what a packet filter of this host drops.

mod frame;

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    libc,
    sys::socket::{self, LinkAddr, SockProtocol},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::Interest,
    net::UdpSocket,
    time::{MissedTickBehavior, interval},
};

pub use self::frame::Heard;
use crate::{
    model::{Hinted, Mac},
    net::{Place, probe::how_to_be_allowed},
};

/// An open ear for DHCP on one interface, and a voice to ask with.
pub struct Probe {
    /// QUIRK: no UDP socket but a packet socket. Tokio has no type for those that is made without `unsafe`; send(2), recvfrom(2)
    /// and readiness are the same.
    socket: UdpSocket,
    name: String,
    index: usize,
    mac: Mac,
    own: frame::Own,
}

impl Probe {
    /// Listens on the interface in `place`, which must exist; it needs no address. `mac` is its own, `ours` the address of
    /// this host's own server. Must be called within a runtime.
    ///
    /// Errors carry a [`Hinted`] when permission is missing, and when there is no such interface.
    pub fn open(place: &Place, interface: &str, mac: Mac, ours: Ipv4Addr) -> anyhow::Result<Self> {
        let (socket, index) = place.run(|| listen(interface)).map_err(|error| explain(error, interface))?;
        let own = frame::Own { xid: RandomState::new().hash_one(mac) as u32, address: ours };
        let socket = UdpSocket::from_std(socket).context("registering the socket that hears other DHCP servers")?;
        Ok(Self { socket, name: interface.to_owned(), index, mac, own })
    }

    /// Asks at once and then every so often, and gives the first that `wanted` picks out of what others say. It does not end
    /// by itself: with no carrier it waits, too.
    pub async fn until<T>(&self, every: Duration, wanted: impl Fn(Heard) -> Option<T>) -> anyhow::Result<T> {
        let mut turn = interval(every);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.hear() => if let Some(found) = wanted(heard?) {
                    return Ok(found);
                },
                _ = turn.tick() => self.ask().await?,
            }
        }
    }

    /// Sends one DISCOVER.
    async fn ask(&self) -> anyhow::Result<()> {
        let frame = frame::discover(self.mac, self.own.xid);
        let sent = self.socket.send(&frame).await;
        sent.with_context(|| format!("asking on {} for another DHCP server", self.name)).map(drop)
    }

    /// The next that somebody else on the link says. Dropping this loses nothing.
    async fn hear(&self) -> anyhow::Result<Heard> {
        let mut buffer = [0; 2048];
        loop {
            let receive = || Ok(socket::recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer)?);
            let received = self.socket.async_io(Interest::READABLE, receive).await;
            let (length, from) = received.with_context(|| format!("hearing other DHCP servers on {}", self.name))?;
            if from.is_some_and(|from| self.is_from_the_link(&from))
                && let Some(heard) = frame::heard(&buffer[..length], self.own)
            {
                return Ok(heard);
            }
        }
    }

    /// Not what this host sends itself, nor what came by another interface before the socket was bound, nor what is of another
    /// VLAN of the link (packet(7): such frames are another host's).
    fn is_from_the_link(&self, from: &LinkAddr) -> bool {
        let by_us_or_for_others = [libc::PACKET_OUTGOING, libc::PACKET_OTHERHOST];
        from.ifindex() == self.index && !by_us_or_for_others.contains(&from.pkttype())
    }
}

/// A packet socket on that interface of the calling thread's network, and the interface's index.
fn listen(interface: &str) -> io::Result<(std::net::UdpSocket, usize)> {
    let link = getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .ok_or(Errno::ENODEV)?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(SockProtocol::EthIp as i32)))?;
    socket.attach_filter(&frame::FILTER)?;
    socket.set_nonblocking(true)?;
    socket::bind(socket.as_raw_fd(), &link)?;
    Ok((socket.into(), link.ifindex()))
}

fn explain(error: io::Error, interface: &str) -> anyhow::Error {
    let doing = format!("looking for other DHCP servers on {interface}");
    let hinted = match error.kind() {
        io::ErrorKind::PermissionDenied => Hinted::new(format!("{doing}: this user may not"), how_to_be_allowed()),
        _ if error.raw_os_error() == Some(libc::ENODEV) => {
            let hint = "`ip link` lists the interfaces of this machine; name one with --interface";
            Hinted::new(format!("{doing}: there is no such interface"), hint)
        }
        _ => return anyhow::Error::new(error).context(doing),
    };
    hinted.into()
}
