//! Answer files as the installer's own tools see them.

mod disks;
mod handoff;
mod outdated;
mod places;
mod scripts;
mod target;

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
    model::{Arch, Encryption, Endpoints, Handoff, Host, InstallRecipe, Layout, Mac, Passphrase, Sha256Digest},
};

const HASH: &str = "$6$saltsaltsalt$0123456789abcdefABCDEF./";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample o'brien@laptop";
const SECRET: &str = "correct # horse  $battery";
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
    outdated: bool,
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
            outdated: false,
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
            outdated: self.outdated,
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

/// Every combination of what a recipe may say; flavours take turns.
fn matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        for layout in Layout::ALL {
            for choice in 0..64 {
                let mut case = Case::new(version);
                case.recipe.flavour = ["minimal", "standard", "gnome"][choice as usize % 3].into();
                case.recipe.layout = layout;
                vary(&mut case, choice);
                cases.push(case);
            }
        }
    }
    cases
}

/// One bit of `choice` for each thing that may be asked for or not.
fn vary(case: &mut Case, choice: u32) {
    let disks = ["/dev/disk/by-id/nvme-A_1", "smallest", "500G"];
    let recipe = &mut case.recipe;
    if choice & 1 != 0 {
        recipe.disk = disks[choice as usize % disks.len()].parse().expect("a disk");
        recipe.languages = vec!["fr_FR.UTF-8".into(), "it_IT.UTF-8".into()];
        recipe.time_servers = vec!["192.168.42.1".into(), "pool.ntp.org".into()];
    }
    if choice & 2 != 0 {
        recipe.password = None;
    }
    if choice & 4 != 0 {
        (recipe.ssh_keys, recipe.packages) = (vec![], vec![]);
        case.host = Host::default();
    }
    if choice & 8 != 0 {
        recipe.user = Some("ada".into());
        recipe.lock_root = choice & 1 != 0;
    }
    if choice & 16 != 0 {
        recipe.encryption = Some(encryption(choice & 1 != 0));
    }
    if choice & 32 != 0 {
        recipe.handoff = Handoff { exec: Some("echo 'ready' | logger".into()), code: None };
    }
}

fn encryption(tpm2: bool) -> Encryption {
    let passphrase = Some(Passphrase::try_from(SECRET.to_owned()).expect("a passphrase"));
    Encryption { passphrase, tpm2 }
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
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    eprintln!("skipped: {reason}");
}

pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", program]).status();
    found.is_ok_and(|status| status.success())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Compares with a checked-in file; `UPDATE_GOLDEN=1` writes it instead.
pub(crate) fn golden(name: &str, text: &str) {
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
fn what_else_can_be_asked_for_is_answered_as_recorded() {
    let mut case = Case::new("13");
    case.recipe.layout = Layout::Lvm;
    case.recipe.encryption = Some(encryption(false));
    golden("answers/debian13-luks-lvm.cfg", &case.files()["preseed.cfg"]);

    let mut case = Case::new("13");
    case.recipe.encryption = Some(encryption(true));
    golden("answers/debian13-luks-tpm2.cfg", &case.files()["preseed.cfg"]);

    let mut case = Case::new("13");
    vary(&mut case, 1 | 8);
    golden("answers/debian13-user.cfg", &case.files()["preseed.cfg"]);
    case.recipe.handoff = Handoff { exec: Some("./run --now".into()), code: None };
    case.recipe.encryption = Some(encryption(true));
    let context = AnswerContext { handoff_code: Some(Sha256Digest([0xab; 32])), ..case.context() };
    let setup = answer_files(&context).expect("answers").remove("setup.sh").expect("a script");
    golden("answers/debian-last-steps.sh", &scripts::written_by(&setup)[target::LAST_STEPS]);
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
    assert_eq!(value(&case.answers(), "passwd/make-user"), "false");

    let mut lines = case.answers().lines().map(str::to_owned).collect::<Vec<_>>();
    case.append = "d-i partman/mount_style select traditional".into();
    lines.push(case.append.clone());
    assert_eq!(case.answers().lines().collect::<Vec<_>>(), lines, "own lines come last");
}

#[test]
fn accounts_clocks_and_encryption_are_what_was_asked_for() {
    let mut case = Case::new("13");
    case.recipe.packages.clear();
    vary(&mut case, 1 | 8);
    let text = case.answers();
    assert_eq!(value(&text, "passwd/root-password-crypted"), "*", "root is locked");
    assert_eq!((value(&text, "passwd/username"), value(&text, "passwd/user-password-crypted")), ("ada", HASH));
    assert_eq!(value(&text, "localechooser/supported-locales"), "fr_FR.UTF-8, it_IT.UTF-8");
    assert_eq!(value(&text, "pkgsel/include"), "openssh-server ca-certificates sudo systemd-timesyncd");
    case.recipe.packages = vec!["chrony".into()];
    assert!(!value(&case.answers(), "pkgsel/include").contains("timesyncd"), "they exclude each other");
    (case.recipe.lock_root, case.recipe.password) = (false, None);
    assert_eq!(value(&case.answers(), "passwd/user-password-crypted"), "*");

    let mut case = Case::new("12");
    for layout in Layout::ALL {
        case.recipe.layout = layout;
        case.recipe.encryption = Some(encryption(false));
        let text = case.answers();
        assert_eq!(value(&text, "partman-auto/method"), "crypto", "{layout}");
        assert_eq!(value(&text, "partman-auto-lvm/guided_size"), "max");
        assert_eq!(value(&text, "partman-crypto/passphrase"), SECRET);
        assert_eq!(value(&text, "partman-crypto/passphrase-again"), SECRET);
        assert_eq!(value(&text, "partman-auto-crypto/erase_disks"), "false");
        assert!(!value(&text, "pkgsel/include").contains("clevis"));
    }
    case.recipe.encryption = Some(encryption(true));
    assert!(value(&case.answers(), "pkgsel/include").ends_with(" clevis-tpm2 clevis-luks clevis-initramfs"));
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
