use std::fmt::Write as _;

use super::*;
use crate::dhcp::{
    packet::decode,
    sample::{self, DISCOVER, REQUEST, SERVER, Sample},
};

const A: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 100);

/// A reply as text, byte for byte: pads, order and repetition of options included. Written without our encoder and without
/// dhcproto.
pub(in crate::dhcp) fn dissect(reply: &Reply) -> String {
    let bytes = &reply.bytes;
    let address = |at: usize| Ipv4Addr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let string = |from: usize, to: usize| show(bytes[from..to].split(|byte| *byte == 0).next().unwrap_or_default());
    let mut text = format!(
        "route {:?}\nlength {}\nop {} htype {} hlen {} hops {} xid {} secs {} flags {}\n",
        reply.route,
        bytes.len(),
        bytes[0],
        bytes[1],
        bytes[2],
        bytes[3],
        hex(&bytes[4..8]),
        hex(&bytes[8..10]),
        hex(&bytes[10..12])
    );
    let mut line = |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").expect("a string takes all");
    line(format_args!("ciaddr {} yiaddr {} siaddr {} giaddr {}", address(12), address(16), address(20), address(24)));
    line(format_args!("chaddr {}", hex(&bytes[28..44])));
    line(format_args!("sname {} file {} cookie {}", string(44, 108), string(108, 236), hex(&bytes[236..240])));
    let mut rest = &bytes[240..];
    while let [code, tail @ ..] = rest {
        rest = match (code, tail) {
            (0, _) => {
                line(format_args!("0 pad"));
                tail
            }
            (255, _) => {
                assert!(tail.iter().all(|byte| *byte == 0), "only padding follows the end");
                line(format_args!("255 end, {} bytes of padding", tail.len()));
                return text;
            }
            (_, [length, tail @ ..]) => {
                let (value, tail) = tail.split_at(usize::from(*length));
                let value = if matches!(code, 60 | 66 | 67) { show(value) } else { hex(value) };
                line(format_args!("{code} {value}"));
                tail
            }
            (_, []) => panic!("option {code} without a length"),
        };
    }
    panic!("no end of options in {text}")
}

fn show(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reply(sample: &Sample, answer: Answer<'_>) -> Reply {
    compose(&decode(&sample.bytes()).expect("a client's message"), &sample::network(), &answer)
}

#[test]
fn where_replies_go() {
    let new = || Sample::new(DISCOVER);
    let relay = Ipv4Addr::new(192, 168, 42, 254);
    let foreign = Ipv4Addr::new(10, 9, 8, 7);
    let to_relay = Route::Relay(SocketAddrV4::new(relay, 67));
    let unicast = Route::Unicast { address: A, mac: sample::MAC };
    let (offer, ack) = (Answer::Offer(A, None), Answer::Ack(A, None));
    let cases = [
        (new(), offer, unicast),
        (new().broadcast(), offer, Route::Broadcast),
        (new().giaddr(relay).broadcast(), offer, to_relay),
        (new().giaddr(relay), Answer::Nak, to_relay),
        (new(), ack, unicast),
        (new().ciaddr(A), ack, Route::Configured(A)),
        (new().ciaddr(A).broadcast(), ack, Route::Configured(A)),
        (new().ciaddr(A), Answer::Inform, Route::Configured(A)),
        (new().ciaddr(A), Answer::Nak, Route::Broadcast),
        (new(), Answer::Nak, Route::Broadcast),
        // SECURITY: nobody makes us send into other networks.
        (new().ciaddr(foreign), offer, unicast),
    ];
    for (sample, answer, route) in cases {
        assert_eq!(reply(&sample, answer).route, route, "{answer:?} to {:?}", decode(&sample.bytes()));
    }
}

#[test]
fn a_relay_learns_that_a_nak_must_be_broadcast() {
    let through_relay = Sample::new(REQUEST).giaddr(Ipv4Addr::new(192, 168, 42, 254));
    assert_eq!(reply(&through_relay, Answer::Nak).bytes[10], 0x80);
    assert_eq!(reply(&Sample::new(REQUEST), Answer::Nak).bytes[10], 0);
}

#[test]
fn what_follows_the_boot_file_may_be_lost() {
    let boot = Some(Boot { stage: Stage::Rom, file: "loader/shimx64.efi" });
    for sample in [sample::ovmf_pxe(DISCOVER), sample::relayed(DISCOVER)] {
        let bytes = reply(&sample, Answer::Offer(A, boot)).bytes;
        let at = bytes[240..].windows(2).position(|pair| pair == [67, 18]).expect("option 67") + 240;
        assert_eq!(&bytes[at + 2..at + 20], b"loader/shimx64.efi");
        assert_eq!(bytes[at + 20], 0, "edk2 writes its NUL here");
    }
}

#[test]
fn a_long_boot_file_has_option_67_alone() {
    for (length, in_header) in [(127, true), (128, false), (255, false), (300, false)] {
        let file = "x".repeat(length);
        let boot = Some(Boot { stage: Stage::Rom, file: &file });
        let bytes = reply(&sample::ovmf_http(DISCOVER), Answer::Offer(A, boot)).bytes;
        assert_eq!(bytes[108] == b'x', in_header, "{length}");
        assert_eq!(bytes[235], 0, "a NUL ends the field");
        let text = dissect(&Reply { bytes, route: Route::Broadcast });
        let pieces: Vec<_> = text.lines().filter(|line| line.starts_with("67 ")).map(|line| line.len() - 5).collect();
        assert_eq!(pieces.iter().sum::<usize>(), length, "{pieces:?}");
    }
}

#[test]
fn a_clients_limit_is_kept_by_leaving_out_what_it_needs_least() {
    let file = "x".repeat(150);
    let boot = Some(Boot { stage: Stage::Rom, file: &file });
    // No option 57: 576 bytes with the headers of IP and UDP.
    let client = Sample::new(DISCOVER)
        .option(60, b"PXEClient")
        .option(97, &sample::machine_id())
        .option(61, &[1, 2, 3, 4, 5, 6, 7])
        .option(82, &[9; 75]);
    let kept = |sample: &Sample| {
        let reply = reply(sample, Answer::Offer(A, boot));
        let text = dissect(&reply);
        let has = |code: u8| text.lines().any(|line| line.starts_with(&format!("{code} ")));
        (reply.bytes.len(), [66, 61, 82, 6, 67, 54].map(has))
    };
    assert_eq!(kept(&client), (544, [false, false, true, true, true, true]));
    assert_eq!(kept(&client.clone().option(82, &[9; 10])), (467, [false, false, false, true, true, true]));
    assert_eq!(kept(&client.clone().option(57, &[0, 100])).0, 544, "a limit below 576 is none (RFC 2132 §9.10)");
    assert_eq!(kept(&client.option(57, &1472_u16.to_be_bytes())), (567, [true; 6]));
}

#[test]
fn machine_ids_of_another_length_are_not_repeated() {
    let boot = Some(Boot { stage: Stage::Rom, file: "x" });
    let offer = |id: &[u8]| dissect(&reply(&Sample::new(DISCOVER).option(97, id), Answer::Offer(A, boot)));
    assert!(offer(&sample::machine_id()).contains("\n97 "));
    assert!(!offer(&[0; 16]).contains("\n97 "));
    assert_eq!(SERVER, sample::network().router);
}
