//! The hand-off: prepared in the new system, and its first start against a server.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread::JoinHandle,
};

use provisioner::{
    distro::{AnswerContext, answer_files},
    model::{Handoff, Sha256Digest},
};
use sha2::{Digest as _, Sha256};

use super::{
    Case, has,
    scripts::{SHELLS, scripts, written_by},
    skip,
    target::{LAST_STEPS, Target},
};

const FIRST_BOOT: &str = "usr/local/lib/provisioner/first-boot";
const DONE: &str = "var/lib/provisioner/handoff.done";
const RESULT: &str = "var/lib/provisioner/handoff.result";

fn case(command: &str) -> Case {
    let mut case = Case::new("13");
    case.recipe.handoff = Handoff { exec: Some(command.into()), code: None };
    case
}

/// A system that has been prepared to run `command`.
fn prepared(command: &str) -> Target {
    let target = Target::new();
    assert_eq!(target.finish(&case(command)), "");
    target
}

/// Its first start, with reports going to `address`.
fn start(target: &Target, address: &str) -> Command {
    let text = fs::read_to_string(target.path(FIRST_BOOT)).expect("a script").replace("192.168.42.1:4280", address);
    // As the unit calls it.
    let mut command = target.command("bash");
    command.args(["-c", &text]).stdin(Stdio::null());
    command
}

fn first_start(target: &Target, address: &str) -> Output {
    start(target, address).output().expect("bash")
}

/// Takes one report: its first line and its body.
fn one_report() -> (String, JoinHandle<(String, String)>) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    let report = std::thread::spawn(move || {
        let (stream, _) = server.accept().expect("a client");
        let mut reader = BufReader::new(stream);
        let head: Vec<_> = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        reader.read_exact(&mut body).expect("a body");
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("a reader");
        (head[0].clone(), String::from_utf8(body).expect("text"))
    });
    (address, report)
}

fn shells() -> bool {
    let all = SHELLS.iter().all(|shell| has(shell[0]));
    if !all {
        skip("busybox, dash or bash is not installed (packages of the same names)");
    }
    all
}

#[test]
fn the_command_runs_once_and_its_result_is_reported() {
    if !shells() {
        return;
    }
    let target = prepared("pwd; echo ran >>../times; echo; echo \"it's über\" >&2; echo '  '; exit 3");
    assert_eq!(target.mode(FIRST_BOOT), 0o700);
    assert_eq!(target.mode("var/lib/provisioner/handoff"), 0o700);
    let wanted = target.path("etc/systemd/system/multi-user.target.wants/provisioner-handoff.service");
    let unit = fs::read_to_string(&wanted).expect("an enabled unit");
    assert!(unit.contains("provisioner/handoff.done\n") && unit.contains("ExecStart=/bin/bash "), "{unit}");

    let (address, report) = one_report();
    let output = first_start(&target, &address);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let (line, body) = report.join().expect("a report");
    assert_eq!(line, "POST /event/52-54-00-12-34-56/token/handed-off HTTP/1.1");
    assert_eq!(body, "3\nit's über");
    let folder = target.path("var/lib/provisioner/handoff");
    let said = format!("{}\n\nit's über\n  \n", folder.display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), said, "the journal has it");
    let log = "var/log/provisioner-handoff.log";
    assert_eq!((fs::read_to_string(target.path(log)).expect("a log"), target.mode(log)), (said, 0o600));
    assert!(target.path(DONE).exists());

    // The power went while it reported: it reports, and does not run again.
    fs::remove_file(target.path(DONE)).expect("a file");
    let (address, report) = one_report();
    assert_eq!(first_start(&target, &address).status.code(), Some(3));
    assert_eq!(report.join().expect("a report").1, "3\nit's über");
    assert_eq!(fs::read_to_string(target.path("var/lib/provisioner/times")).expect("a count"), "ran\n");
}

#[test]
fn nobody_listening_does_not_matter() {
    if !shells() {
        return;
    }
    let target = prepared("echo fine");
    target.tool("sleep", "echo \"sleep $*\" >>$LOG");
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|server| server.local_addr()).expect("a port");
    let output = first_start(&target, &gone.to_string());
    assert!(output.status.success(), "{output:?}");
    assert!(target.path(DONE).exists());
    assert_eq!(fs::read_to_string(target.log()).expect("a log"), "sleep 5\n".repeat(4));

    // One that listens, and says nothing.
    let target = prepared("echo fine");
    target.tool("sleep", "");
    target.tool("timeout", "echo \"timeout $1\" >>$LOG; shift; exec /usr/bin/timeout 0.3 \"$@\"");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    assert!(first_start(&target, &silent.local_addr().expect("an address").to_string()).status.success());
    assert_eq!(fs::read_to_string(target.log()).expect("a log"), "timeout 15\n".repeat(5));
    assert!(target.path(DONE).exists());
}

#[test]
fn what_lost_power_runs_again_and_what_restarts_the_machine_does_not() {
    if !shells() || !has("mkfifo") {
        return;
    }
    let target = prepared("echo ran >>../times; cat ../fifo");
    let fifo = target.path("var/lib/provisioner/fifo");
    let run = |signal: &str| {
        // The command of the run before may still be reading from the last one.
        let _ = fs::remove_file(&fifo);
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        let (address, report) = one_report();
        let mut child = start(&target, &address).spawn().expect("bash");
        // It opens when the command reads: the script waits for it now.
        let mut end = fs::OpenOptions::new().write(true).open(&fifo).expect("a reader");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        if signal == "-KILL" {
            assert_eq!(child.wait().expect("an end").signal(), Some(9));
            drop(end);
            return None;
        }
        // The service manager stops the script alone: the command goes on to its end.
        end.write_all(b"down for restart\n").expect("a reader");
        drop(end);
        assert!(child.wait().expect("an end").success());
        Some(report.join().expect("a report").1)
    };
    assert_eq!(run("-KILL"), None);
    assert!(!target.path(RESULT).exists() && !target.path(DONE).exists());
    assert_eq!(run("-TERM").as_deref(), Some("0\ndown for restart"));
    assert!(target.path(RESULT).exists() && target.path(DONE).exists());
    assert_eq!(fs::read_to_string(target.path("var/lib/provisioner/times")).expect("a count"), "ran\nran\n");
}

#[test]
fn a_hostile_command_is_run_and_nothing_else() {
    if !shells() {
        return;
    }
    let commands = [
        "printf '%s\\n' END_OF_FIRST_BOOT END_OF_HANDOFF END_OF_FILE",
        "echo '$(touch pwned)' \"it's\" `echo back` \\\\ \"%s\" '{{ http }}' # comment",
        "echo a; echo \"$HOME\" '' ; exit 7",
    ];
    for text in commands {
        let target = prepared(text);
        let (address, report) = one_report();
        let output = first_start(&target, &address);
        let by_itself = Command::new("sh").args(["-c", text]).output().expect("sh");
        assert_eq!((&output.stdout, output.status), (&by_itself.stdout, by_itself.status), "{text}");
        report.join().expect("a report");
        assert_eq!(fs::read_dir(target.path("var/lib/provisioner/handoff")).expect("a folder").count(), 0, "{text}");
    }
}

/// The code as a tar file with one script in it, and its digest.
fn code(folder: &Path) -> (Vec<u8>, Sha256Digest) {
    let tar = folder.join("code.tar");
    fs::create_dir(folder.join("code")).expect("a folder");
    fs::write(folder.join("code/run"), "#!/bin/sh\ncat data\n").expect("a file");
    fs::write(folder.join("code/data"), "delivered\n").expect("a file");
    let mut packer = Command::new("tar");
    assert!(packer.arg("-cf").arg(&tar).arg("-C").arg(folder.join("code")).arg(".").status().expect("tar").success());
    let bytes = fs::read(tar).expect("a file");
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = digest.parse().expect("a digest");
    (bytes, digest)
}

#[test]
fn code_is_delivered_only_if_it_is_what_was_meant() {
    if !shells() || !has("tar") {
        return;
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let (bytes, digest) = code(folder.path());
    let mut damaged = bytes.clone();
    damaged[600] ^= 1;
    let case = case("sh run");
    let context = AnswerContext { handoff_code: Some(digest), ..case.context() };
    let setup = answer_files(&context).expect("answers").remove("setup.sh").expect("a script");
    for (served, report) in [
        (Some(&bytes), String::new()),
        (Some(&damaged), format!("not {digest}\n")),
        (None, "cannot be fetched from http://192.168.42.1:4280/answers/52-54-00-12-34-56/token/handoff.tar\n".into()),
    ] {
        let target = Target::new();
        let file = folder.path().join("served");
        let _ = fs::remove_file(&file);
        if let Some(bytes) = served {
            fs::write(&file, bytes).expect("a file");
        }
        // Ours in the installer, and the new system has it too.
        let fake = "while [ $# -gt 1 ]; do [ $1 != -O ] || to=$2; shift; done\nexec cp SERVED $to 2>/dev/null";
        target.tool("wget", &fake.replace("SERVED", file.to_str().expect("text")));
        target.tool("curl", "exit 22");
        let said = target.run(&written_by(&setup)[LAST_STEPS]);
        let handoff = target.path("var/lib/provisioner/handoff");
        assert!(!target.path("var/lib/provisioner/handoff.tar").exists());
        if report.is_empty() {
            assert_eq!(said, "");
            let (address, report) = one_report();
            assert!(first_start(&target, &address).status.success());
            assert_eq!(report.join().expect("a report").1, "0\ndelivered");
        } else {
            assert!(said.starts_with("report failed the hand-off cannot be prepared: "), "{said}");
            assert!(said.ends_with(&report), "{said}");
            assert!(!target.path(FIRST_BOOT).exists() && !handoff.join("data").exists());
        }
    }
}

#[test]
fn every_shell_prepares_the_same() {
    if !shells() {
        return;
    }
    let distro = &case("true").release.distro;
    let fragment = &distro.templates["handoff.sh"];
    assert!(!fragment.text.lines().any(|line| line.starts_with('%')), "kickstart takes that for a section");
    let mut outcomes = SHELLS.map(|shell| {
        let target = Target::new();
        // What a new system calls sh.
        target.tool("sh", &format!("exec {} \"$@\"", shell.join(" ")));
        let text = scripts(&case("true"))[LAST_STEPS].clone();
        assert_eq!(target.run(&text.replace("chroot /target /bin/sh", "chroot /target sh")), "", "{shell:?}");
        fs::read_to_string(target.path(FIRST_BOOT)).expect("a script").replace(&*target.path("").to_string_lossy(), "")
    });
    outcomes.sort();
    assert_eq!(outcomes[0], outcomes[2]);
}
