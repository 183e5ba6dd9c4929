//! What is sent back, byte by byte, and where to.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::{
    Encodable,
    v4::{Flags, Message, MessageType, Opcode, OptionCode},
};

use super::{
    lease::LEASE,
    packet::{IPXE, Packet},
    request::firmware_class,
};
use crate::{
    model::{Mac, Stage},
    plan::Network,
};

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// OFFER: this address is there for it.
    Offer(Ipv4Addr, Option<Boot<'a>>),
    /// ACK: this address is its own for [`LEASE`].
    Ack(Ipv4Addr, Option<Boot<'a>>),
    /// ACK to an INFORM: no address, no lease.
    Inform,
    /// NAK: it must not use the address it asked about.
    Nak,
}

/// What a machine that asked to boot is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot<'a> {
    /// Who asked.
    pub stage: Stage,
    /// TFTP path, or URL for HTTP Boot and iPXE.
    pub file: &'a str,
}

/// A message and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The encoded message.
    pub bytes: Vec<u8>,
    /// Its destination.
    pub route: Route,
}

/// Where a reply goes (RFC 2131 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the relay that forwarded the request.
    Relay(SocketAddrV4),
    /// To a client that uses this address already and answers ARP for it.
    Configured(Ipv4Addr),
    /// To a client that does not have its address yet: no ARP, the frame goes to this card.
    Unicast {
        /// The address that the client is given.
        address: Ipv4Addr,
        /// Its card.
        mac: Mac,
    },
    /// To 255.255.255.255.
    Broadcast,
}

/// Composes the reply to `packet`.
pub fn compose(packet: &Packet, network: &Network, answer: &Answer<'_>) -> Reply {
    let server = network.router;
    let (kind, address, boot) = match *answer {
        Answer::Offer(address, boot) => (MessageType::Offer, Some(address), boot),
        Answer::Ack(address, boot) => (MessageType::Ack, Some(address), boot),
        Answer::Inform => (MessageType::Ack, None, None),
        Answer::Nak => (MessageType::Nak, None, None),
    };
    let mut options = Options::default();
    options.add(OptionCode::MessageType, [u8::from(kind)]);
    options.add(OptionCode::ServerIdentifier, server.octets());
    if kind != MessageType::Nak {
        options.network(network, address.is_some());
    }
    options.echo(OptionCode::ClientIdentifier, packet.client_id.as_deref());
    if let Some(boot) = boot {
        options.boot(packet, server, &boot);
    }
    options.echo(OptionCode::RelayAgentInformation, packet.relay_info.as_deref());
    let mut bytes = header(packet, answer, boot.map(|boot| (server, boot.file)));
    options.finish(&mut bytes, longest(packet.max_size));
    Reply { bytes, route: route(packet, network, answer) }
}

/// RFC 2131 §4.1. The address that a client claims is believed only inside our network.
fn route(packet: &Packet, network: &Network, answer: &Answer<'_>) -> Route {
    if !packet.giaddr.is_unspecified() {
        return Route::Relay(SocketAddrV4::new(packet.giaddr, super::SERVER_PORT));
    }
    match *answer {
        Answer::Nak => Route::Broadcast,
        _ if network.subnet.contains(&packet.ciaddr) => Route::Configured(packet.ciaddr),
        _ if Flags::from(packet.flags).broadcast() => Route::Broadcast,
        Answer::Offer(address, _) | Answer::Ack(address, _) => Route::Unicast { address, mac: packet.mac },
        Answer::Inform => Route::Broadcast,
    }
}

/// The fixed fields and the magic cookie. `boot`: next server and boot file.
fn header(packet: &Packet, answer: &Answer<'_>, boot: Option<(Ipv4Addr, &str)>) -> Vec<u8> {
    // Table 3 of RFC 2131: an ACK repeats `ciaddr`, OFFER and NAK do not.
    let (ciaddr, yiaddr) = match *answer {
        Answer::Offer(address, _) => (Ipv4Addr::UNSPECIFIED, address),
        Answer::Ack(address, _) => (packet.ciaddr, address),
        Answer::Inform => (packet.ciaddr, Ipv4Addr::UNSPECIFIED),
        Answer::Nak => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
    };
    let siaddr = boot.map_or(Ipv4Addr::UNSPECIFIED, |(server, _)| server);
    let mut flags = Flags::from(packet.flags);
    if *answer == Answer::Nak && !packet.giaddr.is_unspecified() {
        // RFC 2131 §4.3.2: the client's address is wrong, so the relay cannot unicast.
        flags = flags.set_broadcast();
    }
    let mut message = Message::new_with_id(packet.xid, ciaddr, yiaddr, siaddr, packet.giaddr, &packet.mac.0);
    message.set_opcode(Opcode::BootReply).set_flags(flags);
    // shim and U-Boot read only this field, edk2 prefers option 67: both are set. A longer name has option 67 alone.
    if let Some((_, file)) = boot.filter(|(_, file)| file.len() < FILE_FIELD) {
        message.set_fname(file.as_bytes());
    }
    message.to_vec().expect("fields of fixed size are written to memory")
}

/// Length of the `file` field, its final NUL included.
const FILE_FIELD: usize = 128;

/// The longest message for a client with this option 57, in bytes of UDP payload.
///
/// RFC 2132 §9.10 does not say whether option 57 counts the headers of IP and UDP (28 bytes); we assume that it does, as
/// the default of 576 certainly does (RFC 2131 §2). QUIRK: edk2 says 1472 in a DISCOVER and 65280 in a REQUEST, and takes
/// 1472.
fn longest(max_size: Option<u16>) -> usize {
    usize::from(max_size.unwrap_or(576).clamp(576, 1472)) - 28
}

/// Options in the order in which they are sent.
///
/// Our own, because dhcproto's encoder sorts by code: firmware is used to 53 and 54 coming first, 1 must come before 3
/// (RFC 2132 §3.3), and what follows 67 matters, see [`Options::finish`]. The fixed fields are dhcproto's.
#[derive(Default)]
struct Options(Vec<(OptionCode, Vec<u8>)>);

impl Options {
    fn add(&mut self, code: OptionCode, value: impl Into<Vec<u8>>) {
        self.0.push((code, value.into()));
    }

    fn echo(&mut self, code: OptionCode, value: Option<&[u8]>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.add(code, value);
        }
    }

    fn network(&mut self, network: &Network, leased: bool) {
        if leased {
            self.add(OptionCode::AddressLeaseTime, (LEASE.as_secs() as u32).to_be_bytes());
        }
        self.add(OptionCode::SubnetMask, network.subnet.netmask().octets());
        self.add(OptionCode::Router, network.router.octets());
        let dns: Vec<u8> = network.dns.iter().flat_map(|server| server.octets()).collect();
        self.echo(OptionCode::DomainNameServer, Some(&dns));
    }

    fn boot(&mut self, packet: &Packet, server: Ipv4Addr, boot: &Boot<'_>) {
        if let Some(class) = firmware_class(&packet.vendor_class) {
            self.add(OptionCode::ClassIdentifier, class);
            if class == "PXEClient" {
                // Without "take the boot file, no discovery" edk2 asks a boot server on port 4011 (PxeBcBoot.c).
                self.add(OptionCode::VendorExtensions, [6, 1, 8, 255]);
            }
        }
        // Type 0 and a UUID (RFC 4578 §2.3). Some firmware sends none (pixiecore#21).
        self.echo(OptionCode::ClientMachineIdentifier, packet.machine_id.as_deref().filter(|id| id.len() == 17));
        if boot.stage == Stage::Ipxe {
            // Encapsulated option 176, "no proxyDHCP": saves iPXE a wait of two seconds.
            self.add(IPXE, [176, 1, 1]);
        }
        self.add(OptionCode::TFTPServerName, server.to_string());
        self.add(OptionCode::BootfileName, boot.file);
    }

    /// Writes the options, the end mark and the padding behind the header in `message`.
    fn finish(mut self, message: &mut Vec<u8>, longest: usize) {
        // What is sacrificed first to a client's limit, least needed first: 66 repeats 54; RFC 3046 §2.2 has a relay
        // take a reply without 82; firmware resolves no names.
        for code in [
            OptionCode::TFTPServerName,
            OptionCode::ClientIdentifier,
            OptionCode::RelayAgentInformation,
            OptionCode::DomainNameServer,
        ] {
            if message.len() + self.size() <= longest {
                break;
            }
            self.0.retain(|(kept, _)| *kept != code);
        }
        for (code, value) in &self.0 {
            // RFC 3396: a value longer than 255 bytes continues in a further option of the same code.
            for piece in value.chunks(255) {
                message.extend([u8::from(*code), piece.len() as u8]);
                message.extend(piece);
            }
            if *code == OptionCode::BootfileName {
                // QUIRK: edk2 writes a NUL one byte past option 67 (PxeBcDhcp4.c). It may have this one.
                message.push(u8::from(OptionCode::Pad));
            }
        }
        message.push(u8::from(OptionCode::End));
        // Relays drop shorter messages (opnsense#7744); RFC 1542 §2.1 has the number.
        message.resize(message.len().max(300), u8::from(OptionCode::Pad));
    }

    /// Bytes on the wire, the pad after option 67 and the end mark included.
    fn size(&self) -> usize {
        2 + self.0.iter().map(|(_, value)| value.len() + 2 * value.len().div_ceil(255)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::dissect;
