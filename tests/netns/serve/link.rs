//! Who else is on the link, and when it comes up.

use std::process::Stdio;

use provisioner::model::Mac;

use super::{
    firmware::{Card, Voice},
    house::House,
    program::Program,
};
use crate::guard::Lan;

const RIVAL: &str = "10.9.8.1 already is the DHCP server on lan0";

/// dnsmasq at the other end of the cable, as routers run it: before it offers an address it looks for three seconds whether
/// anybody has it.
fn rival(lan: &Lan) -> Program {
    lan.client_ip(&["addr", "replace", "10.9.8.1/24", "dev", Lan::CLIENT_END]);
    let mut dnsmasq = lan.client("dnsmasq");
    dnsmasq.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--log-facility=-",
        "--pid-file=",
    ]);
    dnsmasq.args(["--interface=eth0", "--bind-interfaces", "--dhcp-range=10.9.8.10,10.9.8.20"]);
    dnsmasq.args(["--dhcp-leasefile=/dev/null", "--dhcp-authoritative"]).stdin(Stdio::null());
    let dnsmasq = Program::start(&mut dnsmasq);
    dnsmasq.warns("IP range 10.9.8.10 -- 10.9.8.20");
    dnsmasq
}

fn cable(lan: &Lan, state: &str) {
    lan.client_ip(&["link", "set", Lan::CLIENT_END, state]);
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
    drop(rival);
    Card::plug(&house.lan, Mac([2, 0, 0, 0, 0, 1])).asks_to_boot(Voice::Uefi);
    program.says("asked to boot");
    program.stop();
    cable(&house.lan, "down");
    assert_eq!(house.host(), before);
}
