use std::io;

use super::{Change, Tools, integrations};
use crate::net::{Place, netlink};

/// Makes and undoes single changes to one interface.
///
/// Netlink goes by the interface's number, so that a namesake plugged in meanwhile is never touched. NetworkManager and
/// firewalld know names only.
#[derive(Debug)]
pub(super) struct Changer {
    pub(super) place: Place,
    pub(super) tools: Tools,
    pub(super) interface: String,
    pub(super) index: u32,
}

impl Changer {
    pub(super) fn make(&self, change: &Change) -> io::Result<()> {
        match change {
            Change::Unmanage => {
                integrations::unmanage(&self.tools, &self.interface)?;
                // NetworkManager may take an interface down that it lets go of, and brings it up when it manages it again:
                // so raising it is no change of ours to undo.
                netlink::set_link(&self.place, self.index, true)
            }
            Change::LinkUp => netlink::set_link(&self.place, self.index, true),
            Change::Address(address) => netlink::add_address(&self.place, self.index, *address),
            Change::Trust { .. } => integrations::trust(&self.tools, &self.interface),
        }
    }

    /// What is already gone is undone.
    pub(super) fn undo(&self, change: &Change) -> io::Result<()> {
        match change {
            Change::Unmanage => integrations::manage(&self.tools, &self.interface),
            Change::LinkUp => unless_gone(netlink::set_link(&self.place, self.index, false)),
            Change::Address(address) => unless_gone(netlink::delete_address(&self.place, self.index, *address)),
            Change::Trust { zone_before } => {
                integrations::distrust(&self.tools, &self.interface, zone_before.as_deref())
            }
        }
    }
}

/// The kernel says ENODEV for an interface that is gone and EADDRNOTAVAIL for an address.
fn unless_gone(outcome: io::Result<()>) -> io::Result<()> {
    use nix::libc::{EADDRNOTAVAIL, ENODEV};
    match outcome {
        Err(error) if matches!(error.raw_os_error(), Some(ENODEV | EADDRNOTAVAIL)) => Ok(()),
        outcome => outcome,
    }
}
