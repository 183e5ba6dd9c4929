//! What a message asks for, and who on the machine sent it.

use std::{fmt, net::Ipv4Addr};

use dhcproto::v4::MessageType;

use super::{firmware, packet::Packet};
use crate::{
    model::{BootRequest, Mac, Stage, SystemUuid},
    plan::Network,
};

/// What a client wants of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The client.
    pub mac: Mac,
    /// Who on the machine is talking.
    pub stage: Stage,
    /// What it wants of the lease table.
    pub lease: LeaseNeed,
    /// Whether it wants to boot.
    pub boot: BootNeed,
}

/// What a message asks of the lease table (RFC 2131 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseNeed {
    /// DISCOVER: any address, this one for preference.
    Offer(Option<Ipv4Addr>),
    /// REQUEST in state SELECTING: the address we offered.
    Select(Ipv4Addr),
    /// REQUEST in state INIT-REBOOT: the address it had before it was restarted.
    Reboot(Ipv4Addr),
    /// REQUEST in state RENEWING or REBINDING: the address it uses, for longer.
    Extend(Ipv4Addr),
    /// DECLINE: somebody else uses this address.
    Decline(Ipv4Addr),
    /// RELEASE: it is done with this address.
    Release(Ipv4Addr),
    /// INFORM: everything but an address; it has this one.
    Inform(Ipv4Addr),
}

/// Whether a client wants to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootNeed {
    /// No: an installer or an operating system. It must not see a boot file: debian-installer takes a file name with
    /// `://` in it for the URL of its preseed.
    None,
    /// Firmware, but none that we have a row for; these are its codes.
    Unknown(Vec<u16>),
    /// Yes.
    Boot(BootRequest),
}

/// Why a message is not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotForUs {
    /// No option 53.
    Bootp,
    /// A kind of message that clients do not send.
    Kind(MessageType),
    /// It lacks the address that it is about.
    NoAddress,
    /// It was forwarded from another network.
    ForeignRelay(Ipv4Addr),
    /// It is meant for another DHCP server.
    OtherServer(Ipv4Addr),
    /// It asks about an address of another network.
    ForeignAddress(Ipv4Addr),
}

impl fmt::Display for NotForUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootp => f.write_str("it is BOOTP, not DHCP"),
            Self::Kind(kind) => write!(f, "message type {} does not come from clients", u8::from(*kind)),
            Self::NoAddress => f.write_str("it names no address"),
            Self::ForeignRelay(relay) => write!(f, "the relay {relay} is outside our network"),
            Self::OtherServer(server) => write!(f, "it chose another DHCP server, {server}"),
            Self::ForeignAddress(address) => write!(f, "its address {address} is outside our network"),
        }
    }
}

/// Sorts a message: who talks, what it wants. RFC 2131 §4.3.
pub fn classify(packet: &Packet, network: &Network) -> Result<Request, NotForUs> {
    if !packet.giaddr.is_unspecified() && !network.subnet.contains(&packet.giaddr) {
        return Err(NotForUs::ForeignRelay(packet.giaddr));
    }
    let lease = lease_need(packet, network)?;
    let stage = stage(packet);
    Ok(Request { mac: packet.mac, stage, lease, boot: boot_need(packet, stage) })
}

fn lease_need(packet: &Packet, network: &Network) -> Result<LeaseNeed, NotForUs> {
    let kind = packet.kind.ok_or(NotForUs::Bootp)?;
    let own = Some(packet.ciaddr).filter(|address| !address.is_unspecified());
    let asked = packet.requested.filter(|address| !address.is_unspecified());
    // A DISCOVER names no server; everything else that names one is for that one alone.
    if let Some(server) = packet.server.filter(|server| *server != network.router)
        && kind != MessageType::Discover
    {
        return Err(NotForUs::OtherServer(server));
    }
    match kind {
        MessageType::Discover => Ok(LeaseNeed::Offer(asked)),
        // The table of RFC 2131 §4.3.6: what is filled in tells the client's state.
        MessageType::Request => match (packet.server, asked, own) {
            (Some(_), Some(address), _) => Ok(LeaseNeed::Select(address)),
            // QUIRK: renewing with option 54, which must not be there; the address in use is what counts.
            (_, None, Some(address)) => Ok(LeaseNeed::Extend(address)),
            (None, Some(address), None) => Ok(LeaseNeed::Reboot(address)),
            (None, Some(_), Some(address)) => Ok(LeaseNeed::Extend(address)),
            (_, None, None) => Err(NotForUs::NoAddress),
        },
        MessageType::Decline => asked.map(LeaseNeed::Decline).ok_or(NotForUs::NoAddress),
        MessageType::Release => own.map(LeaseNeed::Release).ok_or(NotForUs::NoAddress),
        MessageType::Inform => match own {
            // SECURITY: the answer goes to the address that the message claims.
            Some(address) if !network.subnet.contains(&address) => Err(NotForUs::ForeignAddress(address)),
            Some(address) => Ok(LeaseNeed::Inform(address)),
            None => Err(NotForUs::NoAddress),
        },
        other => Err(NotForUs::Kind(other)),
    }
}

/// iPXE comes first: it also calls itself `PXEClient`.
fn stage(packet: &Packet) -> Stage {
    let vendor = packet.vendor_class.as_slice();
    if packet.ipxe_options || is_ipxe(&packet.user_class) {
        Stage::Ipxe
    } else if firmware_class(vendor).is_some() {
        Stage::Rom
    } else if vendor == b"d-i" || vendor.starts_with(b"anaconda") {
        Stage::Installer
    } else {
        Stage::Os
    }
}

/// The vendor class of network boot firmware, which the reply must repeat (PXE 2.1; UEFI, "HTTP Boot").
pub(super) fn firmware_class(vendor: &[u8]) -> Option<&'static str> {
    ["PXEClient", "HTTPClient"].into_iter().find(|class| vendor.starts_with(class.as_bytes()))
}

/// iPXE sends its user class raw; RFC 3004 §4 wants a length before each.
fn is_ipxe(user_class: &[u8]) -> bool {
    let mut rest = user_class;
    while let Some((&length, tail)) = rest.split_first()
        && let Some((class, tail)) = tail.split_at_checked(length.into())
    {
        if class == b"iPXE" {
            return true;
        }
        rest = tail;
    }
    user_class == b"iPXE"
}

fn boot_need(packet: &Packet, stage: Stage) -> BootNeed {
    if !matches!(stage, Stage::Rom | Stage::Ipxe) {
        return BootNeed::None;
    }
    match firmware::first_known(&packet.architectures) {
        Some(row) => BootNeed::Boot(BootRequest {
            mac: packet.mac,
            uuid: packet.machine_id.as_deref().and_then(uuid),
            firmware: row.firmware,
            arch: row.arch,
            stage,
        }),
        None => BootNeed::Unknown(packet.architectures.clone()),
    }
}

/// Type 0, then the UUID (RFC 4578 §2.3). All zeros or all ones is SMBIOS's way to say that there is none.
fn uuid(machine_id: &[u8]) -> Option<SystemUuid> {
    let uuid: [u8; 16] = machine_id.strip_prefix(&[0])?.try_into().ok()?;
    (uuid != [0; 16] && uuid != [0xff; 16]).then_some(SystemUuid(uuid))
}

#[cfg(test)]
mod tests;
