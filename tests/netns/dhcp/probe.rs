//! Who else is on the link, and whether the server may speak.

use std::{net::Ipv4Addr, time::Duration};

use provisioner::{
    dhcp::{Gate, Heard, Probe},
    model::{Hinted, Mac},
};
use tokio::{task::JoinHandle, time::timeout};

use super::{PATIENCE, Serving, dhcpcd, udhcpc};
use crate::guard::Lan;

#[tokio::test]
async fn what_is_asked_before_the_gate_opens_waits_or_is_forgotten() {
    let Some(lan) = Lan::make(&[]) else { return };
    let serving = Serving::start(&lan, "192.168.42.0/24", 0).await;
    let router = Ipv4Addr::new(192, 168, 42, 1);
    let ear = Probe::open(&lan.server_place(), Lan::SERVER_END, Mac([2, 0, 0, 0, 0, 9]), router).expect("a link");
    // A machine that asks once. It passes over what the server says to others.
    let asks = |number| {
        let machine = Probe::open(&lan.client_place(), Lan::CLIENT_END, Mac([2, 0, 0, 0, 0, number]), router);
        let machine = machine.expect("a link");
        tokio::spawn(async move { machine.until(24 * 60 * PATIENCE, Heard::server).await })
    };
    let asked = async || {
        let heard = timeout(PATIENCE, ear.until(24 * 60 * PATIENCE, Some)).await.expect("it asks");
        assert_eq!(heard.expect("a link"), Heard::Client);
    };
    let hears = async |answer: JoinHandle<anyhow::Result<Ipv4Addr>>| {
        assert_eq!(timeout(PATIENCE, answer).await.expect("an answer").expect("no panic").expect("a link"), router);
    };
    hears(asks(1)).await;
    asked().await;
    serving.gate.send_replace(Gate::Shut);
    let forgotten = asks(2);
    asked().await;
    serving.has_heard_all(&lan).await;
    serving.gate.send_replace(Gate::Held);
    let waiting = asks(3);
    asked().await;
    assert!(!waiting.is_finished());
    serving.gate.send_replace(Gate::Open);
    hears(waiting).await;
    hears(asks(4)).await;
    assert!(!forgotten.is_finished());

    // Nobody keeps the gate: nobody may know whose link it is.
    drop(serving.gate);
    let ended = timeout(PATIENCE, serving.task).await.expect("it ends").expect("no panic");
    assert!(ended.is_err());
}

#[tokio::test]
async fn another_server_is_found_by_its_offer() {
    let Some(lan) = Lan::make(&[]) else { return };
    let (mac, ours) = (Mac([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(192, 168, 43, 1));
    let probe = || async {
        let probe = Probe::open(&lan.client_place(), Lan::CLIENT_END, mac, ours)?;
        timeout(PATIENCE, probe.until(PATIENCE, Heard::server)).await.expect("an answer")
    };
    let there = Ipv4Addr::new(192, 168, 42, 1);
    // Asked before there is anybody, and again.
    let waiting = Probe::open(&lan.client_place(), Lan::CLIENT_END, mac, ours).expect("an interface");
    let found = tokio::spawn(async move { waiting.until(Duration::from_millis(100), Heard::server).await });
    let heard = Probe::open(&lan.server_place(), Lan::SERVER_END, Mac([2, 0, 0, 0, 0, 8]), ours).expect("an interface");
    for _ in 0..2 {
        let client = timeout(PATIENCE, heard.until(PATIENCE, Some)).await.expect("it asks").expect("a link");
        assert_eq!(client, Heard::Client, "its question is none of another server");
    }
    drop(heard);
    let serving = Serving::start(&lan, "192.168.42.0/24", 0).await;
    assert_eq!(timeout(PATIENCE, found).await.expect("an answer").expect("no panic").expect("a link"), there);

    // A DHCP client of this host has the port, as dhclient does: for every interface, and without SO_REUSEADDR.
    let client = lan.client_place().run(|| std::net::UdpSocket::bind("0.0.0.0:68")).expect("a free port");
    assert_eq!(probe().await.expect("a link"), there);
    drop(client);

    lan.client_ip(&["link", "set", Lan::CLIENT_END, "down"]);
    let error = probe().await.expect_err("no silence, but nothing to hear with");
    assert!(format!("{error:#}").contains("on eth0 for another DHCP server: "), "{error:#}");
    drop(serving);

    let nowhere = Probe::open(&lan.client_place(), "eth9", mac, ours);
    let error = nowhere.err().expect("no such interface");
    assert!(error.downcast_ref::<Hinted>().is_some_and(|error| error.what.contains("eth9")), "{error:?}");
}

#[tokio::test]
async fn another_server_is_found_while_a_client_of_this_host_leases_from_it() {
    let Some(lan) = Lan::make(&["udhcpc", "dhcpcd"]) else { return };
    let (mac, ours) = (Mac([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(192, 168, 43, 1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let serving = Serving::start(&lan, "192.168.42.0/24", 0).await;
    let probe = || async {
        let probe = Probe::open(&lan.client_place(), Lan::CLIENT_END, mac, ours).expect("a link");
        let found = timeout(PATIENCE, probe.until(PATIENCE, Heard::server)).await.expect("an answer");
        assert_eq!(found.expect("a link"), Ipv4Addr::new(192, 168, 42, 1));
    };
    let mut client = udhcpc(&lan, folder.path());
    client.says("bound").await;
    probe().await;
    drop(client);
    let mut client = dhcpcd(&lan, folder.path(), "-B");
    client.says("leased").await;
    probe().await;
    drop((client, serving));
}
