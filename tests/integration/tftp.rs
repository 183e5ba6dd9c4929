//! The TFTP server against real clients, and against what only firmware and bad networks do.

mod client;
mod house;
mod relay;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::{Command, Output},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use provisioner::tftp::Config;

use client::{ABORT, Client, ack, read_request};
use house::{House, content};
use relay::Relay;

/// Runs a client program; `None`, with a reason printed, where it is not installed (in CI it must be).
fn run(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("running {program}: {error}"),
        Err(error) => {
            eprintln!("skipped: running {program}: {error}");
            None
        }
    }
}

#[test]
fn curl() {
    let house = House::open();
    let url = |name: &str| format!("tftp://{}/{name}", house.address);
    // Without options for the empty file: curl takes `tsize=0` for a mistake of the server.
    for (name, options) in [
        ("511", &[][..]),
        ("0", &["--tftp-no-options"]),
        ("folder/512", &[]),
        ("5000", &["--tftp-no-options"]),
        ("70000", &["--tftp-blksize", "1428"]),
    ] {
        let Some(output) = run("curl", &[&["-sS", "--max-time", "60", &url(name)], options].concat()) else { return };
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let size = name.trim_start_matches("folder/").parse().expect("a size");
        assert!(output.stdout == content(size), "{name}");
    }
    // CURLE_TFTP_NOTFOUND, CURLE_TFTP_PERM
    for (name, code) in [("absent", 68), ("denied", 69)] {
        let output = run("curl", &["-sS", "--max-time", "60", &url(name)]).expect("installed");
        assert_eq!(output.status.code(), Some(code), "{name}");
    }
}

#[test]
fn tftp_hpa() {
    let house = House::open();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let port = house.address.port().to_string();
    for (mode, name) in [("binary", "file"), ("ascii", "1000000")] {
        let Some(output) = run("tftp", &["127.0.0.1", &port, "-m", mode, "-c", "get", name, &out]) else { return };
        assert!(output.status.success(), "{output:?}");
        if mode == "binary" {
            assert!(std::fs::read(&out).expect("the file") == content(1_000_000), "{mode}");
        }
    }
    let output = run("tftp", &["127.0.0.1", &port, "-m", "binary", "-c", "get", "absent", &out]).expect("installed");
    assert!(String::from_utf8_lossy(&output.stdout).contains("file not found"), "{output:?}");
}

#[test]
fn atftp_with_windows() {
    let house = House::open();
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").display().to_string();
    let port = house.address.port().to_string();
    for (block_size, window) in [(512, 2), (1428, 16), (1428, 64)] {
        let (block_size, window) = (format!("blksize {block_size}"), format!("windowsize {window}"));
        let options =
            ["--option", &block_size, "--option", &window, "-g", "-r", "file", "-l", &out, "127.0.0.1", &port];
        let Some(output) = run("atftp", &options) else { return };
        assert!(output.status.success(), "{output:?}");
        assert!(std::fs::read(&out).expect("the file") == content(1_000_000), "{block_size}, {window}");
    }
}

#[test]
fn edk2_probes_the_size_and_comes_back() {
    let house = House::open();
    let other = Client::of(house.address);
    let first = Client::of(house.address);
    for again in [&first, &other] {
        // The timeout is the test's, not edk2's: it keeps repetitions out of the way however slow the test is.
        first.ask(&read_request(b"5000", &[("tsize", "0"), ("timeout", "60")]));
        let (answer, transfer) = first.receive();
        assert_eq!(answer, b"\0\x06tsize\x005000\0timeout\x0060\0");
        first.send(ABORT, transfer);
        let options = [("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")];
        assert!(again.download("5000", &options) == content(5000));
    }
}

#[test]
fn a_new_request_from_the_same_port_ends_the_old_transfer() {
    let house = House::open();
    let client = Client::of(house.address);
    client.ask(&read_request(b"5000", &[("tsize", "0"), ("timeout", "60")]));
    let (_, old) = client.receive();
    client.ask(&read_request(b"5000", &[("blksize", "1456")]));
    let (answer, new) = client.receive();
    assert_eq!(answer, b"\0\x06blksize\x001456\0", "the options of the new request, not of the old one");
    assert_ne!(old, new);
    // `finish` insists on one transfer id.
    assert!(client.finish((answer, new), 1456, 1) == content(5000));
}

#[test]
fn a_repeated_request_is_answered_once() {
    let house = House::open();
    let client = Client::of(house.address);
    client.ask(&read_request(b"gated", &[]));
    client.ask(&read_request(b"gated", &[]));
    // Requests are taken in order: when this one is answered, both are known.
    assert_eq!(Client::of(house.address).refusal(&read_request(b"absent", &[])), 1);
    house.shelf.gate.add_permits(2);
    assert!(client.finish(client.receive(), 512, 1) == content(700));
    assert_eq!(house.shelf.opened.load(Ordering::SeqCst), 2, "gated, absent");
}

#[test]
fn a_slow_open_delays_nobody() {
    let house = House::open();
    let slow = Client::of(house.address);
    slow.ask(&read_request(b"gated", &[]));
    // shim's probe. The gate is still shut, so these answers did not wait for it.
    assert_eq!(Client::of(house.address).refusal(&read_request(b"revocations_sku.efi", &[])), 1);
    assert!(Client::of(house.address).download("3000", &[]) == content(3000));
    house.shelf.gate.add_permits(1);
    assert!(slow.finish(slow.receive(), 512, 1) == content(700));
}

#[test]
fn only_what_was_asked_is_acknowledged() {
    let house = House::open();
    for (options, answer) in [
        (&[("tsize", "0"), ("blksize", "1024")][..], &b"\0\x06tsize\x00700\0blksize\x001024\0"[..]), // GRUB
        (
            &[("BLKSIZE", "65464"), ("multicast", ""), ("WindowSize", "65535")],
            b"\0\x06blksize\x001468\0windowsize\x0064\0",
        ),
        (&[("timeout", "3"), ("rollover", "1")], b"\0\x06timeout\x003\0"),
        (&[("tsize", "0"), ("", ""), ("", "")], b"\0\x06tsize\x00700\0"), // NUL padding
    ] {
        let client = Client::of(house.address);
        client.ask(&read_request(b"700", options));
        assert_eq!(client.receive().0, answer, "{options:?}");
    }
    let client = Client::of(house.address);
    client.ask(&read_request(b"700", &[("multicast", "")]));
    assert_eq!(client.receive().0[..4], [0, 3, 0, 1], "nothing to acknowledge: the first block");
}

#[test]
fn refusals() {
    let house = House::open();
    for (datagram, code) in [
        (read_request(b"absent", &[]), 1),
        (read_request(b"caf\xe9", &[]), 1),
        (read_request(b"../700", &[]), 1),
        (read_request(b"denied", &[]), 2),
        (read_request(b"failing", &[]), 0),
        (b"\0\x02upload\0octet\0".to_vec(), 2),
        (b"\0\x01700\0mail\0".to_vec(), 4),
        (b"\0\x09".to_vec(), 4),
        (b"\0".to_vec(), 4),
        (vec![b'a'; 4000], 4),
        (ack(1), 5),
        (b"\0\x03\0\x01payload".to_vec(), 5),
    ] {
        assert_eq!(Client::of(house.address).refusal(&datagram), code, "{}", datagram.escape_ascii());
    }
    // No ERROR is answered: the first answer is the one to the request.
    let client = Client::of(house.address);
    client.ask(ABORT);
    assert_eq!(client.refusal(&read_request(b"absent", &[])), 1);
    // Names as odd clients write them.
    for name in [&b"/folder/700"[..], b"\\folder\\700", b"folder//700", b"700\xff"] {
        let client = Client::of(house.address);
        client.ask(&read_request(name, &[]));
        assert!(client.finish(client.receive(), 512, 1) == content(700));
    }
}

#[test]
fn a_file_cut_short_on_disk_ends_with_an_error() {
    let house = House::open();
    assert_eq!(Client::of(house.address).refusal(&read_request(b"cut", &[])), 0);
}

#[test]
fn block_numbers_wrap() {
    let house = House::open();
    let expected = content(40_000_000);
    let client = Client::of(house.address);
    assert!(client.download("40000000", &[("windowsize", "8")]) == expected);
}

#[test]
fn a_lossy_link() {
    let house = House::open();
    let expected = content(40_000);
    for (seed, options) in
        [(1, &[][..]), (2, &[("windowsize", "4")]), (3, &[("blksize", "1024"), ("windowsize", "16")])]
    {
        let relay = Relay::to(house.address, 25, seed);
        assert!(Client::of(relay.address()).download("40000", options) == expected, "seed {seed}");
    }
}

#[test]
fn strangers_are_kept_out_of_a_transfer() {
    let house = House::open();
    let client = Client::of(house.address);
    client.ask(&read_request(b"700", &[]));
    let first = client.receive();
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    stranger.connect(first.1).expect("connected");
    stranger.send(ABORT).expect("sent");
    let error = stranger.recv(&mut [0; 512]).expect_err("the kernel answers for the transfer");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(client.finish(first, 512, 1) == content(700));
}

#[test]
fn transfers_are_bounded_and_a_client_that_left_gives_its_place_back() {
    let house = House::with(Config { transfers: 1, ..Config::at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)) });
    let client = Client::of(house.address);
    client.ask(&read_request(b"700", &[]));
    client.receive();
    let next = Client::of(house.address);
    assert_eq!(next.refusal(&read_request(b"700", &[])), 0);
    // Closes the port; the next repetition meets "port unreachable". That is long before the client counts as silent.
    drop(client);
    let begin = Instant::now();
    let first = loop {
        next.ask(&read_request(b"700", &[]));
        let (answer, transfer) = next.receive();
        if answer[1] == 3 {
            break (answer, transfer);
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the place is not free: {}", answer.escape_ascii());
    };
    assert!(next.finish(first, 512, 1) == content(700));
}

#[test]
fn answers_leave_from_the_address_and_interface_that_were_asked() {
    let address = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 0);
    let house = House::with(Config { interface: Some("lo".into()), ..Config::at(address) });
    let client = Client::of(house.address);
    client.ask(&read_request(b"700", &[]));
    let first = client.receive();
    assert_eq!(first.1.ip(), *house.address.ip());
    assert!(client.finish(first, 512, 1) == content(700));
}
