//! Whatever ends the program, this machine is as it was.

use nix::sys::signal::Signal;

use super::{
    archive::Fault,
    house::{House, LINUX},
};

#[test]
fn a_signal_at_any_moment_ends_it_with_code_0_and_the_host_as_it_was() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    // The download of the kernel goes on until it is ended.
    house.archive().always(LINUX, Fault::Stall(1000));
    let moments = [
        ("fetching linux", Signal::SIGINT),
        // The network is changed and another DHCP server looked for.
        ("boot files verified", Signal::SIGTERM),
        ("ready to provision!", Signal::SIGINT),
        ("ready to provision!", Signal::SIGTERM),
        ("ready to provision!", Signal::SIGHUP),
    ];
    for (line, signal) in moments {
        let mut program = house.start(&[]);
        program.says(line);
        program.signal(signal);
        let ended = program.ends();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{signal} after {line:?}: {ended:#?}");
        assert_eq!(house.host(), before, "{signal} after {line:?}");
        house.archive().heal();
    }
}

#[test]
fn after_a_kill_the_next_start_puts_back_what_was_left_and_serves() {
    let Some(house) = House::make(&[]) else { return };
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    let second = house.start(&[]).ends();
    assert!(second.refusal().contains("another provisioner (pid "), "{second:#?}");
    program.signal(Signal::SIGKILL);
    assert_eq!(program.ends().code, None);
    assert_ne!(house.host(), before, "nobody put it back");

    let mut program = house.start(&[]);
    for change in ["bring lan0 up", "give lan0 the address 192.168.42.1/24"] {
        program.says(&format!("provisioner: put back what an earlier run had left: {change}"));
    }
    program.says("ready to provision!");
    program.stop();
    assert_eq!(house.host(), before);
}

#[test]
fn after_a_kill_a_run_on_another_interface_puts_back_what_was_left_and_serves_the_same_network() {
    let Some(house) = House::make(&[]) else { return };
    house.lan.server_ip(&["link", "add", "lan1", "type", "bridge"]);
    // A link keeps its queueing discipline from the first time it was up.
    for setting in [&["addrgenmode", "none"][..], &["up"], &["down"]] {
        house.lan.server_ip(&[&["link", "set", "lan1"], setting].concat());
    }
    let before = house.host();
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    program.signal(Signal::SIGKILL);
    assert_eq!(program.ends().code, None);
    let left = house.host();
    assert_ne!(left, before, "nobody put it back");

    let flags = house.flags();
    let on_lan1 = || flags.iter().map(|flag| if flag.starts_with("--interface=") { "--interface=lan1" } else { flag });
    let planned = house.start_with(["plan"].into_iter().chain(on_lan1())).ends();
    assert_eq!((planned.code, planned.err.as_str()), (Some(0), ""));
    for line in [
        "puts back      what an earlier run had left: bring lan0 up",
        "puts back      what an earlier run had left: give lan0 the address 192.168.42.1/24",
        "changes        bring lan1 up; reverted at the end",
        "changes        give lan1 the address 192.168.42.1/24; reverted at the end",
    ] {
        assert!(planned.out.contains(&line.to_owned()), "{line} is missing in {:#?}", planned.out);
    }
    assert_eq!(house.host(), left, "a plan changes nothing");

    let mut program = house.start_with(on_lan1());
    for change in ["bring lan0 up", "give lan0 the address 192.168.42.1/24"] {
        program.says(&format!("provisioner: put back what an earlier run had left: {change}"));
    }
    program.says("ready to provision!");
    program.stop();
    assert_eq!(house.host(), before);
}
