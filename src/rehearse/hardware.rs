use std::{
    ffi::OsString,
    os::fd::RawFd,
    path::{Path, PathBuf},
};

use super::{Accel, Images};
use crate::model::Mac;

/// The virtual machine as it is bought: everything that decides QEMU's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// What runs its instructions.
    pub accel: Accel,
    /// Its firmware; the variable store in it is this machine's own copy.
    pub images: Images,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// Whether its firmware boots from the network by HTTP instead of PXE.
    pub http_boot: bool,
    /// Its network card.
    pub mac: Mac,
    /// What its firmware tries first; the other comes second.
    pub first: Medium,
    /// Its disk, a raw image.
    pub disk: PathBuf,
    /// Where QEMU writes everything that comes out of its serial port.
    pub console_log: PathBuf,
}

/// What firmware can boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// The network card.
    Network,
    /// The disk.
    Disk,
}

/// Open descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wires {
    /// The TAP device.
    pub tap: RawFd,
    /// A connected stream socket for QMP.
    pub qmp: RawFd,
    /// A connected stream socket for the serial port.
    pub console: RawFd,
    /// The disk's image.
    pub disk: RawFd,
    /// The file that gets all that comes out of the serial port.
    pub console_log: RawFd,
    /// UEFI firmware's variable store.
    pub variables: Option<RawFd>,
}

impl Hardware {
    /// QEMU's arguments for it.
    ///
    /// There is no `-no-reboot`: the machine restarts by itself after the installation and its firmware tries the network
    /// first again, so that the answer "boot from your own disk" is rehearsed too.
    pub(super) fn arguments(&self, wires: Wires) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |texts: &[&str]| arguments.extend(texts.iter().map(OsString::from));
        add(&["-name", "rehearsal", "-nodefaults", "-no-user-config", "-display", "none"]);
        add(&["-machine", self.machine()]);
        add(&self.accel.arguments());
        add(&["-smp", "2", "-m", &format!("{}M", self.memory_mib), "-rtc", "base=utc"]);
        // A screen nobody sees: desktops and BIOS boot programs expect one.
        add(&["-device", "VGA", "-device", "virtio-rng-pci"]);
        add(&["-chardev", &format!("socket,id=qmp,fd={}", wires.qmp), "-mon", "chardev=qmp,mode=control"]);
        add(&["-netdev", &format!("tap,id=n0,fd={}", wires.tap), "-device", &self.network_card()]);
        add(&["-device", &format!("virtio-blk-pci,drive=d0,bootindex={}", self.boot_index(Medium::Disk))]);
        let log = descriptor(wires.console_log);
        add(&["-chardev", &format!("socket,id=console,fd={},logfile={log}", wires.console)]);
        add(&["-serial", "chardev:console"]);
        // "unsafe": a guest's flushes need not reach the disk, the machine does not outlive a crash of this host anyway.
        let disk = descriptor(wires.disk);
        add(&["-drive", &format!("if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file={disk}")]);
        if let (Images::Ovmf { code, .. }, Some(variables)) = (&self.images, wires.variables) {
            let code = with_path("if=pflash,unit=0,format=raw,readonly=on,file=", code);
            let variables = format!("if=pflash,unit=1,format=raw,file={}", descriptor(variables));
            arguments.extend(["-drive".into(), code, "-drive".into(), variables.into()]);
        }
        if self.http_boot {
            // OVMF tries PXE first, and our answer to that would be good too.
            for protocol in ["IPv4PXESupport", "IPv6PXESupport"] {
                let setting = format!("name=opt/org.tianocore/{protocol},string=no");
                arguments.extend(["-fw_cfg".into(), setting.into()]);
            }
        }
        arguments
    }

    fn machine(&self) -> &'static str {
        match self.images {
            Images::Ovmf { .. } => "q35",
            // QUIRK: "graphics=off" makes SeaBIOS copy its screen, and with it iPXE's, to the serial port.
            Images::SeaBios => "pc,graphics=off",
        }
    }

    fn network_card(&self) -> String {
        let index = self.boot_index(Medium::Network);
        let card = format!("virtio-net-pci,netdev=n0,mac={},bootindex={index}", self.mac);
        match self.images {
            // QUIRK: without the card's ROM (which is iPXE) edk2's own network stack does the PXE, as on real machines.
            Images::Ovmf { .. } => card + ",romfile=",
            Images::SeaBios => card,
        }
    }

    fn boot_index(&self, medium: Medium) -> u8 {
        if self.first == medium { 1 } else { 2 }
    }
}

/// The name of an inherited descriptor's file. It leads to the very file that was opened (proc_pid_fd(5)).
fn descriptor(number: RawFd) -> String {
    format!("/proc/self/fd/{number}")
}

/// An option that ends in a path. QEMU splits options at commas; a doubled one stands for itself.
fn with_path(option: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = option.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        bytes.extend(std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRES: Wires = Wires { tap: 7, qmp: 8, console: 9, disk: 10, console_log: 11, variables: Some(12) };

    fn hardware(images: Images, first: Medium) -> Hardware {
        Hardware {
            accel: Accel::Tcg,
            images,
            memory_mib: 2048,
            http_boot: false,
            mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
            first,
            disk: "/x/disk.raw".into(),
            console_log: "/x/console.log".into(),
        }
    }

    /// Every option with its value, joined; flags without a value stand alone.
    fn options(hardware: &Hardware) -> Vec<String> {
        let arguments = hardware.arguments(WIRES);
        let line = arguments.iter().map(|argument| argument.to_str().expect("text")).collect::<Vec<_>>().join(" ");
        line.split(" -").map(|option| option.trim_start_matches('-').to_owned()).collect()
    }

    #[test]
    fn the_machine_and_its_boot_order_follow_the_firmware() {
        let ovmf = || Images::Ovmf { code: "/f/a,b/code.fd".into(), vars: "/x/vars.fd".into() };
        let card = "device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01";
        let table = [
            (ovmf(), Medium::Network, "machine q35", format!("{card},bootindex=1,romfile="), 2),
            (ovmf(), Medium::Disk, "machine q35", format!("{card},bootindex=2,romfile="), 1),
            (Images::SeaBios, Medium::Network, "machine pc,graphics=off", format!("{card},bootindex=1"), 2),
        ];
        for (images, first, machine, card, disk) in table {
            let flash = images != Images::SeaBios;
            let options = options(&hardware(images, first));
            let has = |wanted: &str| options.iter().any(|option| option == wanted);
            assert!(has(machine) && has(&card), "{options:#?}");
            assert!(has(&format!("device virtio-blk-pci,drive=d0,bootindex={disk}")), "{options:#?}");
            assert_eq!(has("drive if=pflash,unit=0,format=raw,readonly=on,file=/f/a,,b/code.fd"), flash);
            assert_eq!(has("drive if=pflash,unit=1,format=raw,file=/proc/self/fd/12"), flash);
        }
    }

    #[test]
    fn wires_and_paths_arrive_whole() {
        let options = options(&hardware(Images::SeaBios, Medium::Network));
        for wanted in [
            "netdev tap,id=n0,fd=7",
            "chardev socket,id=qmp,fd=8",
            "chardev socket,id=console,fd=9,logfile=/proc/self/fd/11",
            "drive if=none,id=d0,format=raw,cache=unsafe,discard=unmap,file=/proc/self/fd/10",
            "accel tcg,thread=multi",
            "m 2048M",
            "nodefaults",
        ] {
            assert!(options.iter().any(|option| option == wanted), "{wanted} in {options:#?}");
        }
        assert!(!options.iter().any(|option| option == "no-reboot"));
    }
}
