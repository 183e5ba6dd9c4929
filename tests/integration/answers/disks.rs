//! The choice of the disk, with the shells that installers have.

use std::{fs, os::unix::fs::symlink};

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
        let place = self.0.path().join("sys/devices").join(place).join("block").join(name);
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
                .disk("nvme0n1", "virtual/nvme-subsystem/nvme-subsys0", 500 * GB, &[]),
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
        .disk("nvme0n1", "virtual/nvme-subsystem/nvme-subsys0", tb(1_024_209_543_168), &[])
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
