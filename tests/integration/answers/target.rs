//! What is done to the installed system, with fakes of the tools that only an installer has.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{
    Case, KEY, SECRET, encryption, has,
    scripts::{executable, scripts, write},
    skip,
};

pub(super) const LAST_STEPS: &str = "/usr/lib/finish-install.d/58provisioner";

/// A disk with a new system on it, the tools of the installer, and those of the system.
pub(super) struct Target(TempDir);

impl Target {
    pub(super) fn new() -> Self {
        let target = Self(TempDir::new().expect("a folder"));
        for folder in ["etc/apt", "etc/sudoers.d", "home/ada", "var/lib/apt/lists", "var/log"] {
            fs::create_dir_all(target.path(folder)).expect("a folder");
        }
        let root = target.path("").display().to_string();
        let root = root.trim_end_matches('/');
        let moved = ["/var/", "/etc/", "/usr/local/", "/usr/sbin/sshd"];
        let moved: String = moved.iter().map(|path| format!("s#{path}#{root}{path}#g;")).collect();
        // What runs in the new system finds that system's folders.
        target.tool("chroot", &format!("shift; sed '{moved}' | \"$@\""));
        target.tool("in-target", &format!("[ $1 = --pass-stdout ] && sed '{moved}' \"{root}$3\" | $2"));
        for name in ["chown", "usermod"] {
            target.tool(name, "echo \"${0##*/} $*\" >>$LOG");
        }
        target.tool("getent", &format!("echo $2:x:1000:1000::{root}/home/$2:/bin/bash"));
        target.tool("report", "echo \"report $*\" >>$LOG");
        target
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    pub(super) fn tool(&self, name: &str, text: &str) {
        executable(&self.0.path().join("bin").join(name), &format!("#!/bin/sh\n{text}\n"));
    }

    /// A command whose tools are the fakes first.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").expect("a PATH");
        command.env("PATH", format!("{}:{path}", self.0.path().join("bin").display())).env("LOG", self.log());
        command
    }

    /// Runs the last steps on this disk; what the tools and the server were told.
    pub(super) fn finish(&self, case: &Case) -> String {
        self.run(&scripts(case)[LAST_STEPS])
    }

    pub(super) fn run(&self, text: &str) -> String {
        let text = text
            .replace("/target/", &format!("{}/", self.path("").display()).replace("//", "/"))
            .replace("bin=/usr/lib/provisioner", &format!("bin={}", self.0.path().join("bin").display()))
            .replace("/tmp/provisioner.said", self.0.path().join("said").to_str().expect("text"));
        let output = self.command("busybox").args(["sh", "-c", &text]).output().expect("busybox");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(super) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).expect(name).permissions().mode() & 0o7777
    }
}

#[test]
fn the_installed_system_names_the_public_mirrors_only() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let target = Target::new();
    let ours = "http://192.168.42.1:4280/mirror";
    write(
        &target.path("etc/apt/sources.list"),
        &format!(
            "deb {ours}/debian/ trixie main\n# deb-src {ours}/debian trixie-updates main\n\
             deb {ours}/debian-security trixie-security main\ndeb http://own.example.org/debian own main\n"
        ),
    );
    write(
        &target.path("etc/apt/sources.list.d/x.sources"),
        &format!("Types: deb\nURIs: {ours}/debian\nSuites: trixie\n"),
    );
    write(&target.path("etc/apt/apt.conf"), "Acquire::http::Proxy \"http://192.168.42.1:4280/\";\nAPT::Color \"1\";\n");
    write(&target.path("var/lib/apt/lists/192.168.42.1:4280_mirror_debian"), "");
    assert_eq!(target.finish(&Case::new("13")), "");

    let read = |name: &str| fs::read_to_string(target.path(name)).expect(name);
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
    assert_eq!(fs::read_dir(target.path("var/lib/apt/lists")).expect("a folder").count(), 0);
    assert_eq!(read("root/.ssh/authorized_keys"), format!("{KEY}\n"));
    assert_eq!((target.mode("root/.ssh"), target.mode("root/.ssh/authorized_keys")), (0o700, 0o600));
}

#[test]
fn the_administrator_may_log_in_and_administer() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let mut case = Case::new("13");
    case.recipe.user = Some("ada".into());
    case.recipe.time_servers = vec!["192.168.42.1".into(), "pool.ntp.org".into()];
    let target = Target::new();
    let home = target.path("home/ada");
    assert_eq!(target.finish(&case), format!("usermod -a -G sudo ada\nchown -R ada: {}/.ssh\n", home.display()));
    assert_eq!(fs::read_to_string(home.join(".ssh/authorized_keys")).expect("keys"), format!("{KEY}\n"));
    assert_eq!((target.mode("home/ada/.ssh"), target.mode("home/ada/.ssh/authorized_keys")), (0o700, 0o600));
    assert!(!target.path("etc/sudoers.d/provisioner").exists(), "with a password sudo can ask for it");
    let servers = fs::read_to_string(target.path("etc/systemd/timesyncd.conf.d/provisioner.conf")).expect("servers");
    assert_eq!(servers, "[Time]\nNTP=192.168.42.1 pool.ntp.org\n");

    case.recipe.password = None;
    let target = Target::new();
    target.finish(&case);
    let rule = fs::read_to_string(target.path("etc/sudoers.d/provisioner")).expect("a rule");
    assert_eq!((rule.as_str(), target.mode("etc/sudoers.d/provisioner")), ("ada ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440));

    let target = Target::new();
    target.tool("usermod", "echo \"usermod: user 'ada' does not exist\" >&2; exit 6");
    assert_eq!(target.finish(&case), "report failed the administrator: usermod: user 'ada' does not exist\n");
}

#[test]
fn the_tpm_is_given_the_passphrase_and_may_refuse() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let mut case = Case::new("13");
    case.recipe.encryption = Some(encryption(true));
    let target = Target::new();
    write(&target.path("etc/crypttab"), "# <target name> <source device>\nvda3_crypt UUID=0a1b-2c none luks,discard\n");
    target.tool("clevis", "{ echo \"clevis $*\"; cat; } >>$LOG");
    let expected =
        "clevis luks bind -y -k - -d /dev/disk/by-uuid/0a1b-2c tpm2 {\"pcr_bank\":\"sha256\",\"pcr_ids\":\"7\"}\n";
    assert_eq!(target.finish(&case), format!("{expected}{SECRET}\n"));
    assert!(!target.path("var/lib/provisioner/bind-tpm").exists(), "the passphrase stays nowhere");

    let target = Target::new();
    write(&target.path("etc/crypttab"), "x UUID=1 none luks\n");
    target.tool("clevis", "echo 'A TPM2 device with the in-kernel resource manager is needed!' >&2; exit 1");
    let report =
        "report failed the TPM cannot open the disk: A TPM2 device with the in-kernel resource manager is needed!\n";
    assert_eq!(target.finish(&case), report);
    assert_eq!(
        Target::new().finish(&case).lines().last(),
        Some("report failed the TPM cannot open the disk: crypttab names no LUKS partition")
    );
}

#[test]
fn host_keys_are_reported_and_made_when_there_are_none() {
    if !has("busybox") {
        return skip("busybox is not installed (package busybox)");
    }
    let case = Case::new("12");
    let target = Target::new();
    assert_eq!(target.finish(&case), "", "no SSH server, no keys");
    executable(&target.path("usr/sbin/sshd"), "");
    fs::create_dir_all(target.path("etc/ssh")).expect("a folder");
    let made = target.path("etc/ssh/ssh_host_ed25519_key.pub");
    target.tool("ssh-keygen", &format!("[ \"$*\" = -A ] && echo ssh-ed25519 AAAA root@node1 >{}", made.display()));
    assert_eq!(target.finish(&case), "report host-keys ssh-ed25519 AAAA root@node1\n");
    fs::remove_file(target.log()).expect("a log");
    target.tool("ssh-keygen", "exit 1");
    write(&target.path("etc/ssh/ssh_host_rsa_key.pub"), "ssh-rsa BBBB root@node1\n");
    assert_eq!(target.finish(&case), "report host-keys ssh-ed25519 AAAA root@node1\nssh-rsa BBBB root@node1\n");
}
