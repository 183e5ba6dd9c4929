//! A link that loses, repeats and reorders, by a seed.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// After this time without traffic, a datagram that was held back is let go.
const LULL: Duration = Duration::from_millis(20);

/// A relay between one client and a server, while it lives.
pub struct Relay {
    address: SocketAddrV4,
    over: Arc<AtomicBool>,
    directions: Vec<JoinHandle<()>>,
}

/// Where the relay sends to: learned from what it received.
#[derive(Default)]
struct Peers {
    client: Option<SocketAddr>,
    transfer: Option<SocketAddr>,
}

impl Relay {
    /// A link to `server`. Requests always pass (their loss is the client's business); of the rest, one in `one_in` is
    /// lost, one in `one_in` repeated, and one in `one_in` overtaken by the next.
    pub fn to(server: SocketAddrV4, one_in: u64, seed: u64) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a relay socket");
            socket.set_read_timeout(Some(LULL)).expect("a timeout");
            Arc::new(socket)
        };
        let (front, back) = (socket(), socket());
        let SocketAddr::V4(address) = front.local_addr().expect("bound") else { unreachable!("bound to IPv4") };
        let (over, peers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Peers::default())));
        let up = {
            let peers = Arc::clone(&peers);
            let route = move |datagram: &[u8], from| {
                let mut peers = peers.lock().expect("no panic");
                peers.client = Some(from);
                if datagram.starts_with(b"\0\x01") { Some(server.into()) } else { peers.transfer }
            };
            direction(Arc::clone(&front), Arc::clone(&back), Faults { one_in, state: seed }, Arc::clone(&over), route)
        };
        let route = move |_: &[u8], from| {
            let mut peers = peers.lock().expect("no panic");
            peers.transfer = Some(from);
            peers.client
        };
        let down = direction(back, front, Faults { one_in, state: !seed }, Arc::clone(&over), route);
        Self { address, over, directions: vec![up, down] }
    }

    /// What the client takes for the server.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.directions.drain(..).for_each(|direction| direction.join().expect("no panic"));
    }
}

fn direction(
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
    mut faults: Faults,
    over: Arc<AtomicBool>,
    route: impl Fn(&[u8], SocketAddr) -> Option<SocketAddr> + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        let mut held: Option<(Vec<u8>, SocketAddr)> = None;
        while !over.load(Ordering::Relaxed) {
            let send = |datagram: &[u8], peer| to.send_to(datagram, peer).map(drop).expect("relayed");
            match from.recv_from(&mut datagram) {
                Ok((length, sender)) => {
                    let datagram = &datagram[..length];
                    let Some(peer) = route(datagram, sender) else { continue };
                    match if datagram.starts_with(b"\0\x01") { Fate::Pass } else { faults.next() } {
                        Fate::Lose => continue,
                        Fate::Hold if held.is_none() => {
                            held = Some((datagram.to_vec(), peer));
                            continue;
                        }
                        Fate::Repeat => (0..2).for_each(|_| send(datagram, peer)),
                        Fate::Hold | Fate::Pass => send(datagram, peer),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("relaying: {error}"),
            }
            held.take().into_iter().for_each(|(datagram, peer)| send(&datagram, peer));
        }
    })
}

enum Fate {
    Pass,
    Lose,
    Repeat,
    Hold,
}

struct Faults {
    one_in: u64,
    state: u64,
}

impl Faults {
    fn next(&mut self) -> Fate {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match (mixed ^ (mixed >> 31)) % self.one_in {
            0 => Fate::Lose,
            1 => Fate::Repeat,
            2 => Fate::Hold,
            _ => Fate::Pass,
        }
    }
}
