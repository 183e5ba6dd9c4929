//! This machine's network: what it has ([`probe`], read-only), what we change ([`setup`], always reverted), where
//! sockets are made ([`Place`]), and what it means when a port cannot be had ([`Port`]).
//!
//! Everything here is synchronous although netlink is spoken through tokio: each call runs a small runtime on a thread of
//! its own (see `aside`). A change to this host can then not be cancelled half-way by a dropped future, and [`Drop`] can
//! revert. Calls take about a millisecond, plus the time of `nmcli` and `firewall-cmd` where those exist.

mod aside;
mod holder;
mod netlink;
mod place;
mod port;
pub mod probe;
pub mod setup;
mod sockets;

pub use holder::{Protocol, holder};
pub use place::Place;
pub use port::Port;
pub use sockets::bind_tcp;
