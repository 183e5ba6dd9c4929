//! dnf, as Anaconda runs it, installs a group from the mirror: the program on Fedora's own data, a miniature Fedora behind it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    archive::{FaultyServer, TestKey},
    client::curl,
    house::{Archive, House},
    program::Program,
    rpm_tree::{PROGRAMS, Rpm, RpmTree},
};

const VERSION: &str = "44";
const MIRROR: &str = "http://192.168.42.1:4280/mirror/fedora";

#[test]
fn dnf_installs_a_group_from_the_mirror_and_the_uplink_is_used_once() {
    let Some(house) = House::make(&[&PROGRAMS[..], &["dnf"]].concat()) else { return };
    let world = World::new(&house);
    let mut program = world.start(&[]);
    program.says("ready to provision!");
    house.lan.client_ip(&["addr", "add", "192.168.42.77/24", "dev", "eth0"]);
    world.packages();
    let first = world.install("first");
    let hello = fs::read_to_string(first.join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.1\n"), "the update: {hello}");
    assert!(first.join("usr/share/hello/data").exists(), "what it needs");
    assert_eq!(world.packages().len(), 3, "one request for each package");

    world.install("second");
    assert_eq!(world.packages(), [""; 0], "all of them are kept");
    program.stop();
}

#[test]
fn an_update_of_today_is_installed_by_a_run_that_began_before_it() {
    let Some(house) = House::make(&[&PROGRAMS[..], &["dnf", "curl"]].concat()) else { return };
    let world = World::new(&house);
    let mut program = world.start(&["--refresh=1s"]);
    program.says("ready to provision!");
    house.lan.client_ip(&["addr", "add", "192.168.42.77/24", "dev", "eth0"]);
    // The package of before is gone from upstream, as it is from real mirrors.
    let repomd = world.update("1.2");
    let path = format!("/mirror/fedora/{}/repodata/repomd.xml", world.tree.updates_path());
    while curl(&house.lan, &path, &[]) != repomd {
        program.says("took the archive's state of today");
    }
    let installed = world.install("target");
    let hello = fs::read_to_string(installed.join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.2\n"), "{hello}");
    program.stop();
}

#[test]
fn what_was_fetched_beforehand_is_installed_with_upstream_gone() {
    let Some(house) = House::make(&[&PROGRAMS[..], &["dnf"]].concat()) else { return };
    let mut world = World::new(&house);
    world.fetch().says("ready for --offline");
    world.archive.stop();
    let mut program = world.start(&["--offline"]);
    program.says("are in the cache");
    program.says("ready to provision!");
    house.lan.client_ip(&["addr", "add", "192.168.42.77/24", "dev", "eth0"]);
    let hello = fs::read_to_string(world.install("target").join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.1\n"), "the update: {hello}");
    program.stop();
}

#[test]
fn a_machine_that_comes_late_reads_the_metadata_of_the_state_that_is_served() {
    let Some(house) = House::make(&[&PROGRAMS[..], &["dnf"]].concat()) else { return };
    let world = World::new(&house);
    world.fetch().says("ready for --offline");
    let repodata = house.prefix().join("mirror/fedora").join(world.tree.updates_path()).join("repodata");
    fs::remove_dir_all(repodata).expect("it was fetched");
    let mut program = world.start(&["--refresh=never", "-v"]);
    program.says("ready to provision!");
    program.warns("what machines read of the repositories is here");
    house.lan.client_ip(&["addr", "add", "192.168.42.77/24", "dev", "eth0"]);
    world.update("1.2");
    let hello = fs::read_to_string(world.install("target").join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.1\n"), "{hello}");
    program.stop();
}

/// A miniature Fedora that the program takes for Fedora.
struct World<'a> {
    house: &'a House,
    archive: Archive,
    tree: RpmTree,
    key: TestKey,
    folder: tempfile::TempDir,
}

impl<'a> World<'a> {
    fn new(house: &'a House) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut tree, key) = (RpmTree::new(VERSION), TestKey::legacy(1));
        // What every kickstart of ours asks for.
        tree.packages.extend([Rpm::new("openssh-server", "9"), Rpm::new("sudo", "1")]);
        let root = folder.path().join("upstream");
        fs::create_dir(&root).expect("a folder");
        let archive = Archive::start(&root, house.lan.server_place());
        let server = archive.server();
        tree.write(&root, &server.url(), &key).expect("a tree");
        fs::write(folder.path().join("key.asc"), key.armored()).expect("a key");
        point_to(server, &folder.path().join("templates"));
        Self { house, archive, tree, key, folder }
    }

    /// The updates have this version of a program, and no other. Returns their new `repomd.xml`.
    fn update(&self, version: &str) -> Vec<u8> {
        let (root, url) = (self.folder.path().join("upstream"), self.archive.server().url());
        let hello = format!("#!/bin/sh\necho hello {version}\n");
        let updates = [Rpm::new("hello", version).requires("hello-data").file("usr/bin/hello", hello.as_bytes())];
        let folder = root.join(self.tree.updates_path());
        self.tree.write_repository(&folder, &updates, &self.key).expect("a repository");
        self.tree.write_metalinks(&root, &url).expect("metalinks");
        fs::read(folder.join("repodata/repomd.xml")).expect("a repository")
    }

    fn start(&self, more: &[&str]) -> Program {
        let flags = self.flags();
        self.house.start_with(flags.iter().map(String::as_str).chain(more.iter().copied()))
    }

    /// `provisioner fetch` on the same cache.
    fn fetch(&self) -> Program {
        let mut flags = self.flags();
        flags.retain(|flag| !["--interface", "--password-file"].iter().any(|link| flag.starts_with(link)));
        self.house.start_with(["fetch"].into_iter().chain(flags.iter().map(String::as_str)))
    }

    fn flags(&self) -> Vec<String> {
        let ours = |flag: &str, name: &str| format!("{flag}={}", self.folder.path().join(name).display());
        let mut flags = self.house.flags();
        flags
            .retain(|flag| !["--distro", "--version", "--mirror", "--keyring"].iter().any(|own| flag.starts_with(own)));
        flags.extend(["--distro=fedora".to_owned(), format!("--version={VERSION}"), "--flavour=Custom".to_owned()]);
        flags.extend([ours("--templates", "templates"), ours("--keyring", "key.asc")]);
        flags
    }

    /// Every signature is checked by rpm itself. The network is the machine's: nothing but the mirror can be reached.
    fn install(&self, target: &str) -> PathBuf {
        let (target, keyring) = (self.folder.path().join(target), self.folder.path().join("key.asc"));
        let repo = |id: &str, path: &str| format!("--repofrompath={id},{MIRROR}/{path}");
        let key = |id: &str| format!("--setopt={id}.gpgkey=file://{}", keyring.display());
        let installed = self
            .house
            .lan
            .client("dnf")
            .args(["-y", "--quiet", "--releasever=44", "--forcearch=x86_64", "--setopt=reposdir=/nonexistent"])
            .args([repo("fedora", &self.tree.tree()), repo("updates", &self.tree.updates_path())])
            .args([key("fedora"), key("updates")])
            .args(["--setopt=gpgcheck=1", "--setopt=fedora.gpgcheck=1", "--setopt=updates.gpgcheck=1"])
            .arg("--installroot")
            .arg(&target)
            // Anaconda writes @^ for an environment, dnf finds it without.
            .args(["install", "@custom-environment"])
            .output()
            .expect("dnf");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        target
    }

    /// The packages that upstream was asked for since the last call.
    fn packages(&self) -> Vec<String> {
        self.archive.server().paths().into_iter().filter(|path| path.ends_with(".rpm")).collect()
    }
}

/// Fedora's data as it is shipped, with other addresses.
fn point_to(server: &FaultyServer, templates: &Path) {
    let export = Command::new(env!("CARGO_BIN_EXE_provisioner")).args(["templates", "export"]).arg(templates).output();
    let export = export.expect("the program");
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let file = templates.join("distros/fedora/distro.toml");
    let mut text = fs::read_to_string(&file).expect("Fedora as data");
    for (public, ours) in [
        ("https://dl.fedoraproject.org/pub/fedora/linux", server.url()),
        ("https://mirrors.fedoraproject.org", server.url()),
        ("https://fedoraproject.org", server.url()),
    ] {
        assert!(text.contains(public), "{public}");
        text = text.replace(public, &ours);
    }
    fs::write(&file, text).expect("its copy");
}
