use proptest::prelude::*;

use super::*;
use crate::dhcp::sample::{self, DECLINE, DISCOVER, RELEASE, REQUEST, SERVER, Sample};

const RIVAL: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);
const A: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 7);
/// Not that of the samples.
const OWN: Own = Own { xid: 7, address: SERVER };

const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A server's message to clients.
fn reply(kind: u8) -> Sample {
    Sample::new(kind).set(0, &[2])
}

/// A frame between these ports, as a server at the rival's address sends it.
fn frame(sample: &Sample, [from, to]: [u16; 2]) -> Vec<u8> {
    let mut frame = enclose(&sample.bytes(), sample::MAC);
    frame[26..30].copy_from_slice(&RIVAL.octets());
    frame[34..36].copy_from_slice(&from.to_be_bytes());
    frame[36..38].copy_from_slice(&to.to_be_bytes());
    frame
}

fn from_server(sample: &Sample) -> Option<Heard> {
    heard(&frame(sample, [67, 68]), OWN)
}

fn from_client(sample: &Sample) -> Option<Heard> {
    heard(&frame(sample, [68, 67]), OWN)
}

#[test]
fn the_discover_is_one_that_a_server_understands() {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let frame = discover(mac, 7);
    assert_eq!(frame[..14], [&[0xff; 6][..], &mac.0, &[8, 0]].concat());
    // Against RFC 1071: the sum of all halves of a right header is all ones.
    let sum: u32 = frame[14..34].chunks(2).map(|half| u32::from(half[0]) << 8 | u32::from(half[1])).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    let Datagram { from, port, message } = datagram(&frame).expect("a datagram");
    assert_eq!((from, port, message.len()), (Ipv4Addr::UNSPECIFIED, 67, 300));
    assert_eq!(frame[30..34], [255; 4]);
    let packet = packet::decode(message).expect("a client's message");
    assert_eq!((packet.mac, packet.xid, packet.kind, packet.flags), (mac, 7, Some(MessageType::Discover), 0x8000));
    assert_eq!(heard(&frame, OWN), Some(Heard::Client), "no offer");
}

#[test]
fn who_answers_clients_is_another_server() {
    let rival = Some(Heard::Server(RIVAL));
    for kind in [OFFER, ACK, NAK] {
        assert_eq!(from_server(&reply(kind).server(RIVAL)), rival, "{kind}");
        assert_eq!(from_server(&reply(kind).server(SERVER)), None, "our own, which a relay repeats");
        let to_us = reply(kind).set(4, &OWN.xid.to_be_bytes());
        assert_eq!(from_server(&to_us.server(SERVER)), Some(Heard::Server(SERVER)), "another one at our address");
        assert_eq!(from_server(&reply(kind)), rival, "one that does not say who it is");
        assert_eq!(from_server(&reply(kind).option(54, &[1, 2, 3])), rival, "nor this");
    }
    assert_eq!(from_server(&reply(DISCOVER).server(RIVAL)), None, "no message of a server");
    assert_eq!(from_server(&Sample::new(OFFER).server(RIVAL)), None, "no reply");
    assert_eq!(heard(&frame(&reply(OFFER).server(RIVAL), [67, 69]), OWN), None, "another port");
}

#[test]
fn who_takes_another_servers_offer_shows_it() {
    let selects = |server| Sample::new(REQUEST).server(server).wants(A);
    let (client, rival) = (Some(Heard::Client), Some(Heard::Server(RIVAL)));
    assert_eq!(from_client(&selects(RIVAL)), rival);
    assert_eq!(from_client(&selects(SERVER)), client);
    assert_eq!(from_client(&Sample::new(REQUEST).wants(A)), client, "before it hears anybody");
    assert_eq!(from_client(&Sample::new(REQUEST).server(RIVAL).ciaddr(A)), client, "it renews what it had elsewhere");
    assert_eq!(from_client(&Sample::new(RELEASE).server(RIVAL).ciaddr(A)), client);
    assert_eq!(from_client(&Sample::new(DECLINE).server(RIVAL).wants(A)), client);
    assert_eq!(from_client(&sample::ovmf_pxe(DISCOVER)), client);
    assert_eq!(from_client(&reply(OFFER)), None, "to a relay");
}

#[test]
fn what_is_no_whole_datagram_says_nothing() {
    let sound = frame(&reply(OFFER).server(RIVAL), [67, 68]);
    for (at, bytes) in
        [(12, [9, 0]), (14, [0x65, 0]), (14, [0x44, 0]), (14, [0x4f, 0]), (20, [0, 1]), (22, [64, 6]), (38, [0, 7])]
    {
        let mut frame = sound.clone();
        frame[at..at + 2].copy_from_slice(&bytes);
        assert_eq!(heard(&frame, OWN), None, "{bytes:?} at {at}");
    }
    let cut = &sound[..sound.len() - 1];
    assert_eq!(heard(cut, OWN), Some(Heard::Server(RIVAL)), "it was too long for us, but says enough");
    for length in 0..sound.len() {
        let _ = heard(&sound[..length], OWN);
    }
}

proptest! {
    #[test]
    fn any_bytes_say_something_or_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..700),
        to_client in any::<bool>(),
        options in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = heard(&bytes, OWN);
        let mut frame = frame(&reply(OFFER), if to_client { [67, 68] } else { [68, 67] });
        frame.pop();
        frame.extend(options);
        let _ = heard(&frame, OWN);
    }
}
