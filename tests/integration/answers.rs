//! Answer files as the installer's own tools see them.

mod scripts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use provisioner::{
    distro::{AnswerContext, Catalogue, Release, answer_files, answers, kernel_args},
    model::{Arch, Endpoints, Hinted, Host, InstallRecipe, Layout, Mac},
};

const HASH: &str = "$6$saltsaltsalt$0123456789abcdefABCDEF./";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample o'brien@laptop";
const VERSIONS: [&str; 2] = ["12", "13"];

/// Questions that no template list has, and why they are asked all the same.
const RUN_TIME_QUESTIONS: [(&str, &str); 4] = [
    // Made by db_register when the question comes up (partman's confirm_changes).
    ("d-i", "partman-lvm/confirm_nooverwrite"),
    ("d-i", "partman-md/confirm_nooverwrite"),
    // Asked by packages of the target, not by the installer.
    ("tasksel", "tasksel/first"),
    ("popularity-contest", "popularity-contest/participate"),
];

/// Everything that an [`AnswerContext`] borrows.
struct Case {
    release: Release,
    recipe: InstallRecipe,
    host: Host,
    own_args: Vec<String>,
    append: String,
}

impl Case {
    fn new(version: &str) -> Self {
        let distro = Catalogue::embedded().distro("debian").expect("debian");
        let mirrors = distro.public_mirrors();
        let release = distro.release(version).expect("a known release").clone();
        Self {
            release: Release::new(distro, &release, "standard", Arch::X86_64, mirrors).expect("a release"),
            recipe: InstallRecipe {
                locale: "de_DE.UTF-8".into(),
                keymap: "de".into(),
                timezone: "Europe/Berlin".into(),
                password: Some(HASH.parse().expect("a hash")),
                ssh_keys: vec![KEY.into()],
                flavour: "standard".into(),
                packages: vec!["vim".into(), "g++".into()],
                ..InstallRecipe::default()
            },
            host: Host {
                mac: Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
                address: None,
                hostname: Some("node1.example.org".into()),
            },
            own_args: vec!["quiet".into()],
            append: String::new(),
        }
    }

    fn context(&self) -> AnswerContext<'_> {
        AnswerContext {
            release: &self.release,
            recipe: &self.recipe,
            host: &self.host,
            mac: None,
            endpoints: Endpoints { server: Ipv4Addr::new(192, 168, 42, 1), http_port: 4280 },
            answers_url: "http://192.168.42.1:4280/answers/52-54-00-12-34-56/token/preseed.cfg",
            callback_url: "http://192.168.42.1:4280/event/52-54-00-12-34-56/token",
            kernel_args: &self.own_args,
            handoff_code: None,
            own: None,
            append: &self.append,
        }
    }

    fn files(&self) -> BTreeMap<String, String> {
        answer_files(&self.context()).expect("answers")
    }

    fn answers(&self) -> String {
        answers(&self.context()).expect("answers")
    }
}

/// Every combination of what a recipe may say.
fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        for flavour in ["minimal", "standard", "gnome"] {
            for layout in Layout::ALL {
                for choice in 0..8 {
                    let mut case = Case::new(version);
                    case.recipe.flavour = flavour.into();
                    case.recipe.layout = layout;
                    if choice & 1 != 0 {
                        case.recipe.disk = "/dev/disk/by-id/nvme-A_1".parse().expect("a disk");
                    }
                    if choice & 2 != 0 {
                        case.recipe.password = None;
                    }
                    if choice & 4 != 0 {
                        (case.recipe.ssh_keys, case.recipe.packages) = (vec![], vec![]);
                        case.host = Host::default();
                    }
                    cases.push(case);
                }
            }
        }
    }
    cases
}

/// Owner, question, type and value of each line.
fn questions(text: &str) -> impl Iterator<Item = (&str, &str, &str, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        (word(), word(), word(), word())
    })
}

fn value<'a>(text: &'a str, question: &str) -> &'a str {
    questions(text).find(|q| q.1 == question).unwrap_or_else(|| panic!("{question} is not answered")).3
}

/// Says why a test cannot run here; where everything must be there, that is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    eprintln!("skipped: {reason}");
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", program]).status();
    found.is_ok_and(|status| status.success())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Compares with a checked-in file; `UPDATE_GOLDEN=1` writes it instead.
fn golden(name: &str, text: &str) {
    let path = fixture(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("a writable fixture");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; UPDATE_GOLDEN=1 accepts what is rendered");
}

#[test]
fn debconf_accepts_every_answer_file() {
    if !has("debconf-set-selections") {
        return skip("debconf-set-selections is not installed (package debconf)");
    }
    let all: String = matrix().iter().map(Case::answers).collect();
    let mut checker = Command::new("debconf-set-selections")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("debconf-set-selections");
    checker.stdin.take().expect("a pipe").write_all(all.as_bytes()).expect("a reader");
    let output = checker.wait_with_output().expect("a result");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaints.contains("error"), "{complaints}");
}

#[test]
fn every_question_is_one_that_the_installer_knows() {
    for case in matrix() {
        let version = &case.release.version;
        let known = fs::read_to_string(fixture(&format!("debian/templates-{version}.txt"))).expect("a list");
        let known: BTreeSet<_> = known.lines().collect();
        let text = case.answers();
        let mut seen = BTreeSet::new();
        for (owner, question, kind, _) in questions(&text) {
            let run_time = RUN_TIME_QUESTIONS.contains(&(owner, question));
            assert!(run_time || (owner == "d-i" && known.contains(question)), "Debian {version}: {owner} {question}");
            let kinds = ["string", "select", "multiselect", "boolean", "password", "note"];
            assert!(kinds.contains(&kind), "{question}: {kind}");
            assert!(seen.insert(question), "{question} is answered twice");
        }
        for leftover in ["{{", "{%", "undefined", "none "] {
            assert!(!text.contains(leftover), "{leftover} in\n{text}");
        }
    }
}

#[test]
fn answer_files_and_command_lines_are_as_recorded() {
    for version in VERSIONS {
        for layout in Layout::ALL {
            let mut case = Case::new(version);
            case.recipe.layout = layout;
            let files = case.files();
            golden(&format!("answers/debian{version}-{layout}.cfg"), &files["preseed.cfg"]);
            let line = kernel_args(&case.context()).expect("arguments").join(" ");
            golden(&format!("answers/debian{version}-{layout}.cmdline"), &format!("{line}\n"));
        }
    }
    golden("answers/debian-setup.sh", &Case::new("13").files()["setup.sh"]);
}

#[test]
fn the_recipe_decides_what_is_installed_and_where() {
    let mut case = Case::new("13");
    assert_eq!(value(&case.answers(), "tasksel/first"), "standard, ssh-server");
    assert_eq!(value(&case.answers(), "pkgsel/include"), "vim g++ openssh-server ca-certificates");
    assert_eq!(value(&case.answers(), "partman-auto/method"), "regular");
    case.recipe.flavour = "minimal".into();
    case.recipe.layout = Layout::Lvm;
    assert_eq!(value(&case.answers(), "pkgsel/run_tasksel"), "false");
    assert_eq!(value(&case.answers(), "partman-auto/method"), "lvm");
    case.recipe.ssh_keys.clear();
    case.recipe.layout = Layout::Btrfs;
    assert_eq!(value(&case.answers(), "pkgsel/include"), "vim g++ ca-certificates");
    assert_eq!(value(&case.answers(), "partman/default_filesystem"), "btrfs");
    case.recipe.password = None;
    assert_eq!(value(&case.answers(), "passwd/root-password-crypted"), "*");

    let mut lines = case.answers().lines().map(str::to_owned).collect::<Vec<_>>();
    case.append = "d-i partman/mount_style select traditional".into();
    lines.push(case.append.clone());
    assert_eq!(case.answers().lines().collect::<Vec<_>>(), lines, "own lines come last");
}

#[test]
fn secrets_appear_where_they_are_needed_and_nowhere_else() {
    let case = Case::new("12");
    let text = case.answers();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(HASH)).collect();
    assert_eq!(lines, [format!("d-i passwd/root-password-crypted password {HASH}")]);
    assert!(!case.files()["setup.sh"].contains(HASH));
    assert!(!kernel_args(&case.context()).expect("arguments").iter().any(|argument| argument.contains(HASH)));
    assert!(!format!("{:?}", case.context()).contains(HASH));
}

#[test]
fn own_kernel_arguments_are_kept_unless_they_say_otherwise() {
    let mut case = Case::new("13");
    let mut tail = |own: &[&str]| {
        case.own_args = own.iter().map(ToString::to_string).collect();
        let arguments = kernel_args(&case.context()).expect("arguments");
        let end = arguments.iter().position(|a| a == "hw-detect/load_firmware=false").expect("the last of ours");
        arguments[end + 1..].join(" ")
    };
    assert_eq!(tail(&[]), "");
    assert_eq!(tail(&["a", "b=c"]), "--- a b=c");
    assert_eq!(tail(&["a", "---", "b"]), "a --- b");
    assert_eq!(tail(&["a", "---"]), "a");
    assert_eq!(tail(&["a", "---", "b", "---", "c"]), "a --- b c");
    let rehearse = &case.release.distro.rehearse.kernel_args;
    case.own_args = rehearse.iter().cloned().chain(["quiet".to_owned()]).collect();
    let line = kernel_args(&case.context()).expect("arguments").join(" ");
    assert!(line.ends_with(" DEBIAN_FRONTEND=text TERM=dumb --- console=ttyS0,115200n8 quiet"), "{line}");
    // COMMAND_LINE_SIZE is 2048 on x86 and arm64, and the kernel panics on more than 32 variables for init.
    assert!(line.len() < 1024 && line.split(' ').count() < 24, "{line}");
}

#[test]
fn a_machine_without_a_name_or_a_known_card_gets_neither() {
    let mut case = Case::new("13");
    let line = kernel_args(&case.context()).expect("arguments").join(" ");
    assert!(
        line.contains(" BOOTIF=01-52-54-00-12-34-56 hostname=node1 netcfg/hostname=node1 domain=example.org "),
        "{line}"
    );
    let other = AnswerContext { mac: Some(Mac([2, 0, 0, 0, 0, 1])), ..case.context() };
    assert!(kernel_args(&other).expect("arguments").contains(&"BOOTIF=01-02-00-00-00-00-01".to_owned()));
    case.host = Host::default();
    let line = kernel_args(&case.context()).expect("arguments").join(" ");
    assert!(!line.contains("BOOTIF") && !line.contains("hostname") && !line.contains("domain"), "{line}");
    assert!(!case.answers().contains("netcfg/get_hostname"));
}

#[test]
fn what_could_break_out_of_its_place_is_refused() {
    let spoil: [fn(&mut Case); 9] = [
        |case| case.host.hostname = Some("a\nd-i passwd/root-login boolean false".into()),
        |case| case.host.hostname = Some("a$(reboot)".into()),
        |case| case.recipe.packages.push("vim; reboot".into()),
        |case| case.recipe.packages.push("vim\n".into()),
        |case| case.recipe.locale = "C\nd-i x/y string z".into(),
        |case| case.recipe.keymap = "us reboot".into(),
        |case| case.recipe.timezone = "../etc".into(),
        |case| case.recipe.ssh_keys.push("ssh-rsa AAAA\nEND_OF_FILE\nreboot".into()),
        |case| case.recipe.flavour = "huge".into(),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let mut case = Case::new("13");
        spoil(&mut case);
        let error = answer_files(&case.context()).expect_err("refused");
        assert!(error.downcast_ref::<Hinted>().is_some(), "{number}: {error:#}");
        assert!(kernel_args(&case.context()).is_err(), "{number}");
    }
    for argument in ["a b", "a;b", "$(x)", "a\nb", "\"a\""] {
        let mut case = Case::new("13");
        case.own_args = vec![argument.into()];
        assert!(kernel_args(&case.context()).is_err(), "{argument}");
    }
}
