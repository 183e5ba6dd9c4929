//! What a machine is handed over to, what it tells of itself, and what runs here when it is done.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use provisioner::model::Mac;
use sha2::{Digest, Sha256};

use super::{
    client::{HTTP, curl, dhcpcd, settle, status, text, tftp},
    firmware::{Card, Voice},
    house::{House, PASSWORD},
    output::{read_all, shows_none_of},
    program::Program,
};

const MACHINE: Mac = Mac([0x52, 0x54, 0, 0xc0, 0xff, 0xee]);
const PASSPHRASE: &str = "opens no disk of mine";
const TOOLS: [&str; 4] = ["dhcpcd", "curl", "tftp", "ssh-keygen"];

/// A machine at the other end of the cable, by the addresses that only it was told.
struct Machine<'a> {
    house: &'a House,
    answers: String,
}

impl<'a> Machine<'a> {
    fn boots(house: &'a House) -> Self {
        settle(&house.lan, Card::plug(&house.lan, MACHINE).asks_to_boot(Voice::Uefi).address);
        let script = text(tftp(&house.lan, "debian-installer/amd64/grub/grub.cfg"));
        let url = script.split_ascii_whitespace().find_map(|word| word.strip_prefix("url=")).expect("an address");
        Self { house, answers: url.strip_prefix(HTTP).expect("an address of ours").to_owned() }
    }

    fn token(&self) -> &str {
        self.answers.split('/').nth(3).expect("a token")
    }

    fn reports(&self, name: &str, body: &str) -> u16 {
        let path = format!("/callback/{MACHINE}/{}/{name}", self.token());
        // `@`: curl would leave the line ends out of what it is given as an argument.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("body");
        fs::write(&file, body).expect("a file");
        status(&self.house.lan, &path, &["--data-binary", &format!("@{}", file.display())])
    }

    fn is_installed_and_boots(&self, program: &mut Program) {
        assert_eq!(self.reports("installed", ""), 204);
        settle(&self.house.lan, Card::plug(&self.house.lan, MACHINE).asks_to_boot(Voice::Uefi).address);
        dhcpcd(&self.house.lan, MACHINE);
        program.says(&format!("{MACHINE} booted from disk"));
    }

    /// A listener where its SSH server would be.
    fn takes_logins(&self) -> TcpListener {
        self.house.lan.client_place().run(|| TcpListener::bind("0.0.0.0:22")).expect("a free port")
    }
}

/// Public host keys by the real tool, as the machine has them in `folder`.
fn host_keys(folder: &Path) -> String {
    let make = |kind: &str| {
        let file = folder.join(kind);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", kind, "-N", "", "-C", "root@web1", "-f"]).arg(&file);
        assert!(keygen.status().expect("ssh-keygen").success());
        fs::read_to_string(file.with_extension("pub")).expect("a public key")
    };
    ["rsa", "ecdsa", "ed25519"].map(make).concat()
}

fn is_known(file: &Path, name: &str) -> bool {
    let found = Command::new("ssh-keygen").args(["-F", name, "-f"]).arg(file).output().expect("ssh-keygen");
    found.status.success() && String::from_utf8_lossy(&found.stdout).matches(" found: line").count() == 3
}

fn code(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    fs::write(folder.join("run"), "#!/bin/sh\n").expect("a script");
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn a_machine_is_handed_over_known_by_its_keys_and_its_command_runs_once() {
    let Some(house) = House::make(&TOOLS) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    code(&folder.path().join("code"));
    fs::write(folder.path().join("passphrase"), PASSPHRASE).expect("a file");
    let flags = [
        format!("--handoff-code={}", folder.path().join("code").display()),
        format!("--luks-passphrase-file={}", folder.path().join("passphrase").display()),
        "--on-done=env | grep ^PROVISIONER_ | sort; exit 3".to_owned(),
        "--hostname=web1.lab".to_owned(),
        "-vv".to_owned(),
    ];
    let all = house.flags();
    let arguments = || all.iter().chain(&flags).map(String::as_str);
    let mut program = house.start_by(r#"exec env PROVISIONER_NTP=192.0.2.1 "$@""#, arguments());
    program.says("provisioner: disk encryption: LUKS2, opened by a passphrase");
    program.says("provisioner: hand-off: ./run in ");
    program.says("ready to provision!");

    let machine = Machine::boots(&house);
    let preseed = text(curl(&house.lan, &machine.answers, &[]));
    let hash = preseed.split_ascii_whitespace().find(|word| word.starts_with("$6$")).expect("a hash").to_owned();
    let packed = curl(&house.lan, &machine.answers.replace("preseed.cfg", "handoff.tar"), &[]);
    assert!(packed.len().is_multiple_of(512) && packed.starts_with(b"run\0"), "a tar file");
    let wrong = machine.answers.replace(machine.token(), &"0".repeat(32)).replace("preseed.cfg", "handoff.tar");
    assert_eq!(status(&house.lan, &wrong, &[]), 404);

    let known_hosts = house.prefix().join("known_hosts");
    let keys = host_keys(folder.path());
    assert_eq!(machine.reports("host-keys", &format!("* {keys}")), 400);
    assert_eq!(machine.reports("host-keys", &"x".repeat(17 << 10)), 413);
    assert!(!known_hosts.exists());
    assert_eq!(machine.reports("host-keys", &keys), 204);
    program.says("reported 3 SSH host keys");
    let _ssh = machine.takes_logins();
    machine.is_installed_and_boots(&mut program);
    let way_in = program.says(&format!("{MACHINE} can be logged in to: "));
    let address = way_in.rsplit_once("root@").expect("an address").1.to_owned();
    assert!(way_in.contains(&format!("ssh -o UserKnownHostsFile={} root@", known_hosts.display())), "{way_in}");
    for name in [address.as_str(), "web1", "web1.lab"] {
        assert!(is_known(&known_hosts, name), "{name}");
    }

    settle(&house.lan, address.parse().expect("an address"));
    assert_eq!(machine.reports("handed-off", "not a number"), 400);
    assert_eq!(machine.reports("handed-off", "0\nall is well\n"), 204);
    program.says(&format!("{MACHINE} hand-off done"));
    program.says(&format!("{MACHINE} --on-done failed: exit status: 3"));
    assert_eq!(machine.reports("handed-off", "0\nall is well\n"), 204, "a report that is sent again");
    let ended = program.stop();
    let printed: Vec<_> = ended.out.iter().filter_map(|line| line.strip_prefix(&format!("{MACHINE} | "))).collect();
    assert_eq!(
        printed,
        [
            "PROVISIONER_ARCH=x86_64",
            "PROVISIONER_DISTRO=debian",
            "PROVISIONER_FLAVOUR=standard",
            "PROVISIONER_HANDOFF_STATUS=0",
            "PROVISIONER_HOSTNAME=web1.lab",
            &format!("PROVISIONER_IP={address}"),
            &format!("PROVISIONER_KNOWN_HOSTS={}", known_hosts.display()),
            &format!("PROVISIONER_MAC={MACHINE}"),
            "PROVISIONER_USER=root",
            "PROVISIONER_VERSION=13",
        ]
    );
    assert!(ended.err.contains("DEBUG") && ended.err.contains("/…/host-keys: 400"), "{}", ended.err);
    let mut kept = Vec::new();
    read_all(&house.prefix(), &mut kept);
    kept.extend([ended.out.join("\n"), ended.err].map(String::into_bytes));
    shows_none_of(&kept, &[PASSWORD, &hash, PASSPHRASE, machine.token()]);
    let digest = Sha256::digest(&packed);
    assert!(!kept.iter().any(|bytes| Sha256::digest(bytes) == digest), "the code is nowhere in the cache");

    let mut program = house.start_with(arguments());
    program.says("ready to provision!");
    dhcpcd(&house.lan, MACHINE);
    assert_eq!(machine.reports("handed-off", "0\n"), 204);
    let ended = program.stop();
    assert!(!ended.out.iter().any(|line| line.contains(" | ")), "it was done before: {:#?}", ended.out);
}

/// With dropbear for a server: to install OpenSSH's is to start it on whoever's machine this is.
#[test]
fn ssh_believes_the_keys_that_a_machine_told_and_no_others() {
    let tools: Vec<_> = TOOLS.into_iter().chain(["ssh", "dropbear", "dropbearconvert"]).collect();
    let Some(house) = House::make(&tools) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let keys = host_keys(folder.path());
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    let machine = Machine::boots(&house);
    assert_eq!(machine.reports("host-keys", &keys), 204);
    machine.is_installed_and_boots(&mut program);
    let way_in = program.says("can be logged in to: ssh -o UserKnownHostsFile=");
    let address = way_in.rsplit_once('@').expect("an address").1;
    settle(&house.lan, address.parse().expect("an address"));

    let (key, converted) = (folder.path().join("ed25519"), folder.path().join("dropbear"));
    let mut convert = Command::new("dropbearconvert");
    assert!(
        convert.args(["openssh", "dropbear"]).args([&key, &converted]).status().expect("dropbearconvert").success()
    );
    let mut server = house.lan.client("dropbear");
    let server = Program::start(server.args(["-F", "-E", "-r"]).arg(&converted).args(["-p", "0.0.0.0:22"]));
    server.warns("Not backgrounding");
    let file = format!("UserKnownHostsFile={}", house.prefix().join("known_hosts").display());
    let ssh = || {
        let mut ssh = house.lan.server("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", &file]);
        let output = ssh.args(["-o", "GlobalKnownHostsFile=none", &format!("root@{address}")]).output().expect("ssh");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (believed, refused) = ("Permission denied (", "Host key verification failed");
    let said = ssh();
    assert!(said.contains(believed) && !said.contains(refused), "{said}");
    let others = tempfile::tempdir().expect("a folder");
    assert_eq!(machine.reports("host-keys", &host_keys(others.path())), 204);
    let said = ssh();
    assert!(said.contains(refused) && !said.contains(believed), "{said}");
    program.stop();
}

#[test]
fn under_sudo_the_command_is_the_callers_and_the_end_of_the_program_is_its_end() {
    let Some(house) = House::make(&TOOLS) else { return };
    let flags = house.flags();
    let on_done = "--on-done=id; echo waiting; sleep 1000";
    let mut program = house.start_by(
        r#"exec env SUDO_UID=612345 SUDO_GID=612346 "$@""#,
        flags.iter().map(String::as_str).chain([on_done]),
    );
    program.says("ready to provision!");
    let machine = Machine::boots(&house);
    let _ssh = machine.takes_logins();
    machine.is_installed_and_boots(&mut program);
    let lease = house.lan.client_ip(&["-4", "-o", "addr", "show", "dev", "eth0"]);
    assert!(lease.contains("192.168.42."), "it keeps its address: {lease}");
    program.says("| uid=612345 gid=612346 groups=612346");
    program.says("| waiting");
    let ended = program.stop();
    assert!(ended.out.contains(&format!("{MACHINE} --on-done failed: signal: 15 (SIGTERM)")), "{:#?}", ended.out);
}

#[test]
fn a_machine_whose_installation_fails_is_held_until_the_next_start() {
    let Some(house) = House::make(&["curl", "tftp"]) else { return };
    let mut program = house.start(&[]);
    program.says("ready to provision!");
    for _ in 0..3 {
        let machine = Machine::boots(&house);
        program.says("asked to boot (UEFI x86_64)");
        assert_eq!(machine.reports("started", ""), 204);
        assert_eq!(machine.reports("failed", "no disk"), 204);
        program.says("failed: no disk");
    }
    let script = || {
        settle(&house.lan, Card::plug(&house.lan, MACHINE).asks_to_boot(Voice::Uefi).address);
        text(tftp(&house.lan, "debian-installer/amd64/grub/grub.cfg"))
    };
    assert!(!script().contains("\nlinux "));
    program.says("asked to boot again, but its installation fails: held until the next start of this program");
    program.stop();

    let mut program = house.start(&[]);
    program.says("ready to provision!");
    assert!(script().contains("\nlinux "));
    program.says("asked to boot (UEFI x86_64)");
    program.stop();
}

#[test]
fn without_a_terminal_the_file_for_the_passphrase_is_named() {
    let Some(house) = House::make(&["setsid"]) else { return };
    let before = house.host();
    let flags = house.flags();
    let arguments = flags.iter().map(String::as_str).chain(["--luks"]);
    let program = house.start_by(r#"exec setsid -w "$@""#, arguments);
    house.refuses(program, &before, &["asking for the disk passphrase", "--luks-passphrase-file"]);
}
