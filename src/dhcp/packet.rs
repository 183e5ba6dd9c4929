//! A client's message, read without trust.

use std::{collections::HashMap, net::Ipv4Addr};

use dhcproto::v4::{HType, MAGIC, MessageType, Opcode, OptionCode, borrowed};

use crate::model::Mac;

/// A client's DHCPv4 message (RFC 2131 §2), with the options that this server reads.
///
/// An option of the wrong length counts as absent: a bad value never hides another option, and never the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The client's network card (`chaddr`).
    pub mac: Mac,
    /// Transaction id, repeated in the reply.
    pub xid: u32,
    /// Flags as sent. A relay reads them in our reply.
    pub flags: u16,
    /// The address that the client already uses, or 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay that forwarded the message, or 0.0.0.0.
    pub giaddr: Ipv4Addr,
    /// Option 53. None: plain BOOTP.
    pub kind: Option<MessageType>,
    /// Option 50: the address the client would like.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server the client talks to.
    pub server: Option<Ipv4Addr>,
    /// Option 12, when it is text that a host name may be.
    pub hostname: Option<String>,
    /// Option 57 (RFC 2132 §9.10): the longest message that the client takes, in bytes.
    pub max_size: Option<u16>,
    /// Option 60: `PXEClient:…`, `HTTPClient:…`, `d-i`, …; empty when absent.
    pub vendor_class: Vec<u8>,
    /// Option 61, repeated in the reply (RFC 6842).
    pub client_id: Option<Vec<u8>>,
    /// Option 77 as sent; empty when absent.
    pub user_class: Vec<u8>,
    /// Option 82 (RFC 3046), repeated verbatim in the reply.
    pub relay_info: Option<Vec<u8>>,
    /// Option 93 (RFC 4578 §2.1), a list: the client's first choice comes first.
    pub architectures: Vec<u16>,
    /// Option 97 (RFC 4578 §2.3) as sent, repeated in the reply.
    pub machine_id: Option<Vec<u8>>,
    /// Option 175 is there: only iPXE sends it.
    pub ipxe_options: bool,
}

/// Why bytes are not a client's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the fixed fields and the cookie.
    #[error("it has {0} bytes; a DHCP message has at least 240")]
    Short(usize),
    /// `op` is not BOOTREQUEST: another server's reply.
    #[error("it is not a request")]
    NotARequest,
    /// `htype`, `hlen` or the address itself.
    #[error("it does not come from an ethernet card")]
    NotEthernet,
    /// The four bytes before the options (RFC 2131 §3) are others.
    #[error("it lacks the DHCP magic cookie")]
    Cookie,
}

/// Reads a client's message. Total: any bytes give a packet or a reason.
pub fn decode(bytes: &[u8]) -> Result<Packet, Malformed> {
    let message = borrowed::Message::new(bytes).map_err(|_| Malformed::Short(bytes.len()))?;
    if message.opcode() != Opcode::BootRequest {
        return Err(Malformed::NotARequest);
    }
    // The length is checked before `chaddr()`, which trusts it and panics on one beyond the packet.
    if message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(Malformed::NotEthernet);
    }
    let mac = message.chaddr().try_into().map(Mac).map_err(|_| Malformed::NotEthernet)?;
    // SECURITY: a group address would make every reply, and our neighbour entry for it, a multicast.
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        return Err(Malformed::NotEthernet);
    }
    if bytes[236..240] != MAGIC {
        return Err(Malformed::Cookie);
    }
    let options = Options::of(bytes, &message);
    Ok(Packet {
        mac,
        xid: message.xid(),
        flags: message.flags().into(),
        ciaddr: message.ciaddr(),
        giaddr: message.giaddr(),
        kind: options.byte(OptionCode::MessageType).map(MessageType::from),
        requested: options.address(OptionCode::RequestedIpAddress),
        server: options.address(OptionCode::ServerIdentifier),
        hostname: options.get(OptionCode::Hostname).and_then(host_name),
        max_size: options.array(OptionCode::MaxMessageSize).map(u16::from_be_bytes),
        vendor_class: options.bytes(OptionCode::ClassIdentifier).unwrap_or_default(),
        client_id: options.bytes(OptionCode::ClientIdentifier),
        user_class: options.bytes(OptionCode::UserClass).unwrap_or_default(),
        relay_info: options.bytes(OptionCode::RelayAgentInformation),
        architectures: options.get(OptionCode::ClientSystemArchitecture).map(pairs).unwrap_or_default(),
        machine_id: options.bytes(OptionCode::ClientMachineIdentifier),
        ipxe_options: options.get(IPXE).is_some(),
    })
}

/// Etherboot's option, in which iPXE encapsulates its own.
pub(super) const IPXE: OptionCode = OptionCode::Unknown(175);

/// Every option of a message, its pieces joined.
struct Options(HashMap<u8, Vec<u8>>);

impl Options {
    /// Follows option 52 into `file` and `sname`, in the order of RFC 3396 §5, which also asks that the pieces of an
    /// option are joined wherever they stand.
    fn of(bytes: &[u8], message: &borrowed::Message<'_>) -> Self {
        let mut options = Self(HashMap::new());
        options.add(message.opts());
        let overload = options.byte(OptionCode::OptionOverload).unwrap_or(0);
        if overload & 1 == 1 {
            options.add(borrowed::DhcpOptionIterator::new(&bytes[108..236]));
        }
        if overload & 2 == 2 {
            options.add(borrowed::DhcpOptionIterator::new(&bytes[44..108]));
        }
        options
    }

    fn add(&mut self, more: borrowed::DhcpOptionIterator<'_>) {
        for option in more {
            self.0.entry(option.code().into()).or_default().extend_from_slice(option.data());
        }
    }

    fn get(&self, code: OptionCode) -> Option<&[u8]> {
        self.0.get(&code.into()).map(Vec::as_slice)
    }

    fn bytes(&self, code: OptionCode) -> Option<Vec<u8>> {
        self.get(code).map(<[u8]>::to_vec)
    }

    fn array<const N: usize>(&self, code: OptionCode) -> Option<[u8; N]> {
        self.get(code)?.try_into().ok()
    }

    fn byte(&self, code: OptionCode) -> Option<u8> {
        self.array(code).map(|[byte]| byte)
    }

    fn address(&self, code: OptionCode) -> Option<Ipv4Addr> {
        self.array::<4>(code).map(Ipv4Addr::from)
    }
}

fn pairs(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// SECURITY: the name is printed on a terminal, so nothing but the characters of host names passes.
fn host_name(bytes: &[u8]) -> Option<String> {
    // Some clients send a NUL-terminated string (RFC 2132 §2 warns of it).
    let name = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte));
    (plain && !name.is_empty() && name.len() <= 253).then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests;
