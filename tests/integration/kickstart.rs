//! Fedora and its family: what is asked for, as kickstarts, command lines and paths.

mod matrix;
mod packages;
mod sections;
mod validator;

use std::{collections::BTreeMap, net::Ipv4Addr};

use provisioner::{
    distro::{AnswerContext, Catalogue, Release, Source, answer_files, answers, kernel_args},
    fetch::Keyring,
    model::{Arch, Disk, Encryption, Endpoints, Firmware, Hinted, Host, InstallRecipe, Layout, Mac, Passphrase},
};

use crate::answers::golden;

const FAMILY: [&str; 4] = ["fedora", "centos-stream", "rocky", "almalinux"];
const HASH: &str = "$6$saltsaltsalt$0123456789abcdefABCDEF./";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample o'brien@laptop";
const PASSPHRASE: &str = "correct horse $battery #1";
const CALLBACKS: &str = "http://192.168.42.1:4280/event/52-54-00-12-34-56/token";

/// Everything that an [`AnswerContext`] borrows.
struct Case {
    release: Release,
    recipe: InstallRecipe,
    host: Host,
    own_args: Vec<String>,
    code: bool,
    own: Option<String>,
}

impl Case {
    fn new(id: &str, version: &str, flavour: &str) -> Self {
        let distro = Catalogue::embedded().distro(id).expect(id);
        let mirrors = distro.public_mirrors();
        let release = distro.release(version).expect("a known release").clone();
        Self {
            release: Release::new(distro, &release, flavour, Arch::X86_64, mirrors).expect("a release"),
            recipe: InstallRecipe {
                locale: "de_DE.UTF-8".into(),
                keymap: "de".into(),
                timezone: "Europe/Berlin".into(),
                password: Some(HASH.parse().expect("a hash")),
                ssh_keys: vec![KEY.into()],
                flavour: flavour.into(),
                packages: vec!["vim-enhanced".into(), "gcc-c++".into()],
                ..InstallRecipe::default()
            },
            host: Host {
                mac: Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
                address: None,
                hostname: Some("node1.example.org".into()),
            },
            own_args: Vec::new(),
            code: false,
            own: None,
        }
    }

    /// With everything that a recipe may ask for.
    fn full(id: &str, version: &str, flavour: &str) -> Self {
        let mut case = Self::new(id, version, flavour);
        case.recipe.languages = vec!["en_US.UTF-8".into(), "fr_FR.UTF-8".into()];
        case.recipe.time_servers = vec!["192.168.42.1".into(), "pool.example.org".into()];
        case.recipe.user = Some("ada".into());
        case.recipe.layout = Layout::Lvm;
        case.recipe.disk = Disk::Size(500_000_000_000);
        case.encrypt(true);
        case.recipe.handoff.exec = Some("echo \"it's $(date)\" >/root/done; %end".into());
        case.code = true;
        case.own_args = vec!["quiet".into(), "---".into(), "console=ttyS0,115200n8".into()];
        case
    }

    fn encrypt(&mut self, tpm2: bool) {
        let passphrase = Some(Passphrase::try_from(PASSPHRASE.to_owned()).expect("a passphrase"));
        self.recipe.encryption = Some(Encryption { passphrase, tpm2 });
    }

    fn context(&self) -> AnswerContext<'_> {
        AnswerContext {
            release: &self.release,
            recipe: &self.recipe,
            host: &self.host,
            mac: None,
            endpoints: Endpoints { server: Ipv4Addr::new(192, 168, 42, 1), http_port: 4280 },
            answers_url: "http://192.168.42.1:4280/answers/52-54-00-12-34-56/token/kickstart.ks",
            callback_url: CALLBACKS,
            kernel_args: &self.own_args,
            outdated: false,
            handoff_code: self.code.then(|| "0".repeat(64).parse().expect("a digest")),
            own: self.own.as_deref(),
            append: "",
        }
    }

    fn answers(&self) -> String {
        answers(&self.context()).expect("answers")
    }
}

#[test]
fn kickstarts_and_command_lines_are_as_recorded() {
    let mut cases = vec![
        ("fedora-workstation", Case::new("fedora", "44", "Workstation")),
        ("fedora-server-full", Case::full("fedora", "43", "Server")),
        ("fedora-minimal-bare", Case::new("fedora", "38", "Minimal")),
        ("fedora-rocky-server", Case::new("rocky", "10", "server")),
    ];
    let bare = &mut cases[2].1;
    bare.recipe = InstallRecipe { flavour: "Minimal".into(), layout: Layout::Btrfs, ..InstallRecipe::default() };
    bare.host = Host::default();
    for (name, case) in cases {
        golden(&format!("answers/{name}.ks"), &case.answers());
        let line = kernel_args(&case.context()).expect("arguments").join(" ");
        golden(&format!("answers/{name}.cmdline"), &format!("{line}\n"));
        // COMMAND_LINE_SIZE is 2048 on x86 and arm64.
        assert!(line.len() < 1024, "{line}");
    }
    let own = Case { own: Some("# mine\ntext".into()), ..Case::full("fedora", "44", "Workstation") };
    golden("answers/fedora-own.ks", &own.answers());
}

#[test]
fn one_answer_file_is_all_that_the_installer_is_given() {
    let files: BTreeMap<_, _> = answer_files(&Case::full("almalinux", "9", "server").context()).expect("answers");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["kickstart.ks"]);
}

#[test]
fn what_is_fetched_is_where_the_mirrors_have_it() {
    let release = |id: &str, version: &str, flavour: &str| Case::new(id, version, flavour).release;
    let server = release("fedora", "44", "Server");
    assert_eq!(server.uid(), "fedora44-server-x86_64");
    assert_eq!(server.tree.as_deref(), Some("releases/44/Server/x86_64/os"));
    let checksum = server.checksum.as_ref().expect("a list");
    assert_eq!(checksum.file, "releases/44/Server/x86_64/iso/Fedora-Server-44-1.7-x86_64-CHECKSUM");
    assert_eq!(checksum.iso, "Fedora-Server-netinst-x86_64-44-1.7.iso");
    let paths: Vec<_> = server.tree_artifacts().map(|(path, _)| path).collect();
    for file in ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "images/install.img", "EFI/BOOT/grubx64.efi"] {
        assert!(paths.contains(&format!("releases/44/Server/x86_64/os/{file}")), "{file} not in {paths:?}");
    }
    let workstation = release("fedora", "43", "Workstation");
    assert_eq!(workstation.uid(), "fedora43-x86_64");
    assert_eq!(workstation.tree.as_deref(), Some("releases/43/Everything/x86_64/os"));
    let repos: Vec<_> = workstation.repos.iter().map(|repo| (repo.id.as_str(), repo.path.as_str())).collect();
    assert_eq!(repos, [("fedora", "releases/43/Everything/x86_64/os"), ("updates", "updates/43/Everything/x86_64")]);
    assert_eq!(
        workstation.repos[1].metalink.as_ref().expect("an address").as_str(),
        "https://mirrors.fedoraproject.org/metalink?repo=updates-released-f43&arch=x86_64"
    );
    assert_eq!(release("fedora", "38", "Workstation").repos[0].metalink, None, "it has left the mirror manager");

    for (id, tree, appstream) in [
        ("centos-stream", "10-stream/BaseOS/x86_64/os", "10-stream/AppStream/x86_64/os"),
        ("rocky", "10/BaseOS/x86_64/os", "10/AppStream/x86_64/os"),
        ("almalinux", "10/BaseOS/x86_64/os", "10/AppStream/x86_64/os"),
    ] {
        let release = release(id, "10", "server");
        assert_eq!(release.tree.as_deref(), Some(tree), "{id}");
        assert_eq!((&*release.repos[0].path, &*release.repos[1].path), (tree, appstream), "{id}");
        assert_eq!(release.checksum, None, "{id}");
    }
}

#[test]
fn every_machine_has_its_loader_and_every_loader_its_configuration() {
    for id in FAMILY {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let distro = Catalogue::embedded().distro(id).expect(id);
            let (data, mirrors) = (distro.releases[0].clone(), distro.public_mirrors());
            let release =
                Release::new(distro.clone(), &data, &distro.default_flavour, arch, mirrors).expect("a release");
            let uefi = release.loader(Firmware::Uefi).expect("a loader");
            // The folder of what the firmware is told: GRUB's first guess.
            assert_eq!(release.grub_configs[0], format!("boot/{}/grub.cfg", release.uid()));
            assert!(uefi.files[0].name.starts_with("shim") && uefi.files[1].name.starts_with("grub"), "{uefi:?}");
            assert_eq!(release.loader(Firmware::Bios).is_some(), arch == Arch::X86_64, "{id}");
            for artifact in release.artifacts() {
                let Source::Rpm { repo, .. } = &artifact.sources[0] else { continue };
                assert!(release.repos.iter().any(|known| known.id == *repo), "{id}: {repo}");
            }
        }
    }
}

#[test]
fn the_key_of_every_release_is_among_its_familys_keys() {
    for id in FAMILY {
        let distro = Catalogue::embedded().distro(id).expect(id);
        let catalogue = Catalogue::embedded();
        let keys = catalogue.file(id, &distro.archive.keys).expect("keys");
        let keyring = Keyring::load(keys, &[]).expect("good keys");
        for release in &distro.releases {
            assert!(keyring.fingerprints().contains(&release.signer.as_str()), "{id} {release}");
        }
        for key in keyring.fingerprints() {
            assert!(distro.releases.iter().any(|release| release.signer == key), "{id}: {key} signs nothing");
        }
    }
}

#[test]
fn secrets_appear_where_they_are_needed_and_nowhere_else() {
    let case = Case::full("fedora", "44", "Workstation");
    let text = case.answers();
    let with = |secret: &str| text.lines().filter(|line| line.contains(secret)).collect::<Vec<_>>();
    assert_eq!(with(HASH).len(), 2, "{:?}", with(HASH));
    let [part, variable] = with(PASSPHRASE)[..] else { panic!("{:?}", with(PASSPHRASE)) };
    assert!(part.starts_with("part pv.01 ") && variable.starts_with("PASSWORD='"), "{part}\n{variable}");
    let line = kernel_args(&case.context()).expect("arguments").join(" ");
    assert!(!line.contains(HASH) && !line.contains("horse"), "{line}");
    assert!(line.contains(" inst.nosave=all_ks "), "the installer would keep a copy on the disk: {line}");
    let own = Case { own: Some(String::new()), ..case };
    assert!(!own.answers().contains(HASH) && !own.answers().contains("horse"));
}

#[test]
fn what_could_break_out_of_its_place_is_refused() {
    let spoil: [fn(&mut Case); 9] = [
        |case| case.host.hostname = Some("a\nrootpw --plaintext x".into()),
        |case| case.host.hostname = Some("a$(reboot)".into()),
        |case| case.recipe.packages.push("%end".into()),
        |case| case.recipe.packages.push("vim\n%end".into()),
        |case| case.recipe.locale = "C\n%include /etc/shadow".into(),
        |case| case.recipe.keymap = "us --x".into(),
        |case| case.recipe.timezone = "../etc".into(),
        |case| case.recipe.ssh_keys.push("ssh-rsa AAAA\n%pre\nreboot\n%end".into()),
        |case| case.recipe.handoff.exec = Some("true\nEND_OF_FILE\n%end".into()),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let mut case = Case::full("fedora", "44", "Workstation");
        spoil(&mut case);
        assert!(answer_files(&case.context()).is_err(), "{number}");
    }
    let mut case = Case::new("rocky", "9", "minimal");
    case.recipe.layout = Layout::Btrfs;
    let error = answer_files(&case.context()).expect_err("no btrfs there");
    assert_eq!(error.downcast_ref::<Hinted>().expect("a hint").hint, "--part takes plain, lvm");
}
