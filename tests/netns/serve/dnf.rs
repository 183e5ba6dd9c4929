//! dnf, as Anaconda runs it, installs a group from the mirror: the program on Fedora's own data, a miniature Fedora behind it.

use std::{fs, path::Path, process::Command};

use super::{
    archive::{FaultyServer, TestKey},
    house::{Archive, House},
    program::Program,
    rpm_tree::{PROGRAMS, RpmTree},
};

const VERSION: &str = "44";
const MIRROR: &str = "http://192.168.42.1:4280/mirror/fedora";

#[test]
fn dnf_installs_a_group_from_the_mirror_and_the_uplink_is_used_once() {
    let Some(house) = House::make(&[&PROGRAMS[..], &["dnf"]].concat()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (tree, key, root) = (RpmTree::new(VERSION), TestKey::legacy(1), folder.path().join("upstream"));
    fs::create_dir(&root).expect("a folder");
    let archive = Archive::start(&root, house.lan.server_place());
    let server = archive.server();
    tree.write(&root, &server.url(), &key).expect("a tree");
    let keyring = folder.path().join("key.asc");
    fs::write(&keyring, key.armored()).expect("a key");
    let templates = folder.path().join("templates");
    point_to(server, &templates);

    let mut program = start(&house, &templates, &keyring);
    program.says("ready to provision!");
    house.lan.client_ip(&["addr", "add", "192.168.42.77/24", "dev", "eth0"]);
    server.asked();
    let first = folder.path().join("first");
    install(&house, &tree, &keyring, &first);
    let hello = fs::read_to_string(first.join("usr/bin/hello")).expect("an installed program");
    assert!(hello.ends_with("echo hello 1.1\n"), "the update: {hello}");
    assert!(first.join("usr/share/hello/data").exists(), "what it needs");
    assert_eq!(packages(server).len(), 3, "one request for each package");

    install(&house, &tree, &keyring, &folder.path().join("second"));
    assert_eq!(packages(server), [""; 0], "all of them are kept");
    program.stop();
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

fn start(house: &House, templates: &Path, keyring: &Path) -> Program {
    let ours = |flag: &str, path: &Path| format!("{flag}={}", path.display());
    let mut flags = house.flags();
    flags.retain(|flag| !["--distro", "--version", "--mirror", "--keyring"].iter().any(|own| flag.starts_with(own)));
    flags.extend(["--distro=fedora".to_owned(), format!("--version={VERSION}")]);
    flags.extend([ours("--templates", templates), ours("--keyring", keyring)]);
    house.start_with(flags.iter().map(String::as_str))
}

/// Every signature is checked by rpm itself. The network is the machine's: nothing but the mirror can be reached.
fn install(house: &House, tree: &RpmTree, keyring: &Path, target: &Path) {
    let repo = |id: &str, path: &str| format!("--repofrompath={id},{MIRROR}/{path}");
    let key = |id: &str| format!("--setopt={id}.gpgkey=file://{}", keyring.display());
    let installed = house
        .lan
        .client("dnf")
        .args(["-y", "--quiet", "--releasever=44", "--forcearch=x86_64", "--setopt=reposdir=/nonexistent"])
        .args([repo("fedora", &tree.tree()), repo("updates", &tree.updates_path())])
        .args([key("fedora"), key("updates")])
        .args(["--setopt=gpgcheck=1", "--setopt=fedora.gpgcheck=1", "--setopt=updates.gpgcheck=1"])
        .arg("--installroot")
        .arg(target)
        // Anaconda writes @^ for an environment, dnf finds it without.
        .args(["install", "@custom-environment"])
        .output()
        .expect("dnf");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
}

/// The packages that upstream was asked for since the last call.
fn packages(server: &FaultyServer) -> Vec<String> {
    server.paths().into_iter().filter(|path| path.ends_with(".rpm")).collect()
}
