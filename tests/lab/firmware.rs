//! The machine itself: its firmware asks on our cable, boots its disk, and leaves nothing behind.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command, time::Duration};

use provisioner::{
    model::Firmware,
    net::Place,
    rehearse::{Images, Medium, Tap, Vm},
};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    disk,
    lab::{Bench, MAC, admit, exists, until_shown, while_running},
};

#[tokio::test]
async fn uefi_asks_for_an_address_on_the_cable() {
    // No user class: it is edk2's own PXE, not the card's ROM.
    asks_for_an_address(Firmware::Uefi, 7, None).await;
}

#[tokio::test]
async fn bios_asks_for_an_address_on_the_cable() {
    asks_for_an_address(Firmware::Bios, 0, Some(b"iPXE")).await;
}

/// `arch` is what option 93 must say (RFC 4578, section 2.1), `user_class` option 77.
async fn asks_for_an_address(firmware: Firmware, arch: u16, user_class: Option<&[u8]>) {
    let Some((tools, _turn)) = admit(firmware, &["ip"]).await else { return };
    let bench = Bench::new(tools, Medium::Network);
    let listener = dhcp_listener(&bench.place);
    let mut vm = bench.power_on().await;
    let mut packet = [0; 1500];
    let length = while_running(&mut vm, listener.recv(&mut packet)).await.expect("a packet");
    let discover = &packet[..length];
    assert_eq!((discover[0], &discover[28..34]), (1, &MAC.0[..]), "BOOTREQUEST and the card's address");
    assert_eq!(option(discover, 53), Some(&[1][..]), "DHCPDISCOVER");
    assert_eq!(option(discover, 93), Some(&arch.to_be_bytes()[..]), "the firmware's architecture");
    assert_eq!(option(discover, 77), user_class);
    vm.power_off().await.expect("off");
}

/// Port 67 in the place. An interface without an address is enough: a DISCOVER is a broadcast.
fn dhcp_listener(place: &Place) -> UdpSocket {
    let socket = place.run(|| {
        Command::new("ip").args(["link", "set", Tap::NAME, "up"]).status()?;
        let socket = std::net::UdpSocket::bind("0.0.0.0:67")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    UdpSocket::from_std(socket.expect("a socket")).expect("a socket of this runtime")
}

fn option(packet: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = packet.get(240..)?;
    while let [code, after @ ..] = rest {
        rest = match code {
            0 => after,
            255 => return None,
            _ => {
                let (&length, after) = after.split_first()?;
                let (value, after) = after.split_at_checked(length.into())?;
                if *code == wanted {
                    return Some(value);
                }
                after
            }
        };
    }
    None
}

#[tokio::test]
async fn uefi_boots_a_prepared_disk() {
    boots_its_disk(Firmware::Uefi).await;
}

#[tokio::test]
async fn bios_boots_a_prepared_disk() {
    boots_its_disk(Firmware::Bios).await;
}

async fn boots_its_disk(firmware: Firmware) {
    const MARKER: &str = "this-is-my-own-disk";
    let Some((tools, _turn)) = admit(firmware, &disk::PROGRAMS).await else { return };
    let bench = Bench::new(tools, Medium::Disk);
    disk::prepare(firmware, &bench.work.disk(), MARKER);
    let mut vm = bench.power_on().await;
    until_shown(&mut vm, MARKER).await;
    vm.power_off().await.expect("off");
    let log = fs::read(bench.work.console_log()).expect("the transcript");
    assert!(log.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()), "QEMU keeps it too");
}

#[tokio::test]
async fn nothing_is_left_of_a_machine_that_is_dropped() {
    let Some((tools, _turn)) = admit(Firmware::Bios, &[]).await else { return };
    let bench = Bench::new(tools, Medium::Disk);
    let namespace = namespace_of(&bench.place);
    let path = bench.work.path().to_owned();
    let vm = bench.power_on().await;
    let pid = vm.pid().expect("a process");
    assert!(exists(pid) && path.exists() && uses(namespace) > 0);
    // As when the future that holds it is dropped: no power_off.
    drop(vm);
    let gone = async {
        while exists(pid) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), gone).await.expect("QEMU ends with what held it");
    drop(bench);
    assert!(!path.exists());
    assert_eq!(uses(namespace), 0, "the namespace lives only in what refers to it");
}

#[tokio::test]
async fn qemu_that_does_not_start_says_why() {
    let Some((tools, _turn)) = admit(Firmware::Bios, &[]).await else { return };
    let mut bench = Bench::new(tools, Medium::Disk);
    let code = bench.work.path().join("no, such firmware");
    bench.hardware.images = Images::Ovmf { code, vars: bench.work.disk() };
    let started = Vm::power_on(&bench.tools.qemu, &bench.hardware, &bench.tap, bench.work.complaints()).await;
    let error = format!("{:#}", started.expect_err("no firmware"));
    assert!(error.contains("ended by itself") && error.contains("no, such firmware"), "{error}");
}

fn namespace_of(place: &Place) -> u64 {
    place.run(|| fs::metadata("/proc/thread-self/ns/net")).expect("the namespace").ino()
}

/// How many descriptors of this process, and other processes, refer to a network namespace.
fn uses(namespace: u64) -> usize {
    let link = format!("net:[{namespace}]");
    let is_it = |path: &Path| fs::read_link(path).is_ok_and(|target| target.as_os_str() == link.as_str());
    let entries = |folder: &str| fs::read_dir(folder).expect("procfs").flatten().map(|entry| entry.path());
    let ours = entries("/proc/self/fd").filter(|path| is_it(path)).count();
    ours + entries("/proc").filter(|process| is_it(&process.join("ns/net"))).count()
}
