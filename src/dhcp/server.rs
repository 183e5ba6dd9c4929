use std::{
    collections::HashSet,
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    libc,
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg},
};
use tokio::{io::Interest, sync::watch};

use super::{
    CLIENT_PORT, Config, Desk,
    exchange::{Exchange, Note, Outcome},
    neighbour::Neighbours,
    reply::{Reply, Route},
    request::NotForUs,
    socket,
};
use crate::{model::Mac, net::Place};

/// Whether the server may speak. It is for others to know whose link this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Machines are answered.
    Open,
    /// It is not decided yet: what machines say waits, and is answered when the gate opens. Firmware asks four times in a minute
    /// and gives up (edk2 after 4, 8, 16 and 32 s): a question lost is a long wait.
    Held,
    /// Nobody is answered, nor ever will be for what is said now.
    Shut,
}

/// A DHCP server that has its port but does not answer yet.
pub struct Server {
    socket: UdpSocket,
    place: Place,
    interface: u32,
    address: Ipv4Addr,
    exchange: Exchange,
    desk: Arc<dyn Desk>,
}

/// Binds port 67 of the interface in `place`. The interface must exist; it need not have its address yet.
///
/// Errors carry a [`crate::model::Hinted`] when the port is taken (and by whom), when permission is missing, and when there
/// is no such interface.
pub fn bind(place: &Place, config: Config, desk: Arc<dyn Desk>) -> anyhow::Result<Server> {
    let name = config.interface.as_str();
    let socket = socket::bind(place, name).map_err(|error| socket::explain(error, place, name))?;
    let interface = place
        .run(|| Ok(nix::net::if_::if_nametoindex(name)?))
        .with_context(|| format!("looking up the index of interface {name}"))?;
    Ok(Server {
        socket,
        place: place.clone(),
        interface,
        address: config.network.router,
        exchange: Exchange::new(&config, Arc::clone(&desk)),
        desk,
    })
}

impl Server {
    /// Answers while the gate is open, until it is dropped. No packet ends it, nor does a panic while one is handled. Must run
    /// within a runtime.
    ///
    /// # Errors
    /// Nobody keeps the gate any more.
    pub async fn run(self, mut gate: watch::Receiver<Gate>) -> anyhow::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(self.socket).context("registering the DHCP socket")?;
        let neighbours = Neighbours::open(&self.place, self.interface)
            .inspect_err(|error| tracing::debug!(%error, "no access to the neighbour table: replies are broadcast"))
            .ok();
        let wire = Wire { socket, neighbours, interface: self.interface, address: self.address };
        let (mut exchange, desk, mut said, started) = (self.exchange, self.desk, Said::default(), Instant::now());
        let mut buffer = [0; RECEIVE];
        loop {
            let state = *gate.borrow_and_update();
            let received = tokio::select! {
                // SECURITY: a gate that was shut this moment comes before a message that was received.
                biased;
                changed = gate.changed() => {
                    changed.context("waiting for leave to answer machines")?;
                    continue;
                }
                received = wire.socket.recv(&mut buffer), if state != Gate::Held => received,
            };
            let length = match received {
                Ok(length) => length,
                Err(error) => {
                    tracing::warn!(%error, "receiving on the DHCP port failed");
                    // An interface that is gone fails at once and for ever.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            if state == Gate::Shut {
                continue;
            }
            let handled = shielded(|| exchange.answer(&buffer[..length], started.elapsed()));
            let Some(Outcome { mac, reply, granted, note }) = handled else { continue };
            if let Some(note) = note {
                said.log(mac, &note);
            }
            let Some(reply) = reply else { continue };
            match wire.send(&reply).await {
                Ok(()) => {
                    tracing::debug!(?mac, route = ?reply.route, "replied");
                    granted.and_then(|granted| shielded(|| desk.leased(&granted)));
                }
                Err(error) => tracing::warn!(?mac, route = ?reply.route, %error, "sending a DHCP reply failed"),
            }
        }
    }
}

/// Room for one message. Ethernet carries 1472 bytes; a longer one loses its last options.
const RECEIVE: usize = 2048;

/// Runs `work`; a panic in it is logged and costs this message only. The lease table behind it is never left half-changed:
/// its methods do not panic between two changes.
fn shielded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!("handling a DHCP message panicked; the message is dropped");
    }
    result.ok()
}

/// How replies leave.
struct Wire {
    socket: tokio::net::UdpSocket,
    neighbours: Option<Neighbours>,
    interface: u32,
    address: Ipv4Addr,
}

impl Wire {
    async fn send(&self, reply: &Reply) -> io::Result<()> {
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        let to = match reply.route {
            Route::Relay(relay) => relay,
            Route::Configured(address) => SocketAddrV4::new(address, CLIENT_PORT),
            Route::Unicast { address, mac } if self.introduce(address, mac).await => {
                SocketAddrV4::new(address, CLIENT_PORT)
            }
            Route::Unicast { .. } | Route::Broadcast => everybody,
        };
        match self.send_to(&reply.bytes, to).await {
            Err(error) if matches!(reply.route, Route::Unicast { .. }) => {
                tracing::debug!(%to, %error, "unicasting failed: broadcasting instead");
                self.send_to(&reply.bytes, everybody).await
            }
            result => result,
        }
    }

    async fn introduce(&self, address: Ipv4Addr, mac: Mac) -> bool {
        let Some(neighbours) = &self.neighbours else { return false };
        neighbours
            .set(address, mac)
            .await
            .inspect_err(|error| tracing::debug!(%address, %mac, %error, "setting a neighbour entry failed"))
            .is_ok()
    }

    /// Sends from our address on the provisioning network, whatever else the interface has: clients drop a reply whose
    /// source is not the server identifier (tinkerbell/charts#109).
    async fn send_to(&self, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
        let source = libc::in_pktinfo {
            ipi_ifindex: self.interface as libc::c_int,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(self.address.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(to);
        self.socket
            .async_io(Interest::WRITABLE, || {
                let control = [ControlMessage::Ipv4PacketInfo(&source)];
                let socket = self.socket.as_raw_fd();
                sendmsg(socket, &[IoSlice::new(bytes)], &control, MsgFlags::empty(), Some(&to))?;
                Ok(())
            })
            .await
    }
}

/// What was logged already: every client's notes are logged once.
#[derive(Default)]
struct Said(HashSet<(Option<Mac>, String)>);

impl Said {
    /// Bounds the memory that invented hardware addresses can take.
    const LIMIT: usize = 4096;

    fn log(&mut self, mac: Option<Mac>, note: &Note) {
        let about = Self::about(mac, note);
        if !self.is_news(about, note) {
            return;
        }
        let who = about.map_or_else(String::new, |mac| format!("{mac} "));
        if note.is_loud() {
            tracing::warn!("DHCP: {who}{note}");
        } else {
            tracing::debug!("DHCP: {who}{note}");
        }
    }

    /// That another server is there concerns the link, not the machine that showed it.
    fn about(mac: Option<Mac>, note: &Note) -> Option<Mac> {
        mac.filter(|_| !matches!(note, Note::NotForUs(NotForUs::OtherServer(_))))
    }

    fn is_news(&mut self, about: Option<Mac>, note: &Note) -> bool {
        if self.0.len() >= Self::LIMIT {
            self.0.clear();
        }
        self.0.insert((about, note.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_everything_once_in_bounded_memory() {
        let mut said = Said::default();
        let mac = |n: u16| Some(Mac([2, 0, 0, 0, (n >> 8) as u8, n as u8]));
        assert!(said.is_news(mac(1), &Note::NotServed));
        assert!(!said.is_news(mac(1), &Note::NotServed));
        assert!(said.is_news(mac(1), &Note::Released(Ipv4Addr::LOCALHOST)));
        assert_eq!(Said::about(mac(1), &Note::NotForUs(NotForUs::OtherServer(Ipv4Addr::LOCALHOST))), None);
        assert_eq!(Said::about(mac(1), &Note::NotServed), mac(1));
        for n in 0..10_000 {
            said.is_news(mac(n), &Note::NotServed);
        }
        assert!(said.0.len() <= Said::LIMIT);
    }
}
