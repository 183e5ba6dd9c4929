use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::Context as _;
use dhcproto::{
    Encodable,
    v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, borrowed},
};

use super::{CLIENT_PORT, SERVER_PORT, socket};
use crate::{model::Mac, net::Place};

/// Asks whether a DHCP server answers on this link already, by one DISCOVER from `mac`; waits so long for an offer.
///
/// The link must have a carrier. None: nobody answered, or we cannot know because a DHCP client of this machine has the
/// port. Errors: no permission, no such interface, the message could not be sent.
pub async fn other_server(
    place: &Place,
    interface: &str,
    mac: Mac,
    wait: Duration,
) -> anyhow::Result<Option<Ipv4Addr>> {
    let socket = match socket::bind(place, interface, CLIENT_PORT) {
        Ok(socket) => tokio::net::UdpSocket::from_std(socket).context("registering the DHCP client socket")?,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            tracing::debug!(interface, "a DHCP client has port {CLIENT_PORT}: not looking for another DHCP server");
            return Ok(None);
        }
        Err(error) => return Err(socket::explain(error, place, interface, CLIENT_PORT)),
    };
    let xid = RandomState::new().hash_one(mac) as u32;
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
    socket
        .send_to(&discover(mac, xid), to)
        .await
        .with_context(|| format!("asking on {interface} for another DHCP server"))?;
    let mut buffer = [0; 2048];
    let offer = async {
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(server) = offered_by(&buffer[..length], xid) {
                return Ok(server);
            }
        }
    };
    match tokio::time::timeout(wait, offer).await {
        Ok(answer) => {
            answer.map(Some).map_err(|error: io::Error| anyhow::Error::new(error).context("waiting for a DHCP offer"))
        }
        Err(_) => Ok(None),
    }
}

/// A DISCOVER that asks for a broadcast reply, because the interface may have no address.
fn discover(mac: Mac, xid: u32) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, nobody, nobody, nobody, nobody, &mac.0);
    message.set_opcode(Opcode::BootRequest).set_flags(Flags::default().set_broadcast());
    message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
    let mut bytes = message.to_vec().expect("a message of a few fields is written to memory");
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// The server identifier of an offer that answers our DISCOVER.
fn offered_by(bytes: &[u8], xid: u32) -> Option<Ipv4Addr> {
    let message = borrowed::Message::new(bytes).ok()?;
    if message.opcode() != Opcode::BootReply || message.xid() != xid {
        return None;
    }
    let value = |code| message.opts().find(|option| option.code() == code).map(|option| option.data().to_vec());
    if value(OptionCode::MessageType)? != [u8::from(MessageType::Offer)] {
        return None;
    }
    let server: [u8; 4] = value(OptionCode::ServerIdentifier)?.try_into().ok()?;
    Some(server.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::packet;

    #[test]
    fn the_discover_is_one_that_a_server_understands() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let bytes = discover(mac, 7);
        let packet = packet::decode(&bytes).expect("a client's message");
        assert_eq!((packet.mac, packet.xid, packet.kind), (mac, 7, Some(MessageType::Discover)));
        assert_eq!((packet.flags, bytes.len()), (0x8000, 300));
        assert_eq!(offered_by(&bytes, 7), None, "our own message is no offer");
    }
}
