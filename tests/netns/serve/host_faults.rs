//! This machine is not as the program needs it: one message with a remedy, and no change.

use std::net::{TcpListener, UdpSocket};

use super::house::House;
use crate::guard::Lan;

#[test]
fn a_taken_port_is_named_with_who_has_it() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let place = house.lan.server_place();
    let us = format!("(pid {})", std::process::id());
    let dhcp = place.run(|| UdpSocket::bind("0.0.0.0:67")).expect("a free port");
    house.refuses(house.start(&[]), &before, &["UDP port 67 (DHCP) on lan0", &us]);
    drop(dhcp);
    let tftp = place.run(|| UdpSocket::bind("0.0.0.0:69")).expect("a free port");
    house.refuses(house.start(&[]), &before, &["UDP port 69 (TFTP) on lan0", &us]);
    drop(tftp);
    let http = place.run(|| TcpListener::bind("0.0.0.0:4280")).expect("a free port");
    house.refuses(house.start(&[]), &before, &["TCP port 4280 (HTTP) on lan0", &us, "--http-port"]);

    let mut program = house.start(&["--http-port=4281"]);
    program.says("ready to provision!");
    program.stop();
    drop(http);
}

#[test]
fn an_interface_that_cannot_be_it_is_refused_with_the_reason() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let with = |interface: &str| {
        let flags: Vec<_> = house.flags().into_iter().filter(|flag| !flag.starts_with("--interface")).collect();
        house.start_with(flags.iter().map(String::as_str).chain([interface]))
    };
    house.refuses(with("--interface=eth9"), &before, &["there is no interface eth9", "lan0", "--interface"]);
    house.refuses(with("--interface=lo"), &before, &["interface lo cannot be used: it never leaves this machine"]);

    house.lan.server_ip(&["link", "add", "other0", "type", "bridge"]);
    house.lan.server_ip(&["addr", "add", "192.168.42.9/24", "dev", "other0"]);
    let overlap = "the network 192.168.42.0/24 of lan0 overlaps 192.168.42.9/24 of interface other0";
    house.refuses(house.start(&[]), &house.host(), &[overlap, "--network 10.42.42.0/24"]);

    house.lan.server_ip(&["link", "set", Lan::SERVER_END, "up"]);
    house.lan.server_ip(&["addr", "add", "10.5.0.2/24", "dev", Lan::SERVER_END]);
    house.lan.server_ip(&["route", "add", "default", "via", "10.5.0.1"]);
    house.refuses(house.start(&[]), &house.host(), &["lan0 cannot be used: it carries the default route"]);
}

#[test]
fn a_user_who_may_not_is_told_how_to_be_allowed() {
    let Some(house) = House::make(&["setpriv"]) else { return };
    let before = house.host();
    // Its own name is mounted where everybody may start it: the way to the build may be root's alone.
    let script = r#"mount -t tmpfs -o mode=755 bin /run && touch /run/provisioner && mount --bind "$1" /run/provisioner &&
        shift && exec setpriv --reuid=65534 --regid=65534 --clear-groups /run/provisioner "$@""#;
    let arguments = ["--interface=lan0", "--offline", "--dns=9.9.9.9", "--password=$6$salt$hash"];
    let setcap = "sudo setcap cap_net_admin,cap_net_bind_service,cap_net_raw+ep /run/provisioner";
    house.refuses(house.start_by(script, arguments), &before, &["run it with sudo", setcap]);
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let prefix = house.prefix();
    std::fs::create_dir(&prefix).expect("a folder");
    let script = format!(r#"mount -t tmpfs -o size=128k small {} && exec "$@""#, prefix.display());
    let flags = house.flags();
    let program = house.start_by(&script, flags.iter().map(String::as_str));
    house.refuses(program, &before, &[&prefix.display().to_string(), "No space left on device"]);
}

#[test]
fn a_prefix_that_cannot_be_written_to_is_named_with_the_flag_for_another() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let prefix = house.prefix();
    std::fs::create_dir(&prefix).expect("a folder");
    let path = prefix.display().to_string();
    let read_only = format!(r#"mount --bind {path} {path} && mount -o remount,bind,ro {path} && exec "$@""#);
    let flags = house.flags();
    let start = || house.start_by(&read_only, flags.iter().map(String::as_str));
    let parts = [&path, "Read-only file system", "--prefix"];
    house.refuses(start(), &before, &parts);
    assert_eq!(std::fs::read_dir(&prefix).expect("a folder").count(), 0);

    let mut program = house.start(&[]);
    program.says("ready to provision!");
    program.stop();
    // All boot files are in it; what machines do could not be written down.
    house.refuses(start(), &before, &parts);
}
