//! The scripts that the installer is given, run with a busybox shell like its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use provisioner::model::Disk;
use tempfile::TempDir;

use super::{Case, KEY, has, skip};

const GB: u64 = 1_000_000_000 / 512;

/// The files that `setup.sh` writes in the installer, by path.
fn scripts(case: &Case) -> BTreeMap<String, String> {
    let setup = &case.files()["setup.sh"];
    let mut parts = setup.split("<<'END_OF_FILE'\n");
    let mut scripts = BTreeMap::new();
    let mut before = parts.next().expect("text");
    for part in parts {
        let path = before.rsplit_once('>').expect("a redirection").1.trim();
        let (text, rest) = part.split_once("\nEND_OF_FILE\n").expect("an end");
        scripts.insert(path.replace("$bin", "/usr/lib/provisioner"), format!("{text}\n"));
        before = rest;
    }
    scripts
}

fn script(name: &str) -> String {
    scripts(&Case::new("13")).remove(name).unwrap_or_else(|| panic!("setup.sh writes no {name}"))
}

fn run(text: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new("busybox");
    command.args(["sh", "-c", text, "sh"]).args(arguments).stdin(Stdio::null());
    command.envs(environment.iter().copied()).output().expect("busybox")
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn executable(path: &Path, text: &str) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

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

    fn pick(&self, arguments: &[&str]) -> Result<String, String> {
        let [sys, dev, mounts] = ["sys", "dev", "mounts"].map(|name| self.0.path().join(name));
        let text = script("/usr/lib/provisioner/pick-disk");
        let output = run(&text, arguments, &[("SYS", &sys), ("DEV", &dev), ("MOUNTS", &mounts)]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace(&format!("{}/", dev.display()), "");
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

const PCI: &str = "pci0000:00/0000:00";

#[test]
fn the_first_fixed_disk_is_taken_and_never_a_stick() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let sata = |port: u32| format!("{PCI}:17.0/ata{port}/host{port}/target{port}:0:0/{port}:0:0:0");
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
        match (machine.pick(&[""]), expected) {
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
    assert_eq!(mounted.pick(&[]), Ok("sdbb".into()), "the medium that the installer came from");
}

#[test]
fn a_named_disk_is_taken_whatever_it_is_attached_to() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let machine = Machine::new().disk("sda", "usb1/1-1", GB, &[("removable", "1")]);
    let dev = machine.0.path().join("dev");
    write(&dev.join("sda1"), "");
    symlink(dev.join("sda"), dev.join("by-id")).expect("a link");
    let pick = |name: &str| machine.pick(&[dev.join(name).to_str().expect("text")]);
    assert_eq!(pick("by-id"), Ok("sda".into()));
    assert_eq!(pick("sdz"), Err("there is no sdz in this machine".into()));
    assert_eq!(pick("sda1"), Err("sda1 is not a whole disk".into()));
}

#[test]
fn without_a_disk_it_says_so_once_and_waits_for_one() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let mut case = Case::new("12");
    case.recipe.disk = Disk::Device("/dev/disk/by-id/ata-X".into());
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    // pick-disk finds something once the dialog has been answered twice.
    executable(
        &root.join("pick-disk"),
        "#!/bin/sh\n[ -e $LOG.2 ] && echo /dev/sdq && exit 0\necho \"no $1 here\" >&2\nexit 1\n",
    );
    executable(&root.join("report"), "#!/bin/sh\necho \"report $*\" >>$LOG\n");
    write(
        &root.join("confmodule"),
        "for c in subst fset input set x_loadtemplatefile; do eval \"db_$c() { echo $c \\\"\\$*\\\" >>$LOG; }\"; done\n\
         db_go() { if [ -e $LOG.1 ]; then : >$LOG.2; else : >$LOG.1; fi; }\n\
         logger() { :; }\nsleep() { :; }\n",
    );
    let text = scripts(&case)["/usr/lib/provisioner/choose-disk"]
        .replace("/usr/share/debconf/confmodule", root.join("confmodule").to_str().expect("text"))
        .replace("bin=/usr/lib/provisioner", &format!("bin={}", root.display()))
        .replace("/tmp/pick-disk.why", root.join("why").to_str().expect("text"));
    let log = root.join("log");
    assert!(run(&text, &[], &[("LOG", &log)]).status.success());
    let dialog = "subst provisioner/no-disk REASON no /dev/disk/by-id/ata-X here\n\
                  fset provisioner/no-disk seen false\ninput critical provisioner/no-disk\n";
    let expected = format!(
        "report failed no /dev/disk/by-id/ata-X here\nx_loadtemplatefile {}/no-disk.templates provisioner\n{dialog}{dialog}\
         set partman-auto/disk /dev/sdq\nset grub-installer/bootdev /dev/sdq\nfset grub-installer/bootdev seen true\n",
        root.display()
    );
    assert_eq!(fs::read_to_string(&log).expect("a log"), expected);
}

#[test]
fn the_installed_system_names_the_public_mirrors_only() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let folder = TempDir::new().expect("a folder");
    let target = folder.path();
    let ours = "http://192.168.42.1:4280/mirror";
    write(
        &target.join("etc/apt/sources.list"),
        &format!(
            "deb {ours}/debian/ trixie main\n# deb-src {ours}/debian trixie-updates main\n\
             deb {ours}/debian-security trixie-security main\ndeb http://own.example.org/debian own main\n"
        ),
    );
    write(
        &target.join("etc/apt/sources.list.d/x.sources"),
        &format!("Types: deb\nURIs: {ours}/debian\nSuites: trixie\n"),
    );
    write(&target.join("etc/apt/apt.conf"), "Acquire::http::Proxy \"http://192.168.42.1:4280/\";\nAPT::Color \"1\";\n");
    write(&target.join("var/lib/apt/lists/192.168.42.1:4280_mirror_debian"), "");
    let text = script("/usr/lib/finish-install.d/58provisioner").replace("/target/", &format!("{}/", target.display()));
    let output = run(&text, &[], &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let read = |name: &str| fs::read_to_string(target.join(name)).expect(name);
    assert_eq!(
        read("etc/apt/sources.list"),
        "deb https://ftp.debian.org/debian/ trixie main\n# deb-src https://ftp.debian.org/debian trixie-updates main\n\
         deb https://security.debian.org/debian-security trixie-security main\ndeb http://own.example.org/debian own main\n"
    );
    assert_eq!(
        read("etc/apt/sources.list.d/x.sources"),
        "Types: deb\nURIs: https://ftp.debian.org/debian\nSuites: trixie\n"
    );
    assert_eq!(read("etc/apt/apt.conf"), "APT::Color \"1\";\n");
    assert_eq!(fs::read_dir(target.join("var/lib/apt/lists")).expect("a folder").count(), 0);
    assert_eq!(read("root/.ssh/authorized_keys"), format!("{KEY}\n"));
    let mode = |name: &str| fs::metadata(target.join(name)).expect(name).permissions().mode() & 0o7777;
    assert_eq!((mode("root/.ssh"), mode("root/.ssh/authorized_keys")), (0o700, 0o600));
}

#[test]
fn a_report_is_one_post_and_a_dead_server_no_obstacle() {
    if !has("busybox") || !has("wget") {
        return skip("busybox or wget is not installed (packages busybox, wget)");
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let case = Case::new("13");
    let text = scripts(&case)["/usr/lib/provisioner/report"].replace("192.168.42.1:4280", &address.to_string());
    let request = std::thread::spawn(move || {
        let (stream, _) = server.accept().expect("a client");
        let mut reader = BufReader::new(stream);
        let head: Vec<_> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let mut body = [0; "it's & 100% gone".len()];
        reader.read_exact(&mut body).expect("a body");
        let answer = b"HTTP/1.1 204 No Content\r\nDate: Sun, 22 Nov 2026 01:02:03 GMT\r\n\r\n";
        reader.get_mut().write_all(answer).expect("a reader");
        (head[0].clone(), String::from_utf8_lossy(&body).into_owned())
    });
    let output = run(&text, &["failed", "it's & 100% gone", "-S"], &[]);
    assert!(output.status.success());
    let (line, body) = request.join().expect("a request");
    assert_eq!(line, "POST /event/52-54-00-12-34-56/token/failed HTTP/1.1");
    assert_eq!(body, "it's & 100% gone");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Date: Sun, 22 Nov 2026 01:02:03 GMT"), "{output:?}");
    // The listener is gone by now.
    assert!(run(&text, &["started"], &[]).status.success());
}

#[test]
fn the_first_failure_in_the_log_is_reported_once() {
    if !has("busybox") || !has("mkfifo") {
        return skip("busybox or mkfifo is not installed (packages busybox, coreutils)");
    }
    let folder = TempDir::new().expect("a folder");
    let root = folder.path();
    let [log, fifo] = ["syslog", "fifo"].map(|name| root.join(name));
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    write(
        &log,
        "Nov 23 01:00:00 main-menu[261]: INFO: Menu item 'netcfg' selected\n\
         Nov 23 01:00:01 main-menu[261]: WARNING **: Configuring 'netcfg' failed with error code 10\n\
         Nov 23 01:00:02 main-menu[261]: WARNING **: Configuring 'partman-base' failed with error code 1\n\
         Nov 23 01:00:03 main-menu[261]: WARNING **: Configuring 'pkgsel' failed with error code 100\n",
    );
    executable(&root.join("report"), "#!/bin/sh\necho \"$*\" >\"$FIFO\"\n");
    let text = script("/usr/lib/provisioner/watch")
        .replace("/var/log/syslog", log.to_str().expect("text"))
        .replace("/usr/lib/provisioner/report", root.join("report").to_str().expect("text"));
    let mut watch = Command::new("busybox").args(["sh", "-c", &text]).env("FIFO", &fifo).spawn().expect("busybox");
    let report = fs::read_to_string(&fifo).expect("a report");
    assert_eq!(report, "failed Configuring 'partman-base' failed with error code 1\n");
    // tail ends when it has something to say and nobody listens.
    fs::OpenOptions::new().append(true).open(&log).and_then(|mut log| log.write_all(b"one more\n")).expect("a log");
    assert!(watch.wait().expect("an end").success());
}

#[test]
fn every_script_is_one_for_busybox() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let mut distinct = BTreeSet::new();
    for case in super::matrix() {
        let mut all = scripts(&case);
        assert_eq!(all.len(), 9, "{:?}", all.keys());
        all.insert("setup.sh".into(), case.files()["setup.sh"].clone());
        distinct.extend(all.into_iter().filter(|(name, _)| !name.ends_with(".templates")));
    }
    for (name, text) in distinct {
        assert!(text.starts_with("#!/bin/sh\n") && text.ends_with('\n'), "{name}");
        let mut checker = Command::new("busybox").args(["sh", "-n"]).stdin(Stdio::piped()).spawn().expect("busybox");
        checker.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a reader");
        assert!(checker.wait().expect("a result").success(), "{name}:\n{text}");
    }
}
