//! The choice of the disk, with the shells that installers have.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use tempfile::TempDir;

use super::{
    has,
    scripts::{SHELLS, run_in, script, write},
    skip,
};

const GB: u64 = 1_000_000_000 / 512;

/// A machine's disks as sysfs shows them.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new().expect("a folder"));
        fs::create_dir_all(machine.0.path().join("sys/block")).expect("a folder");
        fs::create_dir_all(machine.0.path().join("dev")).expect("a folder");
        write(&machine.0.path().join("mounts"), "none /proc proc rw 0 0\n");
        machine
    }

    /// A disk at `place` below `/sys/devices`, with some of its attributes.
    fn disk(self, name: &str, place: &str, size: u64, attributes: &[(&str, &str)]) -> Self {
        // As get_device_parent() of the kernel has it: of a class device, such as an NVMe controller, it is a child; of all
        // others a folder further down.
        let class = if name.starts_with("nvme") { "" } else { "block" };
        let place = self.device(place).join(class).join(name);
        for (attribute, text) in [("size", &*size.to_string()), ("removable", "0"), ("ro", "0")] {
            write(&place.join(attribute), &format!("{text}\n"));
        }
        for (attribute, text) in attributes {
            write(&place.join(attribute), &format!("{text}\n"));
        }
        symlink(&place, self.0.path().join("sys/block").join(name)).expect("a link");
        write(&self.0.path().join("dev").join(name), "");
        self
    }

    /// An NVMe controller, and the link to it of its subsystem.
    fn controller(self, name: &str, place: &str, transport: &str) -> Self {
        let (place, subsystem) = (self.device(place).join(name), self.device(SUBSYSTEM));
        write(&place.join("transport"), &format!("{transport}\n"));
        fs::create_dir_all(&subsystem).expect("a folder");
        symlink(&place, subsystem.join(name)).expect("a link");
        self
    }

    fn device(&self, place: &str) -> PathBuf {
        self.0.path().join("sys/devices").join(place)
    }

    /// What every shell answers: the disk, or the reason why there is none.
    fn pick(&self, arguments: &[&str]) -> Result<String, String> {
        let answers = SHELLS.map(|shell| self.pick_with(shell, arguments));
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        answers[0].clone()
    }

    fn pick_with(&self, shell: &[&str], arguments: &[&str]) -> Result<String, String> {
        let [sys, dev, mounts] = ["sys", "dev", "mounts"].map(|name| self.0.path().join(name));
        let text = script("/usr/lib/provisioner/pick-disk");
        let output = run_in(shell, &text, arguments, &[("SYS", &sys), ("DEV", &dev), ("MOUNTS", &mounts)]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace(&format!("{}/", dev.display()), "");
        if output.status.success() {
            assert!(text(&output.stderr).starts_with("taking "), "{output:?}");
            Ok(text(&output.stdout))
        } else {
            assert!(output.stdout.is_empty(), "{output:?}");
            Err(text(&output.stderr))
        }
    }
}

const PCI: &str = "pci0000:00/0000:00";
const SUBSYSTEM: &str = "virtual/nvme-subsystem/nvme-subsys0";
const FABRICS: &str = "virtual/nvme-fabrics/ctl";

fn sata(port: u32) -> String {
    format!("{PCI}:17.0/ata{port}/host{port}/target{port}:0:0/{port}:0:0:0")
}

fn shells() -> bool {
    let all = SHELLS.iter().all(|shell| has(shell[0]));
    if !all {
        skip("busybox, dash or bash is not installed (packages of the same names)");
    }
    all
}

#[test]
fn the_first_fixed_disk_is_taken_and_never_a_stick() {
    if !shells() {
        return;
    }
    let usb = format!("{PCI}:14.0/usb2/2-1/2-1:1.0/host9/target9:0:0/9:0:0:0");
    let machine = || Machine::new().disk("sda", &usb, 64 * GB, &[]).disk("loop0", "virtual", 64 * GB, &[]);
    let cases: [(&str, Machine, Result<&str, &str>); 14] = [
        ("virtio", Machine::new().disk("vda", &format!("{PCI}:04.0/virtio1"), 20 * GB, &[]), Ok("vda")),
        ("a stick that answers first", machine().disk("sdb", &sata(1), 500 * GB, &[]), Ok("sdb")),
        (
            "ports, not names, and by number",
            machine().disk("sdb", &sata(10), 500 * GB, &[]).disk("sdc", &sata(2), 500 * GB, &[]),
            Ok("sdc"),
        ),
        (
            "NVMe before SATA before eMMC",
            machine()
                .disk("mmcblk0", &format!("{PCI}:01.0/mmc0"), 32 * GB, &[("device/type", "MMC")])
                .disk("sdb", &sata(1), 500 * GB, &[])
                .disk("nvme0n1", SUBSYSTEM, 500 * GB, &[]),
            Ok("nvme0n1"),
        ),
        (
            "NVMe's hidden paths",
            machine().disk("nvme0c0n1", "virtual/nvme", 500 * GB, &[("hidden", "1")]),
            Err("nvme0c0n1 is one path of several"),
        ),
        (
            "eMMC when there is nothing else",
            machine().disk("mmcblk0boot0", "a", 64 * GB, &[]).disk(
                "mmcblk0",
                &format!("{PCI}:01.0/mmc0"),
                32 * GB,
                &[("device/type", "MMC")],
            ),
            Ok("mmcblk0"),
        ),
        (
            "a memory card",
            machine().disk("mmcblk0", "mmc0", 64 * GB, &[("device/type", "SD")]),
            Err("mmcblk0 is a memory card"),
        ),
        ("only a stick", machine(), Err("there is no fixed disk to install on (sda is on USB)")),
        ("nothing at all", Machine::new(), Err("there is no fixed disk to install on")),
        ("removable", machine().disk("sdb", &sata(1), 500 * GB, &[("removable", "1")]), Err("sdb is removable")),
        ("read-only", machine().disk("sdb", &sata(1), 500 * GB, &[("ro", "1")]), Err("sdb is read-only")),
        ("too small", machine().disk("sdb", &sata(1), 7 * GB, &[]), Err("sdb is smaller than 8 GB")),
        ("a CD drive", machine().disk("sr0", &sata(1), 500 * GB, &[]), Err("(sda is on USB)")),
        (
            "an enclosure",
            {
                let machine = machine().disk("nvme0n1", &format!("{PCI}:1d.0/0000:05:00.0/nvme/nvme0"), 500 * GB, &[]);
                write(
                    &machine.0.path().join("sys/devices").join(PCI.to_owned() + ":1d.0/0000:05:00.0/removable"),
                    "removable\n",
                );
                machine
            },
            Err("nvme0n1 is in a removable enclosure"),
        ),
    ];
    for (name, machine, expected) in cases {
        match (machine.pick(&["first", "0"]), expected) {
            (Ok(disk), Ok(expected)) => assert_eq!(disk, expected, "{name}"),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{name}: {why}"),
            (result, _) => panic!("{name}: {result:?}"),
        }
    }
    let mounted = machine().disk("sdb", &sata(1), 500 * GB, &[]).disk("sdbb", &sata(2), 500 * GB, &[]);
    write(
        &mounted.0.path().join("mounts"),
        &format!("{}/dev/sdb1 /cdrom iso9660 ro 0 0\n", mounted.0.path().display()),
    );
    assert_eq!(mounted.pick(&["first"]), Ok("sdbb".into()), "the medium that the installer came from");
}

#[test]
fn disks_behind_every_card_of_the_machine_are_found() {
    if !shells() {
        return;
    }
    let nvme = format!("{PCI}:1d.0/0000:05:00.0/nvme");
    let mmc = [("device/type", "MMC")];
    for (what, name, place, attributes) in [
        ("AHCI", "sda", sata(1), &[][..]),
        ("a RAID volume of megaraid_sas", "sda", format!("{PCI}:01.0/0000:01:00.0/host0/target0:2:0/0:2:0:0"), &[]),
        ("hv_storvsc", "sda", "LNXSYSTM:00/LNXSYBUS:00/VMBUS:00/f8b3781a/host0/target0:0:0/0:0:0:0".into(), &[]),
        ("vmw_pvscsi", "sda", format!("{PCI}:15.0/0000:03:00.0/host2/target2:0:0/2:0:0:0"), &[]),
        ("virtio-scsi", "sda", format!("{PCI}:04.0/virtio1/host0/target0:0:0/0:0:0:0"), &[]),
        (
            "SAS, as of mpt3sas and smartpqi",
            "sda",
            format!("{PCI}:02.0/0000:02:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0"),
            &[],
        ),
        (
            "SAS behind an expander",
            "sda",
            format!(
                "{PCI}:02.0/0000:02:00.0/host0/port-0:0/expander-0:0/port-0:0:1/end_device-0:0:1/target0:0:1/0:0:1:0"
            ),
            &[],
        ),
        ("virtio-blk", "vda", format!("{PCI}:04.0/virtio1"), &[]),
        ("Xen", "xvda", "vbd-51712".into(), &[]),
        ("eMMC", "mmcblk0", format!("{PCI}:1a.0/mmc_host/mmc0/mmc0:0001"), &mmc),
        ("NVMe", "nvme0n1", format!("{nvme}/nvme0"), &[]),
        ("NVMe with native multipath", "nvme0n1", SUBSYSTEM.into(), &[]),
    ] {
        let machine = Machine::new().controller("nvme0", &nvme, "pcie").disk(name, &place, 500 * GB, attributes);
        assert_eq!(machine.pick(&["first"]), Ok(name.to_owned()), "{what}");
    }
    let apple = "platform/soc/27bcc0000.nvme/nvme";
    let machine = Machine::new().controller("nvme0", apple, "apple-nvme").disk("nvme0n1", SUBSYSTEM, 500 * GB, &[]);
    assert_eq!(machine.pick(&["first"]), Ok("nvme0n1".into()));
    let two_ports = Machine::new().controller("nvme0", &nvme, "pcie").controller("nvme1", &nvme, "pcie");
    let machine = two_ports.disk("nvme0n1", SUBSYSTEM, 500 * GB, &[]);
    assert_eq!(machine.pick(&["first"]), Ok("nvme0n1".into()));
}

#[test]
fn nothing_on_a_storage_network_is_taken_unless_it_is_named() {
    if !shells() {
        return;
    }
    // Each would come before the machine's own disk.
    let hba = format!("{PCI}:03.0/0000:01:00.0/host7");
    let nvme = format!("{PCI}:1d.0/0000:05:00.0/nvme");
    let fabric = |transport| Machine::new().controller("nvme0", FABRICS, transport);
    let network = "on a storage network";
    for (what, machine, name, place, why) in [
        ("Fibre Channel", Machine::new(), "sda", format!("{hba}/rport-7:0-0/target7:0:0/7:0:0:0"), network),
        (
            "Fibre Channel, virtual port",
            Machine::new(),
            "sda",
            format!("{hba}/vport-7:0-0/host8/rport-8:0-1/target8:0:0/8:0:0:3"),
            network,
        ),
        (
            "FCoE",
            Machine::new(),
            "sda",
            "virtual/net/eth0.100-fcoe/ctlr_0/host6/rport-6:0-2/target6:0:0/6:0:0:0".into(),
            network,
        ),
        ("iSCSI of a card", Machine::new(), "sda", format!("{hba}/session1/target7:0:0/7:0:0:0"), network),
        ("iSCSI", Machine::new(), "sda", "platform/host3/session12/target3:0:0/3:0:0:1".into(), network),
        ("NVMe over TCP", fabric("tcp"), "nvme0n1", format!("{FABRICS}/nvme0"), network),
        ("NVMe over TCP, multipath", fabric("tcp"), "nvme0n1", SUBSYSTEM.into(), network),
        ("NVMe over RDMA, multipath", fabric("rdma"), "nvme0n1", SUBSYSTEM.into(), network),
        ("NVMe over Fibre Channel, multipath", fabric("fc"), "nvme0n1", SUBSYSTEM.into(), network),
        (
            "NVMe with a path over the network",
            Machine::new().controller("nvme0", &nvme, "pcie").controller("nvme1", FABRICS, "tcp"),
            "nvme0n1",
            SUBSYSTEM.into(),
            network,
        ),
        ("nbd", Machine::new(), "nbd0", "virtual".into(), ""),
        ("Ceph", Machine::new(), "rbd0", "virtual".into(), ""),
        ("DRBD", Machine::new(), "drbd0", "virtual".into(), ""),
        ("ATA over Ethernet", Machine::new(), "etherd!e0.0", "virtual".into(), ""),
    ] {
        let machine = machine.disk(name, &place, 100 * GB, &[]);
        let refused = if why.is_empty() { String::new() } else { format!(" ({name} is {why})") };
        for which in [&["first"][..], &["smallest"], &["size", "100000000000"]] {
            let nothing = format!("there is no fixed disk to install on{refused}");
            assert_eq!(machine.pick(which), Err(nothing), "{what}: {which:?}");
        }
        let machine = machine.disk("sdz", &sata(1), 500 * GB, &[]);
        for which in [&["first"][..], &["smallest"], &["size", "500000000000"]] {
            assert_eq!(machine.pick(which), Ok("sdz".into()), "{what}: {which:?}");
        }
        let device = machine.0.path().join("dev").join(name);
        let by_id = machine.0.path().join("dev/disk/by-id/wwn-0x600");
        fs::create_dir_all(by_id.parent().expect("a folder")).expect("a folder");
        symlink(&device, &by_id).expect("a link");
        for named in [device, by_id] {
            assert_eq!(machine.pick(&["device", named.to_str().expect("text")]), Ok(name.into()), "{what}");
        }
    }
}

#[test]
fn a_named_disk_is_taken_whatever_it_is_attached_to() {
    if !shells() {
        return;
    }
    let machine = Machine::new().disk("sda", "usb1/1-1", GB, &[("removable", "1")]);
    let dev = machine.0.path().join("dev");
    write(&dev.join("sda1"), "");
    symlink(dev.join("sda"), dev.join("by-id")).expect("a link");
    let pick = |name: &str| machine.pick(&["device", dev.join(name).to_str().expect("text")]);
    assert_eq!(pick("by-id"), Ok("sda".into()));
    assert_eq!(pick("sdz"), Err("there is no sdz in this machine".into()));
    assert_eq!(pick("sda1"), Err("sda1 is not a whole disk".into()));
}

#[test]
fn a_size_names_a_disk_only_when_one_fits() {
    if !shells() {
        return;
    }
    let tb = |bytes: u64| bytes / 512;
    let machine = Machine::new()
        .disk("sda", &format!("{PCI}:14.0/usb2/2-1/2-1:1.0/host9/target9:0:0/9:0:0:0"), 500 * GB, &[])
        .disk("nvme0n1", SUBSYSTEM, tb(1_024_209_543_168), &[])
        .disk("sdb", &sata(1), tb(500_107_862_016), &[])
        .disk("sdc", &sata(2), tb(4_000_787_030_016), &[]);
    let cases: [(&[&str], Result<&str, &str>); 11] = [
        (&["size", "500000000000"], Ok("sdb")),
        (&["size", "480000000000"], Ok("sdb")),
        (&["size", "1000000000000"], Ok("nvme0n1")),
        (&["size", "4000000000000"], Ok("sdc")),
        (&["size", "12345678901234567890"], Err("no fixed disk has about 12345678901 GB")),
        (
            &["size", "250000000000"],
            Err("no fixed disk has about 250 GB: there is nvme0n1 of 1024 GB, sdb of 500 GB, sdc of 4001 GB \
                 (sda is on USB)"),
        ),
        (&["size", ""], Err("\"\" is not a size in bytes")),
        (&["size", "5e11"], Err("\"5e11\" is not a size in bytes")),
        (&["smallest", "0"], Ok("sdb")),
        (&["first"], Ok("nvme0n1")),
        (&[], Err("pick-disk takes first, smallest, size BYTES or device PATH, not \"\"")),
    ];
    for (arguments, expected) in cases {
        match (machine.pick(arguments), expected) {
            (Ok(disk), Ok(expected)) => assert_eq!(disk, expected, "{arguments:?}"),
            (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{arguments:?}: {why}"),
            (result, _) => panic!("{arguments:?}: {result:?}"),
        }
    }
    let twins = Machine::new().disk("sda", &sata(10), 500 * GB, &[]).disk("sdb", &sata(2), 510 * GB, &[]);
    let why = "several fixed disks have about 500 GB: sdb of 510 GB, sda of 500 GB";
    assert_eq!(twins.pick(&["size", "500000000000"]), Err(why.into()));
    assert_eq!(twins.pick(&["smallest"]), Ok("sda".into()));
    let equal = Machine::new().disk("sda", &sata(10), 500 * GB, &[]).disk("sdb", &sata(2), 500 * GB, &[]);
    assert_eq!(equal.pick(&["smallest"]), Ok("sdb".into()), "the first of several");
}
