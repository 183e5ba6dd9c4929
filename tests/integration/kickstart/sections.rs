//! The scripts in a kickstart's sections, run in the order in which the installer runs them.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use provisioner::model::Disk;
use tempfile::TempDir;

use super::{Case, HASH, PASSPHRASE, matrix::matrix};
use crate::answers::{has, skip};

/// Kind and text of every section but `%packages`, in the order of the file.
fn scripts(kickstart: &str) -> Vec<(&str, String)> {
    let mut scripts = Vec::new();
    let mut lines = kickstart.lines();
    while let Some(head) = lines.by_ref().find(|line| line.starts_with('%') && !line.starts_with("%include")) {
        let kind = head.split(' ').next().unwrap_or_default();
        let text =
            lines.by_ref().take_while(|line| *line != "%end").fold(String::new(), |text, line| text + line + "\n");
        scripts.extend((kind != "%packages").then_some((kind, text)));
    }
    scripts
}

/// The installer's environment: its temporary files, the new system, a `curl` and a `chroot` that write down what they are
/// asked for.
struct Sandbox(TempDir);

const CURL: &str = r#"#!/bin/sh
for url; do :; done
while [ "$1" != --data-raw ]; do shift; done
printf '%s|%s\n' "${url##*/}" "$2" >>"$LOG"
exit ${CURL:-0}
"#;

/// Runs scripts on the files below the new root by rewriting their paths.
const CHROOT: &str = r##"#!/bin/sh
root=$1
shift
case $1 in
sh) sed "s#\(^\|[ =>]\)/\(etc\|usr\|var\)/#\1$root/\2/#g" | sh; exit ;;
systemd-cryptenroll) echo "chroot with ${PASSWORD-no passphrase}: $*" >>"$LOG"; echo "$ENROLL" >&2; [ -z "$ENROLL" ]; exit ;;
*) echo "chroot $*" >>"$LOG"; exit ;;
esac
"##;

const SSH_KEYGEN: &str = r#"#!/bin/sh
echo "ssh-ed25519 AAAAC3 root@new" >"$ANA_INSTALL_PATH/etc/ssh/ssh_host_ed25519_key.pub"
"#;

impl Sandbox {
    /// A machine with an installed system, and with `disk`, if any.
    fn new(disk: Option<&str>) -> Self {
        let sandbox = Self(TempDir::new().expect("a folder"));
        let root = sandbox.0.path();
        for folder in ["bin", "tmp", "sys/block", "sys/devices", "dev", "new/etc/ssh", "new/usr/sbin"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for (name, text) in [
            ("bin/curl", CURL),
            ("bin/chroot", CHROOT),
            ("bin/ssh-keygen", SSH_KEYGEN),
            ("bin/restorecon", "#!/bin/sh\n"),
            ("new/usr/sbin/sshd", "#!/bin/sh\n"),
        ] {
            fs::write(root.join(name), text).expect("a file");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        fs::write(root.join("mounts"), "").expect("a file");
        fs::write(
            root.join("new/etc/crypttab"),
            "# made by the installer\nluks-1 UUID=1 none discard\nluks-2 UUID=2\n",
        )
        .expect("a file");
        if let Some(disk) = disk {
            sandbox.plug(disk);
        }
        sandbox
    }

    fn plug(&self, disk: &str) {
        let place = self.0.path().join("sys/devices").join(disk);
        fs::create_dir_all(&place).expect("a folder");
        for (name, text) in [("size", "1953525168\n"), ("removable", "0\n"), ("ro", "0\n")] {
            fs::write(place.join(name), text).expect("a file");
        }
        symlink(&place, self.0.path().join("sys/block").join(disk)).expect("a link");
        fs::write(self.0.path().join("dev").join(disk), "").expect("a file");
    }

    fn run(&self, script: &str, environment: &[(&str, &str)]) -> Output {
        let root = self.0.path();
        let dev = root.join("dev");
        let script = script
            .replace("/tmp/", &format!("{}/tmp/", root.display()))
            .replace("/dev/console", &format!("{}/console", root.display()))
            .replace("#/dev/}", &format!("#{}/}}", dev.display()));
        let path = format!("{}:{}", root.join("bin").display(), std::env::var("PATH").expect("a path"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("PATH", path).env("ANA_INSTALL_PATH", root.join("new"));
        command.env("LOG", root.join("log")).env("SYS", root.join("sys")).env("DEV", dev);
        command.env("MOUNTS", root.join("mounts")).stdin(Stdio::null());
        command.envs(environment.iter().copied()).output().expect("sh")
    }

    /// Runs every section of `kinds`, in that order, as an installation does. Each must succeed.
    fn install(&self, case: &Case, kinds: &[&str], environment: &[(&str, &str)]) -> String {
        let text = case.answers();
        for kind in kinds {
            for (_, script) in scripts(&text).iter().filter(|(of, _)| of == kind) {
                let output = self.run(script, environment);
                assert!(output.status.success(), "{kind}: {output:?}\n{script}");
                assert!(output.stderr.is_empty(), "{kind}: {output:?}\n{script}");
            }
        }
        self.read("log")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

const ALL: [&str; 3] = ["%pre", "%pre-install", "%post"];

/// What the script that chooses the disk writes on a machine with one SATA disk.
pub(super) fn chosen_disk(case: &Case) -> String {
    let sandbox = Sandbox::new(Some("sda"));
    sandbox.install(case, &["%pre"], &[]);
    sandbox.read("tmp/provisioner-disk.ks")
}

#[test]
fn an_installation_reports_each_step_in_order_and_its_host_keys() {
    let case = Case::new("fedora", "44", "Workstation");
    let log = Sandbox::new(Some("sda")).install(&case, &ALL, &[]);
    let expected = "started|\npartitioned|\nfinishing|\nhost-keys|ssh-ed25519 AAAAC3 root@new\ninstalled|\n";
    assert_eq!(log, expected);
    assert_eq!(chosen_disk(&case), "ignoredisk --only-use=sda\nzerombr\nclearpart --all --initlabel --drives=sda\n");
    // A desktop starts as one.
    let sandbox = Sandbox::new(Some("sda"));
    let units = sandbox.0.path().join("new/etc/systemd/system");
    fs::create_dir_all(&units).expect("a folder");
    symlink("/usr/lib/systemd/system/gdm.service", units.join("display-manager.service")).expect("a link");
    let log = sandbox.install(&case, &["%post"], &[]);
    assert!(log.starts_with("finishing|\nchroot systemctl set-default graphical.target\n"), "{log}");
    // A system without an SSH server has no keys to tell.
    let sandbox = Sandbox::new(Some("nvme0n1"));
    fs::remove_file(sandbox.0.path().join("new/usr/sbin/sshd")).expect("a file");
    let own = Case { own: Some("text".into()), ..case };
    assert_eq!(sandbox.install(&own, &ALL, &[]), "started|\npartitioned|\nfinishing|\ninstalled|\n");
    assert!(!sandbox.0.path().join("tmp/provisioner-disk.ks").exists(), "its disk is the operator's to choose");
}

#[test]
fn an_administrator_without_a_password_may_administer_all_the_same() {
    let mut case = Case::new("fedora", "44", "Minimal");
    case.recipe.user = Some("ada".into());
    let granted = |case: &Case| {
        let sandbox = Sandbox::new(Some("sda"));
        sandbox.install(case, &["%post"], &[]);
        sandbox.read("new/etc/sudoers.d/provisioner")
    };
    assert_eq!(granted(&case), "");
    case.recipe.password = None;
    assert_eq!(granted(&case), "ada ALL=(ALL) NOPASSWD: ALL\n");
}

#[test]
fn a_server_that_is_gone_does_not_fail_the_installation() {
    let case = Case::full("centos-stream", "9", "server");
    let case = Case { recipe: provisioner::model::InstallRecipe { disk: Disk::FirstFixed, ..case.recipe }, ..case };
    let log = Sandbox::new(Some("sda")).install(&case, &ALL, &[("CURL", "7"), ("ENROLL", "no such device")]);
    assert!(log.starts_with("started|\npartitioned|\nfinishing|\n") && log.ends_with("\ninstalled|\n"), "{log}");
}

#[test]
fn without_the_disk_it_says_so_once_and_waits_for_one() {
    let mut case = Case::new("fedora", "44", "Workstation");
    case.recipe.disk = Disk::Smallest;
    let sandbox = Sandbox::new(None);
    let texts = case.answers();
    let (_, choose) = &scripts(&texts).into_iter().filter(|(kind, _)| *kind == "%pre").nth(1).expect("a script");
    // The disk answers while the script waits for the second time.
    let sleep = sandbox.0.path().join("bin/sleep");
    let link = format!("ln -s {0}/hidden/vda {0}/sys/block/vda", sandbox.0.path().display());
    fs::write(&sleep, format!("#!/bin/sh\necho slept >>\"$LOG\"\n[ $(grep -c slept \"$LOG\") -lt 2 ] || {link}\n"))
        .expect("a file");
    fs::set_permissions(&sleep, fs::Permissions::from_mode(0o755)).expect("a mode");
    sandbox.plug("vda");
    fs::rename(sandbox.0.path().join("sys/devices"), sandbox.0.path().join("hidden")).expect("a folder");
    fs::remove_file(sandbox.0.path().join("sys/block/vda")).expect("a link");

    let output = sandbox.run(choose, &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(sandbox.read("log"), "failed|there is no fixed disk to install on\nslept\nslept\n");
    assert!(sandbox.read("console").contains("Nothing was touched"), "{}", sandbox.read("console"));
    assert!(sandbox.read("tmp/provisioner-disk.ks").contains("--drives=vda\n"));
}

#[test]
fn the_tpm_is_enrolled_with_the_passphrase_which_stays() {
    let mut case = Case::new("fedora", "44", "Workstation");
    case.encrypt(true);
    let sandbox = Sandbox::new(Some("sda"));
    let log = sandbox.install(&case, &["%post"], &[]);
    let enroll = |disk: &str| {
        format!(
            "chroot with {PASSPHRASE}: systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=7 /dev/disk/by-uuid/{disk}\n"
        )
    };
    let rest = "chroot dracut --force --regenerate-all\nhost-keys|ssh-ed25519 AAAAC3 root@new\ninstalled|\n";
    assert_eq!(log, format!("finishing|\n{}{}{rest}", enroll("1"), enroll("2")));
    assert_eq!(
        sandbox.read("new/etc/crypttab"),
        "# made by the installer\nluks-1 UUID=1 none discard,tpm2-device=auto\nluks-2 UUID=2 none tpm2-device=auto\n"
    );
    let sandbox = Sandbox::new(Some("sda"));
    let log = sandbox.install(&case, &["%post"], &[("ENROLL", "TPM2 support is not available")]);
    let report = "failed|the TPM of this machine does not open luks-2: TPM2 support is not available; the passphrase \
                  opens the disk\n";
    assert!(log.contains(report) && log.ends_with("installed|\n") && !log.contains("dracut"), "{log}");
    assert!(!sandbox.read("new/etc/crypttab").contains("tpm2"));
}

#[test]
fn a_hand_off_is_prepared_in_the_new_system_or_said_to_have_failed() {
    let mut case = Case::new("fedora", "44", "Workstation");
    case.recipe.handoff.exec = Some("echo \"it's $(date)\"; %end".into());
    let sandbox = Sandbox::new(Some("sda"));
    let log = sandbox.install(&case, &["%post"], &[]);
    assert!(!log.contains("failed"), "{log}");
    let script = sandbox.read("new/usr/local/lib/provisioner/first-boot");
    assert!(script.contains("\ncommand='echo \"it'\\''s $(date)\"; %end'\n"), "{script}");
    // curl brings no file here.
    case.code = true;
    let log = Sandbox::new(Some("sda")).install(&case, &["%post"], &[("CURL", "7")]);
    assert!(log.contains("failed|the hand-off cannot be prepared: ") && log.ends_with("installed|\n"), "{log}");
}

#[test]
fn a_failure_is_reported_in_the_installers_words() {
    let case = Case::new("rocky", "9", "server");
    let log = "04:12:01,001 INF anaconda: one\n04:12:03,120 ERR payload: nothing provides x\n04:12:04,1 DBG z: y\n";
    let traceback = "anaconda exception report\n  File \"x\"\nblivet.errors.DiskError: it's gone\n\na: b\n";
    for (files, expected) in [
        (vec![("anaconda.log", log)], "failed|payload: nothing provides x\n"),
        (vec![], "failed|the installer gave up without an error in its log\n"),
        (vec![("anaconda.log", log), ("anaconda-tb-1", traceback)], "failed|blivet.errors.DiskError: it's gone\n"),
    ] {
        let sandbox = Sandbox::new(None);
        for (name, text) in files {
            fs::write(sandbox.0.path().join("tmp").join(name), text).expect("a file");
        }
        assert_eq!(sandbox.install(&case, &["%onerror"], &[]), expected);
    }
}

#[test]
fn a_report_is_one_post() {
    if !has("curl") {
        return skip("curl is not installed (package curl)");
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let case = Case::new("fedora", "44", "Workstation");
    let text = case.answers().replace("192.168.42.1:4280", &address.to_string());
    let (_, started) = &scripts(&text)[0];
    let request = std::thread::spawn(move || {
        let (stream, _) = server.accept().expect("a client");
        let mut reader = BufReader::new(stream);
        let head: Vec<_> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length").parse();
        let mut body = vec![0; length.expect("a number")];
        reader.read_exact(&mut body).expect("a body");
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("a reader");
        (head[0].clone(), String::from_utf8_lossy(&body).into_owned())
    });
    let script = started.replace("report started", "report failed \"@it's & 100% gone\"");
    let run = || Command::new("sh").args(["-c", &script]).output().expect("sh");
    let output = run();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let (line, body) = request.join().expect("a request");
    assert_eq!(line, "POST /event/52-54-00-12-34-56/token/failed HTTP/1.1");
    assert_eq!(body, "@it's & 100% gone");
    // The listener is gone by now.
    assert!(run().status.success());
}

#[test]
fn every_section_is_a_good_script() {
    let mut distinct = BTreeSet::new();
    for case in matrix() {
        let text = case.answers();
        assert!(!text.contains("{{") && !text.contains("{%"), "{text}");
        distinct.extend(scripts(&text).into_iter().map(|(_, script)| script));
    }
    assert!(distinct.iter().all(|script| !script.contains(HASH)));
    let mut shells: Vec<&[&str]> = vec![&["sh", "-n"], &["bash", "-n"]];
    if has("shellcheck") {
        shells.push(&["shellcheck", "--shell=sh", "--severity=warning", "-"]);
    } else {
        skip("shellcheck is not installed (package shellcheck)");
    }
    for script in &distinct {
        for shell in &shells {
            let mut checker = Command::new(shell[0])
                .args(&shell[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it");
            checker.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("a reader");
            let output = checker.wait_with_output().expect("a result");
            assert!(output.status.success(), "{shell:?}: {}\n{script}", String::from_utf8_lossy(&output.stdout));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/distros");
    for id in &super::FAMILY[1..] {
        let files = fs::read_dir(folder.join(id)).expect("a folder").count();
        assert_eq!(files, 2, "{id} is a description and keys, nothing else");
    }
}
