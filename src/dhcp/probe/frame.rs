//! Ethernet frames with DHCP messages in them.

use std::net::Ipv4Addr;

use dhcproto::{
    Encodable,
    v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, borrowed},
};
use nix::libc;
use socket2::SockFilter;

use super::super::{
    CLIENT_PORT, SERVER_PORT,
    packet::{self, Packet},
};
use crate::model::Mac;

/// What somebody on the link said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A client speaks: the link carries what machines say.
    Client,
    /// Another DHCP server is on this link: it answered, or a client chose it.
    Server(Ipv4Addr),
}

impl Heard {
    /// The other server, if that is what was heard.
    pub fn server(self) -> Option<Ipv4Addr> {
        match self {
            Self::Server(server) => Some(server),
            Self::Client => None,
        }
    }
}

/// What is our own of all that is heard.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Of our DISCOVERs.
    pub xid: u32,
    /// The server identifier of this host's own server.
    pub address: Ipv4Addr,
}

/// Lengths of the headers, without options.
const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;
/// The ethernet type.
const IPV4: [u8; 2] = [8, 0];
/// The protocol of what is in an IPv4 packet: UDP.
const PROTOCOL: u8 = libc::IPPROTO_UDP as u8;
/// The bits of the fragment's offset (RFC 791 §3.1).
const LATER_FRAGMENT: u16 = 0x1fff;

/// Of all IPv4 frames the kernel passes on those to the ports of DHCP only, so that listening costs nothing while machines
/// install. Classic BPF on offsets of the ethernet frame; no later fragment, which has no ports.
pub const FILTER: [SockFilter; 10] = {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_HALF_AFTER: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_IND) as u16;
    const MEASURE_HEADER: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, ETHERNET as u32 + 9),
        SockFilter::new(IF_EQUAL, 0, 7, PROTOCOL as u32),
        SockFilter::new(LOAD_HALF, 0, 0, ETHERNET as u32 + 6),
        SockFilter::new(IF_BITS, 5, 0, LATER_FRAGMENT as u32),
        SockFilter::new(MEASURE_HEADER, 0, 0, ETHERNET as u32),
        SockFilter::new(LOAD_HALF_AFTER, 0, 0, ETHERNET as u32 + 2),
        SockFilter::new(IF_EQUAL, 1, 0, SERVER_PORT as u32),
        SockFilter::new(IF_EQUAL, 0, 1, CLIENT_PORT as u32),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

/// A DISCOVER to everybody. It asks for a broadcast reply, because the interface may have no address.
pub fn discover(mac: Mac, xid: u32) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, nobody, nobody, nobody, nobody, &mac.0);
    message.set_opcode(Opcode::BootRequest).set_flags(Flags::default().set_broadcast());
    message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
    let mut bytes = message.to_vec().expect("a message of a few fields is written to memory");
    bytes.resize(bytes.len().max(300), 0);
    enclose(&bytes, mac)
}

/// From 0.0.0.0 port 68 to 255.255.255.255 port 67 (RFC 2131 §4.1). Without a UDP checksum, as RFC 768 allows.
fn enclose(message: &[u8], mac: Mac) -> Vec<u8> {
    let udp = (UDP + message.len()) as u16;
    let mut header = [0; IP];
    // Version 4, five words of header; do not fragment; 64 hops.
    (header[0], header[6], header[8], header[9]) = (0x45, 0x40, 64, PROTOCOL);
    header[2..4].copy_from_slice(&(IP as u16 + udp).to_be_bytes());
    header[16..].copy_from_slice(&Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::with_capacity(ETHERNET + IP + usize::from(udp));
    frame.extend([0xff; 6]);
    frame.extend(mac.0);
    frame.extend(IPV4);
    frame.extend(header);
    for half in [CLIENT_PORT, SERVER_PORT, udp, 0] {
        frame.extend(half.to_be_bytes());
    }
    frame.extend(message);
    frame
}

/// RFC 1071, of a header whose own field is zero.
fn checksum(header: &[u8; IP]) -> u16 {
    let sum: u32 = header.chunks(2).map(|half| u32::from(half[0]) << 8 | u32::from(half[1])).sum();
    // Ten halves: one carry may remain after the first fold, none after the second.
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// What a frame says. Total: any bytes give something or nothing.
pub fn heard(frame: &[u8], own: Own) -> Option<Heard> {
    let Datagram { from, port, message } = datagram(frame)?;
    match port {
        SERVER_PORT => packet::decode(message).ok().map(|packet| chosen(&packet, own)),
        CLIENT_PORT => answering(message, from, own).map(Heard::Server),
        _ => None,
    }
}

/// A REQUEST in state SELECTING names the server whose offer, made on this link seconds ago, it takes (RFC 2131 §4.3.2).
/// What else names a server may speak of a network that the machine was on before.
fn chosen(packet: &Packet, own: Own) -> Heard {
    let selects = packet.kind == Some(MessageType::Request) && packet.ciaddr.is_unspecified();
    match packet.server {
        Some(server) if selects && server != own.address => Heard::Server(server),
        _ => Heard::Client,
    }
}

/// The server that speaks to a client, unless that is this host's own, whose words a relay may repeat. What answers our
/// DISCOVER is never our own, whatever it calls itself: another provisioner has the same address as this one.
fn answering(message: &[u8], from: Ipv4Addr, own: Own) -> Option<Ipv4Addr> {
    let reply = borrowed::Message::new(message).ok()?;
    if reply.opcode() != Opcode::BootReply {
        return None;
    }
    let value = |code| reply.opts().find(|option| option.code() == code).map(|option| option.data().to_vec());
    let kind = MessageType::from(*value(OptionCode::MessageType)?.first()?);
    if !matches!(kind, MessageType::Offer | MessageType::Ack | MessageType::Nak) {
        return None;
    }
    let named = value(OptionCode::ServerIdentifier).and_then(|value| <[u8; 4]>::try_from(value).ok());
    let server = named.map_or(from, Ipv4Addr::from);
    (server != own.address || reply.xid() == own.xid).then_some(server)
}

struct Datagram<'a> {
    from: Ipv4Addr,
    /// Its destination.
    port: u16,
    message: &'a [u8],
}

/// The UDP datagram in an ethernet frame. Checksums were the card's and are the kernel's matter.
fn datagram(frame: &[u8]) -> Option<Datagram<'_>> {
    let packet = frame.split_at_checked(ETHERNET).filter(|(ethernet, _)| ethernet.ends_with(&IPV4))?.1;
    let &[version_and_words, ..] = packet else { return None };
    let (header, udp) = packet.split_at_checked(usize::from(version_and_words & 0xf) * 4)?;
    let &[0x40..=0x4f, _, _, _, _, _, flags, offset, _, PROTOCOL, _, _, a, b, c, d, _, _, _, _, ..] = header else {
        return None;
    };
    let (&[_, _, high, low, long, short, _, _], rest) = udp.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([long, short])).checked_sub(UDP)?;
    (u16::from_be_bytes([flags, offset]) & LATER_FRAGMENT == 0).then_some(Datagram {
        from: Ipv4Addr::new(a, b, c, d),
        port: u16::from_be_bytes([high, low]),
        // A short frame is filled up; a long message may have been cut.
        message: rest.get(..length).unwrap_or(rest),
    })
}

#[cfg(test)]
mod tests;
