//! Real firmware boots an installer of Anaconda's kind out of a miniature Fedora that is verified link by link.
//!
//! The tree is made here: its image signed by a test key, its repositories by createrepo_c. Loaders and kernel are Debian's signed
//! ones, because Fedora's servers are not at hand; the initial RAM disk is Debian's with `fedora/init` over it, which asks what
//! dracut and Anaconda ask, checks what it gets, and reports what the kickstart reports.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use provisioner::{
    distro::{Catalogue, Distro, Mirror, Release, ReleaseData},
    model::{Arch, EventKind, Firmware, InstallRecipe},
    plan::Plan,
    rehearse::{Options, Rehearsal},
};
use tempfile::TempDir;

use crate::{
    boot::in_order,
    disk,
    lab::{admit, until_shown, while_running},
    plan,
    upstream::Upstream,
};

#[path = "../fixtures/archive.rs"]
mod archive;
#[path = "../fixtures/cpio.rs"]
mod cpio;
#[path = "../fixtures/rpm_tree.rs"]
mod rpm_tree;

use archive::{FaultyServer, TestKey};
use rpm_tree::{BootFiles, Compression, LABEL, RpmTree};

const VERSION: &str = "44";

/// From power-on to the machine's own disk.
const EXPECTED: [&str; 11] = [
    "asked-to-boot",
    "loading-loader",
    "loading-kernel",
    "asked-for-answers",
    "installer-started",
    "partitioned",
    "packages",
    "finishing",
    "host-keys",
    "installed",
    "sent-to-disk",
];

#[tokio::test]
async fn uefi_goes_through_an_installation_from_the_tree_to_its_own_disk() {
    const MARKER: &str = "this-is-my-own-disk";
    let firmware = Firmware::Uefi;
    let Some((_, _turn)) = admit(firmware, &[&disk::PROGRAMS[..], &rpm_tree::PROGRAMS].concat()).await else { return };
    let options = Options { firmware, memory_mib: 1024, ..Options::default() };
    let say = |line: &str| eprintln!("{line}");
    let fedora = MiniFedora::start(boot_files(&debian(&options, &say).await));
    let rehearsal = Rehearsal::set_up(fedora.plan(), &options, &say).await.expect("servers");
    disk::prepare(firmware, &rehearsal.disk(), MARKER);
    fedora.server.asked();

    let mut news = rehearsal.registry().subscribe();
    let mut vm = rehearsal.power_on().await.expect("a machine");
    let installing = async {
        let mut story = Vec::new();
        while !matches!(story.last(), Some(EventKind::SentToDisk { .. })) {
            story.push(news.recv().await.expect("running servers").kind);
            assert!(!matches!(story.last(), Some(EventKind::Failed { .. })), "{story:#?}");
        }
        story
    };
    let story = while_running(&mut vm, installing).await;
    until_shown(&mut vm, MARKER).await;
    vm.power_off().await.expect("off");
    assert_eq!(in_order(&story, &EXPECTED), EXPECTED, "{story:#?}");
    fedora.was_asked_for_packages_once();
    rehearsal.tear_down().await.expect("an orderly end");
}

/// The tree, the server that has it, and what is kept of it.
struct MiniFedora {
    tree: RpmTree,
    _root: TempDir,
    server: FaultyServer,
    key: TestKey,
    prefix: TempDir,
}

impl MiniFedora {
    fn start(boot: BootFiles) -> Self {
        // The installer's RAM disk here has no zstd.
        let tree = RpmTree { boot, compression: Compression::Gzip, ..RpmTree::new(VERSION) };
        let (root, prefix) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a prefix"));
        let (server, key) = (FaultyServer::start(root.path()), TestKey::legacy(1));
        tree.write(root.path(), &server.url(), &key).expect("a tree");
        Self { tree, _root: root, server, key, prefix }
    }

    fn plan(&self) -> Plan {
        let distro = self.distro();
        let flavour = distro.default_flavour.clone();
        let data = distro.release(VERSION).expect("its release").clone();
        let mirrors = vec![Mirror::new(&distro.id, &distro.archive.mirror)];
        let release = Release::new(distro, &data, &flavour, Arch::X86_64, mirrors).expect("a release");
        Plan {
            prefix: self.prefix.path().to_owned(),
            journal: self.prefix.path().join("journal.jsonl"),
            recipe: InstallRecipe { flavour, ..InstallRecipe::default() },
            extra_keys: vec![self.key.public()],
            ..plan::plan_of(release)
        }
    }

    /// Fedora as it is shipped, except for where it is, who signs it, and what Debian's GRUB asks for.
    fn distro(&self) -> Arc<Distro> {
        let mut distro = Arc::unwrap_or_clone(Catalogue::embedded().distro("fedora").expect("Fedora as data"));
        distro.archive.mirror = self.server.url().parse().expect("a URL");
        let rpm = distro.archive.rpm.as_mut().expect("an archive of RPMs");
        rpm.metalink = Some(format!("{}/metalink?repo={{{{ repo }}}}&arch={{{{ arch }}}}", self.server.url()));
        let signer = self.key.fingerprint();
        let release = ReleaseData { version: VERSION.into(), label: LABEL.into(), signer, ..ReleaseData::default() };
        distro.releases = vec![release];
        let machine = distro.arches.get_mut(&Arch::X86_64).expect("a PC");
        machine.grub_configs.push("debian-installer/amd64/grub/grub.cfg".to_owned());
        Arc::new(distro)
    }

    /// One machine installed every package: each crossed the uplink once, and nothing that was verified before crossed it again.
    fn was_asked_for_packages_once(&self) {
        let asked = self.server.paths();
        let packages: Vec<_> = asked.iter().filter(|path| path.ends_with(".rpm")).collect();
        assert_eq!(packages.len(), self.tree.packages.len() + self.tree.updates.len(), "{asked:#?}");
        assert!(!asked.iter().any(|path| path.ends_with("install.img") || path.contains("pxeboot")), "{asked:#?}");
    }
}

/// Debian's boot files, verified: what a rehearsal of Debian puts into the cache.
async fn debian(options: &Options, say: &(dyn Fn(&str) + Sync)) -> PathBuf {
    let upstream = Upstream::start().await;
    let plan = plan::debian12(&upstream);
    let folder = plan.prefix.join("boot").join(plan.release.uid());
    let rehearsal = Rehearsal::set_up(plan, options, say).await.expect("Debian's boot files");
    rehearsal.tear_down().await.expect("an orderly end");
    folder
}

fn boot_files(debian: &Path) -> BootFiles {
    let read = |name: &str| fs::read(debian.join(name)).expect(name);
    let programs: [(&str, &[u8]); 2] =
        [("init", include_bytes!("fedora/init")), ("dhcp", include_bytes!("fedora/dhcp"))];
    BootFiles {
        kernel: read("linux"),
        initrd: cpio::append(read("initrd.gz"), &cpio::programs(&programs)),
        shim: read("shimx64.efi"),
        grub: read("grubx64.efi"),
        ..BootFiles::default()
    }
}
