//! The DHCPv4 server of a network that is ours (RFC 2131), with what firmware wants to boot (PXE 2.1, UEFI HTTP Boot).
//!
//! The spine is pure: bytes → `packet::decode` → `Packet` → `request::classify` → `Request` → `lease::Leases` and the [`Desk`]
//! → `reply::compose` → `Reply`. `exchange::Exchange` is all of it for one message; [`Server`] adds sockets and the clock.
//!
//! One network card speaks with several voices between power-on and login. Only firmware and iPXE are told what to boot;
//! installers and operating systems get the same address and nothing else.

mod exchange;
pub mod firmware;
mod lease;
mod neighbour;
mod packet;
mod probe;
mod reply;
mod request;
#[cfg(test)]
mod sample;
mod server;
mod socket;

use std::net::Ipv4Addr;

pub use probe::{Heard, Probe};
pub use server::{Gate, Server, bind};

use crate::{
    model::{BootPlan, BootRequest, BootSpec, Mac, Stage},
    plan::Network,
};

/// Where servers and relays listen (RFC 2131 §4.1).
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;

/// What the server asks the rest of the house.
pub trait Desk: Send + Sync + 'static {
    /// Whether this machine is served at all (`--mac`); false: it hears not a word.
    fn serves(&self, mac: Mac) -> bool;

    /// What a machine that asks to boot shall do. A pure look-up, made for every DISCOVER and REQUEST.
    fn decide(&self, request: &BootRequest) -> BootPlan;

    /// The boot file for that decision: a TFTP path for PXE, an absolute URL for HTTP Boot and iPXE. None: the machine is
    /// given an address only.
    fn boot_file(&self, spec: &BootSpec, mac: Mac) -> Option<String>;

    /// An address was acknowledged (the ACK is sent).
    fn leased(&self, lease: &Granted);
}

/// An address that is now a machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The machine.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Who on the machine asked for it.
    pub stage: Stage,
    /// The name it calls itself (option 12).
    pub hostname: Option<String>,
    /// What was decided, when it asked to boot.
    pub boot: Option<(BootRequest, BootPlan)>,
}

/// What the server serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The interface that machines are plugged into; no other hears us.
    pub interface: String,
    /// The network that is ours.
    pub network: Network,
    /// An address that only this machine gets.
    pub reservation: Option<(Mac, Ipv4Addr)>,
    /// Machines that had an address before this server was started: one may be installing at this moment, and no other may
    /// get its address.
    pub known: Vec<(Mac, Ipv4Addr)>,
}
