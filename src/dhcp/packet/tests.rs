use proptest::prelude::*;

use super::*;
use crate::dhcp::sample::{self, DISCOVER, REQUEST, Sample};

#[test]
fn reads_what_firmware_sends() {
    let packet = decode(&sample::ovmf_pxe(DISCOVER).bytes()).expect("a client's message");
    assert_eq!(packet.mac, sample::MAC);
    assert_eq!((packet.xid, packet.flags), (0xdead_beef, 0x8000));
    assert_eq!(packet.kind, Some(MessageType::Discover));
    assert_eq!(packet.max_size, Some(1472));
    assert_eq!(packet.architectures, [7]);
    assert_eq!(packet.machine_id.as_deref(), Some(&sample::machine_id()[..]));
    assert_eq!(packet.vendor_class, b"PXEClient:Arch:00007:UNDI:003000");
    assert!(!packet.ipxe_options);
    assert!(decode(&sample::ipxe(DISCOVER).bytes()).is_ok_and(|packet| packet.ipxe_options));
}

#[test]
fn refuses_what_is_no_clients_message() {
    let good = Sample::new(DISCOVER);
    let cases: [(&str, Vec<u8>, Malformed); 8] = [
        ("nothing", vec![], Malformed::Short(0)),
        ("cut in the cookie", good.bytes()[..239].to_vec(), Malformed::Short(239)),
        ("a reply", good.clone().set(0, &[2]).bytes(), Malformed::NotARequest),
        ("infiniband", good.clone().set(1, &[32]).bytes(), Malformed::NotEthernet),
        ("an address beyond the packet", good.clone().set(2, &[255]).bytes(), Malformed::NotEthernet),
        ("a group address", good.clone().set(28, &[1]).bytes(), Malformed::NotEthernet),
        ("no address", good.clone().set(28, &[0; 6]).bytes(), Malformed::NotEthernet),
        ("BOOTP vendor data", good.set(236, &[0]).bytes(), Malformed::Cookie),
    ];
    for (what, bytes, why) in cases {
        assert_eq!(decode(&bytes), Err(why), "{what}");
    }
}

#[test]
fn a_bad_option_hides_no_other() {
    // A host name that is not UTF-8, and an address of three bytes, before the option that matters.
    let bytes = Sample::new(REQUEST).option(12, &[0xff, 0xfe]).option(50, &[1, 2, 3]).option(60, b"d-i").bytes();
    let packet = decode(&bytes).expect("a client's message");
    assert_eq!((packet.hostname, packet.requested), (None, None));
    assert_eq!(packet.vendor_class, b"d-i");
}

#[test]
fn an_option_cut_off_by_the_end_is_left_out() {
    let mut bytes = Sample::new(DISCOVER).bytes();
    bytes.pop();
    bytes.extend([60, 9, b'P']);
    let packet = decode(&bytes).expect("a client's message");
    assert_eq!((packet.kind, packet.vendor_class), (Some(MessageType::Discover), vec![]));
}

#[test]
fn pieces_of_an_option_are_joined_wherever_they_stand() {
    let bytes = Sample::new(DISCOVER).option(60, b"PXE").option(12, b"a").option(60, b"Client").bytes();
    assert_eq!(decode(&bytes).map(|packet| packet.vendor_class), Ok(b"PXEClient".to_vec()));
}

#[test]
fn options_overloaded_into_file_and_sname_are_read() {
    for (overload, in_file, in_sname) in [(1, true, false), (2, false, true), (3, true, true), (0, false, false)] {
        let bytes = Sample::new(DISCOVER)
            .option(52, &[overload])
            .set(108, &[60, 3, b'd', b'-', b'i', 255])
            .set(44, &[12, 2, b'p', b'c', 255])
            .bytes();
        let packet = decode(&bytes).expect("a client's message");
        assert_eq!(packet.vendor_class == b"d-i", in_file, "{overload}");
        assert_eq!(packet.hostname.is_some(), in_sname, "{overload}");
    }
}

#[test]
fn architectures_are_a_list() {
    for (bytes, codes) in [(&[][..], &[][..]), (&[0, 7], &[7]), (&[0, 16, 0, 7], &[16, 7]), (&[0, 7, 0], &[7])] {
        let packet = decode(&Sample::new(DISCOVER).option(93, bytes).bytes()).expect("a client's message");
        assert_eq!(packet.architectures, codes);
    }
}

#[test]
fn host_names_that_could_write_on_a_terminal_are_dropped() {
    for (sent, kept) in
        [("debian", Some("debian")), ("pc-1.lan\0", Some("pc-1.lan")), ("\x1b[2J", None), ("a b", None), ("", None)]
    {
        let packet = decode(&Sample::new(DISCOVER).option(12, sent.as_bytes()).bytes()).expect("a client's message");
        assert_eq!(packet.hostname.as_deref(), kept, "{sent:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_options_are_decoded(options in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut bytes = Sample::new(DISCOVER).bytes();
        bytes.pop();
        bytes.extend(options);
        prop_assert!(decode(&bytes).is_ok());
    }
}
