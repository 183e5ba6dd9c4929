//! The scripts that the installer is given, run with a busybox shell like its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use provisioner::model::Disk;
use tempfile::TempDir;

use super::{Case, has, skip};

/// The shells that installers have.
pub(super) const SHELLS: [&[&str]; 3] = [&["busybox", "sh"], &["dash"], &["bash"]];

/// The files that `setup.sh` writes in the installer, by path.
pub(super) fn scripts(case: &Case) -> BTreeMap<String, String> {
    written_by(&case.files()["setup.sh"])
}

pub(super) fn written_by(setup: &str) -> BTreeMap<String, String> {
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

pub(super) fn script(name: &str) -> String {
    scripts(&Case::new("13")).remove(name).unwrap_or_else(|| panic!("setup.sh writes no {name}"))
}

fn run(text: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    run_in(SHELLS[0], text, arguments, environment)
}

pub(super) fn run_in(shell: &[&str], text: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", text, "sh"]).args(arguments).stdin(Stdio::null());
    command.envs(environment.iter().copied()).output().expect(shell[0])
}

pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

pub(super) fn executable(path: &Path, text: &str) {
    write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
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
        "#!/bin/sh\n[ -e $LOG.2 ] && echo /dev/sdq && exit 0\necho \"no $2 here\" >&2\nexit 1\n",
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
