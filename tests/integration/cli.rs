//! The program as its users start it: exit codes, one clear message, what goes to standard output. No privilege, no network.

use std::{path::Path, process::Command};

use assert_cmd::cargo::CommandCargoExt;

use crate::mounts::{in_own_mounts, replaced};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs the program with nothing of this machine's environment that could change what it does.
fn run(args: &[&str]) -> Ran {
    run_with(&[], args)
}

/// The same, with some variables set.
fn run_with(variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("provisioner").expect("the program");
    command.env_clear().env("HOME", "/nonexistent").envs(variables.iter().copied()).args(args);
    let output = command.output().expect("a run of the program");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn password_file(folder: &Path) -> String {
    let path = folder.join("password");
    std::fs::write(&path, "correct horse $battery\n").expect("a password file");
    path.display().to_string()
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.lines().all(|line| line.chars().count() <= 80), "{}", help.out);
    for flag in
        ["--interface", "--network", "--router", "--dns", "--http-port", "--prefix", "--distro", "--version", "--arch"]
    {
        assert!(help.out.contains(flag), "{flag} is missing in:\n{}", help.out);
    }
    let version = run(&["-V"]);
    assert_eq!((version.code, version.out.trim()), (0, concat!("provisioner ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn every_mistake_is_told_at_once_with_a_hint_and_exit_code_2() {
    let args = [
        "render",
        "answers",
        "--offline",
        "--distro=debian",
        "--router=192.168.42.1/24",
        "--ip=10.0.0.9",
        "--flavour=huge",
        "--arch=riscv64",
    ];

    let ran = run(&args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for part in ["--ip 10.0.0.9 is not in the network 192.168.42.0/24", "--ip reserves an address", "huge", "riscv64"] {
        assert!(ran.err.contains(part), "{part} is missing in:\n{}", ran.err);
    }
    assert_eq!(ran.err.matches("hint: ").count(), 4, "{}", ran.err);
    for unparsable in ["--mac=52:54", "--network=home", "--disk=/etc/passwd", "--part=zfs", "--nonsense"] {
        assert_eq!(run(&[unparsable]).code, 2, "{unparsable}");
    }
}

#[test]
fn a_mistake_in_the_flags_is_told_from_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = password_file(folder.path());
    for (flag, told) in [
        ("--mirror=/nonexistent".to_owned(), "--mirror /nonexistent: there is no such directory"),
        ("--mirror=ftp://me:secret@mirror.example/debian".to_owned(), "--mirror ftp://mirror.example/debian cannot be"),
        (format!("--mirror={file}"), "is not a directory"),
        ("--version=99".to_owned(), "Debian \"99\" is not known"),
        (format!("--keyring={file}"), "password: reading OpenPGP keys: "),
    ] {
        let ran = run(&["fetch", "--offline", "--distro=debian", "--flavour=huge", &flag]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{flag}: {}", ran.err);
        assert!(ran.err.contains(told) && ran.err.contains("no flavour \"huge\""), "{flag}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    let signed = run(&["fetch", "--offline", "--distro=rocky", "--trust=signed"]);
    assert_eq!((signed.code, signed.out.as_str()), (2, ""), "{}", signed.err);
    assert!(signed.err.contains("--trust signed: nothing that is signed is known of the boot files of Rocky Linux"));
    let prefix = format!("--prefix={}", folder.path().display());
    let fetched = run(&["fetch", "--offline", "--distro=debian", "--version=12", &prefix]);
    assert_eq!(fetched.code, 1, "an empty cache is no mistake in the flags: {}", fetched.err);
}

#[test]
fn whoever_reads_json_finds_one_kind_of_object_on_standard_error_for_every_error_and_note() {
    let gone = "--mirror=/nonexistent";
    for (args, level, told) in [
        (
            &["fetch", "--distro=debian", "--flavour=huge", "--arch=riscv64"][..],
            "ERROR",
            &["riscv64", "no flavour \"huge\""][..],
        ),
        (&["fetch", "--distro=debian", gone], "ERROR", &["there is no such directory"]),
        (&["cache", "size", "--prefix=/nonexistent"], "ERROR", &["there is no cache in /nonexistent"]),
        (&["render", "answers", "--distro=debian", "--version=13", "--offline"], "WARN", &["every account locked"]),
    ] {
        // No filter of diagnostics may hide why it ended.
        let ran = run_with(&[("RUST_LOG", "off")], &[args, &["--log-format=json"]].concat());
        assert_eq!(ran.err.lines().count(), told.len(), "{}", ran.err);
        for (line, told) in ran.err.lines().zip(told) {
            let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(object["level"], level, "{line}");
            let message = object["fields"]["message"].as_str().expect("a message");
            assert!(message.contains(told), "{line}");
            assert_eq!(object["fields"]["hint"].is_string(), level == "ERROR", "{line}");
            assert!(object["timestamp"].is_string() && object["target"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_password_given_for_its_hash_is_never_shown() {
    let ran = run(&["render", "answers", "--offline", "--distro=debian", "--password", "hunter2"]);
    assert_eq!(ran.code, 2);
    // clap names the flag and its value; the value may be somebody's password.
    assert!(!ran.out.contains("hunter2") && !ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn rendered_answers_are_all_of_standard_output_and_hold_a_hash_that_crypt_accepts() {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(&[
        "render",
        "answers",
        "--offline",
        "--distro=debian",
        "--version=12",
        "--password-file",
        &password_file(folder.path()),
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("#_preseed_V1"), "{}", ran.out);
    assert!(!ran.out.contains("correct horse"));
    let line = ran.out.lines().find(|line| line.contains("passwd/root-password-crypted")).expect("root's password");
    let hash = line.split_whitespace().last().expect("its hash");
    // perl's crypt is the C library's crypt(3), which pam_unix asks at a login.
    let script = r"print crypt($ARGV[0], $ARGV[1]) eq $ARGV[1] ? 'same' : 'other'";
    match Command::new("perl").args(["-e", script, "correct horse $battery", hash]).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "same", "{hash}"),
        Err(error) if std::env::var_os("CI").is_none() => eprintln!("skipped: perl: {error}"),
        Err(error) => panic!("perl: {error}"),
    }
}

#[test]
fn a_rendered_loader_is_a_script_for_the_firmware_that_was_named() {
    let uefi = run(&["render", "loader", "--offline", "--distro=debian", "--version=13", "--password=$6$salt$hash"]);
    assert_eq!((uefi.code, uefi.err.as_str()), (0, ""));
    assert!(uefi.out.contains("\nlinux (http,192.168.42.1:4280)/boot/debian13-x86_64/linux "), "{}", uefi.out);
    let bios = run(&[
        "render",
        "loader",
        "--offline",
        "--distro=debian",
        "--version=13",
        "--firmware=bios",
        "--password=$6$salt$hash",
    ]);
    assert!(bios.out.starts_with("#!ipxe\n"), "{}", bios.out);
}

#[test]
fn flags_come_from_the_environment_too_and_the_command_line_wins() {
    let variables = [("PROVISIONER_DISTRO", "debian"), ("PROVISIONER_VERSION", "12"), ("PROVISIONER_OFFLINE", "true")];
    let render = |args: &[&str]| run_with(&variables, &[&["render", "loader"], args].concat()).out;
    assert!(render(&[]).contains("debian12-x86_64"));
    assert!(render(&["--version=bookworm"]).contains("debian12-x86_64"));
    assert!(render(&["--version=13"]).contains("debian13-x86_64"));
}

#[test]
fn a_switch_in_the_environment_is_on_off_or_refused_and_an_empty_one_is_not_set() {
    // Nobody could log in with it: whether it is on is seen by what is refused.
    let on = "--lock-root leaves nobody who could log in";
    let refused = "invalid value 'perhaps' for '--lock-root'";
    for (value, code, told) in [
        ("1", 2, on),
        ("true", 2, on),
        ("TRUE", 2, on),
        ("yes", 2, on),
        ("on", 2, on),
        ("0", 0, ""),
        ("false", 0, ""),
        ("no", 0, ""),
        ("off", 0, ""),
        ("", 0, ""),
        ("perhaps", 2, refused),
    ] {
        let ran = run_with(&[("PROVISIONER_LOCK_ROOT", value)], &["render", "loader", "--offline", "--distro=debian"]);
        assert_eq!(ran.code, code, "{value:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{value:?}: {}", ran.err);
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let empty = ["MAC", "IP", "PREFIX", "VERSION", "LUKS", "DNS", "CACHE_SIZE", "LOG_FORMAT", "REFRESH"]
        .map(|name| format!("PROVISIONER_{name}"));
    let variables: Vec<_> = empty.iter().map(|name| (name.as_str(), "")).collect();
    let line = ["render", "loader", "--offline", "--distro=debian"];
    let (ran, unset) = (run_with(&variables, &line), run(&line));
    assert_eq!((ran.code, ran.out, ran.err), (0, unset.out, unset.err));
    assert_eq!(run(&["render", "loader", "--offline", "--distro=debian", "--mac="]).code, 2);
}

#[test]
fn an_unknown_distribution_is_answered_with_the_known_ones() {
    let ran = run(&["render", "answers", "--offline", "--distro=debain"]);
    assert_eq!(ran.code, 2);
    let told = ["there is no distribution \"debain\"", "hint: --distro takes almalinux or "];
    assert!(told.iter().all(|part| ran.err.contains(part)), "{}", ran.err);
}

#[test]
fn an_unknown_version_names_the_known_ones() {
    let ran = run(&["render", "answers", "--offline", "--distro=debian", "--version=7"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Debian \"7\" is not known") && ran.err.contains("13 (trixie)"), "{}", ran.err);
    // What else there is, Fedora's own list says, which was not asked.
    assert_eq!(run(&["render", "answers", "--offline", "--distro=fedora", "--version=99"]).code, 1);
}

#[test]
fn without_privileges_nothing_is_started_and_the_remedy_is_named() {
    if nix::unistd::Uid::effective().is_root() {
        // Root has them all; the netns tests drop them.
        return;
    }
    let ran = run(&["--offline", "--distro=debian", "--interface=lo"]);
    assert_ne!(ran.code, 0, "{}", ran.out);
}

#[test]
fn what_serves_no_machine_asks_for_no_name_server_that_machines_could_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    // As in a container, and behind a resolver of one's own.
    let stub = folder.path().join("resolv.conf");
    std::fs::write(&stub, "nameserver 127.0.0.11\nnameserver 2001:db8::1\n").expect("a file");
    let prefix = format!("--prefix={}", folder.path().display());
    in_own_mounts(|| {
        for list in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"]
        {
            let list = Path::new(list);
            if list.exists() {
                replaced(list, &stub);
            }
        }
        for (verb, code) in [(["render", "loader"], 0), (["fetch", "--boot-files-only"], 1), (["rehearse", "-v"], 2)] {
            let ran = run(&[&verb[..], &["--offline", "--distro=debian", "--version=12", &prefix]].concat());
            assert_eq!(ran.code, code, "{verb:?}: {}", ran.err);
            assert_eq!(ran.err.contains("no name server is known"), code == 2, "{verb:?}: {}", ran.err);
        }
    });
}
