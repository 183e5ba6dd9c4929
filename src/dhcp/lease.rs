//! Which address belongs to whom.
//!
//! Everything is kept by hardware address, not by client identifier (RFC 2131 §4.2): firmware, loader, installer and
//! installed system of one machine send four identifiers, and must get one address.
//!
//! Nothing is kept on disk. A restarted server gives a machine its old address again: because the machine asks for it, or
//! because the address follows from the hash of its hardware address. Memory is bounded by the pool, also under a flood of
//! invented hardware addresses.

use std::{collections::HashMap, fmt, net::Ipv4Addr, ops::Range, time::Duration};

use crate::{model::Mac, plan::Network};

/// How long an acknowledged address is the client's (option 51).
pub const LEASE: Duration = Duration::from_secs(3600);
/// How long an offered address waits for its REQUEST. edk2 collects offers for up to 32 s.
pub const OFFER: Duration = Duration::from_secs(60);
/// How long an address is left alone after a client found somebody else using it.
pub const SET_ASIDE: Duration = Duration::from_secs(600);
/// Addresses used of a network larger than this.
const POOL_LIMIT: u32 = 1 << 16;

/// Why a client does not get an address, or not that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Every address is in use.
    Exhausted,
    /// The address is none of ours to give.
    Outside(Ipv4Addr),
    /// The address is another machine's.
    Taken(Ipv4Addr),
    /// The client has this address instead.
    HasOther(Ipv4Addr),
    /// Somebody uses the address that is reserved for the client.
    ReservedInUse(Ipv4Addr),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("every address of the network is in use"),
            Self::Outside(address) => write!(f, "{address} is not ours to give"),
            Self::Taken(address) => write!(f, "{address} belongs to another machine"),
            Self::HasOther(address) => write!(f, "its address is {address}"),
            Self::ReservedInUse(address) => write!(f, "somebody on this link uses its reserved address {address}"),
        }
    }
}

/// The lease table. Every method is given `now`, a time since any fixed moment.
#[derive(Debug)]
pub struct Leases {
    pool: Range<u32>,
    router: Ipv4Addr,
    reservation: Option<(Mac, Ipv4Addr)>,
    held: HashMap<Ipv4Addr, Held>,
    /// Inverse of `held`: `by_mac[mac] == address` if and only if `held[address].owner == Some(mac)`.
    by_mac: HashMap<Mac, Ipv4Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// None: set aside.
    owner: Option<Mac>,
    /// From then on the address may be given to another; until that happens it stays its owner's.
    until: Duration,
}

impl Leases {
    /// An empty table. The pool is the network without its first, its last and the router's address.
    pub fn new(network: &Network, reservation: Option<(Mac, Ipv4Addr)>) -> Self {
        let first = u32::from(network.subnet.network()).saturating_add(1);
        let end = u32::from(network.subnet.broadcast()).min(first.saturating_add(POOL_LIMIT));
        Self { pool: first..end, router: network.router, reservation, held: HashMap::new(), by_mac: HashMap::new() }
    }

    /// Finds an address for a DISCOVER and keeps it for [`OFFER`]. In this order: the reserved one, the one it has or had,
    /// the one it `wants`, the one its hardware address hashes to, the next that nobody ever had, the one longest expired.
    pub fn offer(&mut self, mac: Mac, wants: Option<Ipv4Addr>, now: Duration) -> Result<Ipv4Addr, Refusal> {
        let address = self.pick(mac, wants, now)?;
        let kept = self.held.get(&address).filter(|held| held.owner == Some(mac)).map_or(now, |held| held.until);
        self.hold(mac, address, kept.max(now + OFFER));
        Ok(address)
    }

    /// Gives or extends exactly this address for [`LEASE`]. A refusal is a NAK: we own the network, so we know.
    ///
    /// An address that nobody holds is granted without an offer: the client has it from before our restart.
    pub fn claim(&mut self, mac: Mac, address: Ipv4Addr, now: Duration) -> Result<(), Refusal> {
        match self.reserved_for(mac).or_else(|| self.by_mac.get(&mac).copied()) {
            Some(own) if own != address => return Err(Refusal::HasOther(own)),
            None if !self.may_have(mac, address) => return Err(Refusal::Outside(address)),
            _ => {}
        }
        if self.is_taken(mac, address, now) {
            return Err(Refusal::Taken(address));
        }
        self.hold(mac, address, now + LEASE);
        Ok(())
    }

    /// The client is done with its address. It stays its own until another needs it. False: it was not the client's.
    pub fn release(&mut self, mac: Mac, address: Ipv4Addr, now: Duration) -> bool {
        let held = self.held.get_mut(&address).filter(|held| held.owner == Some(mac));
        held.map(|held| held.until = now).is_some()
    }

    /// The client found its address in use: nobody gets it for [`SET_ASIDE`]. False: it was not the client's.
    pub fn decline(&mut self, mac: Mac, address: Ipv4Addr, now: Duration) -> bool {
        let declined = self.by_mac.get(&mac) == Some(&address);
        if declined {
            self.by_mac.remove(&mac);
            self.held.insert(address, Held { owner: None, until: now + SET_ASIDE });
        }
        declined
    }

    fn pick(&self, mac: Mac, wants: Option<Ipv4Addr>, now: Duration) -> Result<Ipv4Addr, Refusal> {
        if let Some(reserved) = self.reserved_for(mac) {
            let taken = self.is_taken(mac, reserved, now);
            return if taken { Err(Refusal::ReservedInUse(reserved)) } else { Ok(reserved) };
        }
        let free = |address: &Ipv4Addr| self.may_have(mac, *address) && !self.held.contains_key(address);
        self.by_mac
            .get(&mac)
            .copied()
            .or_else(|| wants.filter(free))
            .or_else(|| self.addresses_for(mac).find(free))
            .or_else(|| self.longest_expired(mac, now))
            .ok_or(Refusal::Exhausted)
    }

    /// The whole pool, from the address that the hardware address hashes to, round to the one before it.
    fn addresses_for(&self, mac: Mac) -> impl Iterator<Item = Ipv4Addr> {
        let size = self.pool.len() as u32;
        let start = if size == 0 { 0 } else { hash(mac) % size };
        let middle = self.pool.start + start;
        (middle..self.pool.end).chain(self.pool.start..middle).map(Ipv4Addr::from)
    }

    fn longest_expired(&self, mac: Mac, now: Duration) -> Option<Ipv4Addr> {
        self.held
            .iter()
            .filter(|(address, held)| held.until <= now && self.may_have(mac, **address))
            .min_by_key(|(address, held)| (held.until, **address))
            .map(|(address, _)| *address)
    }

    fn reserved_for(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.reservation.filter(|(owner, _)| *owner == mac).map(|(_, address)| address)
    }

    /// Whether the address is one to give at all, and not reserved for another.
    fn may_have(&self, mac: Mac, address: Ipv4Addr) -> bool {
        let reserved = self.reservation.is_some_and(|(owner, reserved)| reserved == address && owner != mac);
        self.pool.contains(&u32::from(address)) && address != self.router && !reserved
    }

    fn is_taken(&self, mac: Mac, address: Ipv4Addr, now: Duration) -> bool {
        self.held.get(&address).is_some_and(|held| held.owner != Some(mac) && held.until > now)
    }

    fn hold(&mut self, mac: Mac, address: Ipv4Addr, until: Duration) {
        let before = self.held.insert(address, Held { owner: Some(mac), until });
        if let Some(Held { owner: Some(owner), .. }) = before {
            self.by_mac.remove(&owner);
        }
        self.by_mac.insert(mac, address);
    }
}

/// FNV-1a, because it must be the same in every build: the hasher of the standard library is not promised to be.
fn hash(mac: Mac) -> u32 {
    mac.0.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
