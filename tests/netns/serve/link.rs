//! Whose link it is: when it comes up, and for the whole run.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use provisioner::{dhcp::Probe, model::Mac};

use super::{
    firmware::{Card, Voice},
    house::House,
    program::Program,
};
use crate::guard::Lan;

const RIVAL: &str = "10.9.8.1 already is the DHCP server on lan0";
const AGAIN: &str = "no other DHCP server answers on lan0 any more: machines are answered again";

/// dnsmasq at the other end of the cable, as routers run it: before it offers an address it looks for three seconds whether
/// anybody has it.
fn rival(lan: &Lan) -> Program {
    rival_on(lan, Lan::CLIENT_END)
}

fn rival_on(lan: &Lan, interface: &str) -> Program {
    lan.client_ip(&["addr", "replace", "10.9.8.1/24", "dev", interface]);
    let mut dnsmasq = lan.client("dnsmasq");
    dnsmasq.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--log-facility=-",
        "--pid-file=",
    ]);
    dnsmasq.args(["--interface", interface, "--bind-interfaces", "--dhcp-range=10.9.8.10,10.9.8.20"]);
    dnsmasq.args(["--dhcp-leasefile=/dev/null", "--dhcp-authoritative"]).stdin(Stdio::null());
    let dnsmasq = Program::start(&mut dnsmasq);
    dnsmasq.warns("IP range 10.9.8.10 -- 10.9.8.20");
    dnsmasq
}

fn cable(lan: &Lan, state: &str) {
    lan.client_ip(&["link", "set", Lan::CLIENT_END, state]);
}

/// A machine asks once, and is told what to boot.
fn boots(house: &House, program: &mut Program) {
    Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 1])).asks_to_boot(Voice::Uefi);
    program.says("asked to boot");
}

#[test]
fn another_dhcp_server_is_refused_also_when_the_link_takes_its_time() {
    let Some(house) = House::make(&["dnsmasq"]) else { return };
    let before = house.host();
    let _rival = rival(&house.lan);
    house.refuses(house.start(&[]), &before, &[RIVAL]);

    cable(&house.lan, "down");
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("waiting for a link on lan0");
    cable(&house.lan, "up");
    house.refuses(program, &before, &[RIVAL]);
}

#[test]
fn a_cable_that_comes_later_is_served_only_without_another_dhcp_server() {
    let Some(house) = House::make(&["dnsmasq"]) else { return };
    cable(&house.lan, "down");
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("no cable in lan0 yet");
    program.says("ready to provision!");
    let rival = rival(&house.lan);
    cable(&house.lan, "up");
    program.warns(RIVAL);
    program.says(&format!("no machine is answered from now on: {RIVAL}"));
    program.says("connect the machines by a cable or a switch that nothing else is on, or stop that server");
    drop(rival);
    program.says(AGAIN);
    boots(&house, &mut program);
    program.stop();
    cable(&house.lan, "down");
    assert_eq!(house.host(), before);
}

#[test]
fn a_switch_that_hides_another_dhcp_server_at_first_is_seen_through() {
    let Some(house) = House::make(&["dnsmasq"]) else { return };
    cable(&house.lan, "down");
    // As a managed switch: nothing passes until its spanning tree has listened and learned, four seconds each instead of fifteen.
    house.lan.client_ip(&["link", "add", "switch", "type", "bridge", "stp_state", "1", "forward_delay", "400"]);
    house.lan.client_ip(&["link", "set", Lan::CLIENT_END, "master", "switch"]);
    house.lan.client_ip(&["link", "set", "switch", "up"]);
    let _rival = rival_on(&house.lan, "switch");
    let mut program = house.start(&["-v"]);
    program.says("ready to provision!");
    // A machine on that switch, which asks every second.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let machine = Mac([2, 0, 0, 0, 0, 1]);
    let machine =
        Probe::open(&house.lan.client_place(), "switch", machine, Ipv4Addr::UNSPECIFIED).expect("an interface");
    runtime.spawn(async move { machine.until(Duration::from_secs(1), |_| None::<()>).await });
    cable(&house.lan, "up");
    program.says(&format!("no machine is answered from now on: {RIVAL}"));
    let ended = program.stop();
    assert!(!ended.err.contains("replied"), "{}", ended.err);
}

#[test]
fn a_link_that_becomes_anothers_is_served_no_more_until_it_is_ours_again() {
    let Some(house) = House::make(&["dnsmasq"]) else { return };
    let mut program = house.start(&["-v"]);
    program.says("ready to provision!");
    boots(&house, &mut program);
    // No carrier is lost: a cable between two switches.
    let first = rival(&house.lan);
    program.says(&format!("no machine is answered from now on: {RIVAL}"));
    let offered_by = Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 2])).is_offered(Voice::Uefi);
    assert_eq!(offered_by, [10, 9, 8, 1], "ours would come at once");
    drop(first);
    program.says(AGAIN);
    boots(&house, &mut program);

    cable(&house.lan, "down");
    program.warns("lan0 has no carrier");
    let second = rival(&house.lan);
    cable(&house.lan, "up");
    program.says(&format!("no machine is answered from now on: {RIVAL}"));
    drop(second);
    program.says(AGAIN);
    boots(&house, &mut program);
    program.stop();
}

#[test]
fn a_machine_that_takes_anothers_offer_shows_that_the_link_is_not_ours() {
    let Some(house) = House::make(&[]) else { return };
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    boots(&house, &mut program);
    Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 2])).takes_offer_of([10, 9, 8, 1]);
    program.says(&format!("no machine is answered from now on: {RIVAL}"));
    program.says(AGAIN);
    boots(&house, &mut program);
    program.stop();
}

#[test]
fn a_machine_whose_carrier_comes_and_goes_is_answered_each_time() {
    let Some(house) = House::make(&[]) else { return };
    let mut program = house.start(&["-v"]);
    program.says("ready to provision!");
    boots(&house, &mut program);
    cable(&house.lan, "down");
    program.warns("lan0 has no carrier");
    cable(&house.lan, "up");
    program.warns("lan0 has a carrier");
    boots(&house, &mut program);
    program.stop();
}
