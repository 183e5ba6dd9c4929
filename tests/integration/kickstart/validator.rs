//! Kickstarts and trees as pykickstart and productmd read them, the parsers of the installer itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use provisioner::{
    distro::treeinfo,
    model::{Layout, Sha256Digest},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{CALLBACKS, Case, HASH, PASSPHRASE, matrix::matrix, sections};
use crate::answers::{has, skip};

const PYKICKSTART: &str = "3.78";
const PRODUCTMD: &str = "1.51";

/// The Python of all tests here, which start at the same time.
static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(python);

/// A Python that has both, in a virtual environment below the build directory: made once.
fn python() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pykickstart-{PYKICKSTART}-productmd-{PRODUCTMD}"));
    let python = home.join("bin/python");
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or_default().to_owned()) }
    };
    if run(&python, &["-c", "import pykickstart, productmd"]).is_err() {
        if !has("python3") {
            return Err("python3 is not installed (package python3)".into());
        }
        let home = home.to_str().expect("text");
        run(Path::new("python3"), &["-m", "venv", "--clear", home])
            .map_err(|error| format!("no virtual environment can be made (package python3-venv): {error}"))?;
        let parsers = [format!("pykickstart=={PYKICKSTART}"), format!("productmd=={PRODUCTMD}")];
        run(&python, &["-m", "pip", "install", "--quiet", &parsers[0], &parsers[1]])
            .map_err(|error| format!("{} cannot be installed with pip: {error}", parsers.join(" and ")))?;
    }
    Ok(python)
}

/// What `check.py` must find in a kickstart.
fn wanted(case: &Case) -> Value {
    let recipe = &case.recipe;
    let repos = &case.release.repos;
    let ours = |path: &str| format!("http://192.168.42.1:4280/mirror/{}/{path}", case.release.distro.id);
    let root = recipe.root_password().map_or(json!(["", false, true]), |hash| json!([hash.expose(), true, false]));
    let password = recipe.password.as_ref().map_or("", |hash| hash.expose());
    let users: Vec<_> =
        recipe.user.iter().map(|name| json!([name, password, recipe.password.is_none(), ["wheel"]])).collect();
    let accounts = || ["root"].into_iter().chain(recipe.user.as_deref());
    let keys: Vec<_> = recipe.ssh_keys.iter().flat_map(|key| accounts().map(move |user| json!([user, key]))).collect();
    let device = if case.host.mac.is_some() { "bootif" } else { "link" };
    let flavour = &case.release.distro.flavours[&recipe.flavour];
    let environment = flavour.tasks.first().map(|task| task.trim_start_matches("@^"));
    let tpm2 = recipe.encryption.as_ref().is_some_and(|encryption| encryption.tpm2);
    let mut packages: Vec<_> = recipe.packages.iter().map(String::as_str).chain(["openssh-server", "sudo"]).collect();
    packages.extend(if tpm2 { &["tpm2-tools", "tpm2-tss"][..] } else { &[] });
    packages.extend(case.code.then_some("tar"));
    packages.sort_unstable();
    let secret = recipe.encryption.as_ref().map(|_| PASSPHRASE);
    let mut scripts = vec![json!(["pre", false]), json!(["pre-install", false]), json!(["post", false])];
    scripts.extend([json!(["onerror", false]), json!(["pre", false])]);
    scripts.extend(
        [true, tpm2, recipe.handoff.is_wanted(), true].iter().filter(|so| **so).map(|_| json!(["post", false])),
    );
    let languages: Vec<_> = [&recipe.locale].into_iter().chain(&recipe.languages).collect();
    let also: &[&str] = match recipe.layout {
        Layout::Btrfs => &["/", "/home"],
        _ => &[],
    };
    json!({
        "mode": [true, true],
        "end": true,
        "url": ours(&repos[0].path),
        "repos": repos[1..].iter().map(|repo| json!([repo.id, ours(&repo.path), false])).collect::<Vec<_>>(),
        "lang": languages,
        "keyboard": [recipe.keymap],
        "timezone": [recipe.timezone, true],
        "time-servers": recipe.time_servers,
        "network": [["dhcp", device, true, case.host.hostname.as_deref().unwrap_or_default()]],
        "root": root,
        "users": users,
        "keys": keys,
        "services": [["sshd"], true, ["ssh"]],
        "selinux": true,
        "only-disk": ["sda"],
        "cleared": [["sda"], true],
        "append": case.own_args.join(" "),
        "boot": true,
        "secrets": [secret],
        "luks": [secret.map(|_| "luks2").unwrap_or_default()],
        "volumes": if recipe.layout == Layout::Lvm { json!([["/", "ext4"]]) } else { json!([]) },
        "subvolumes": also,
        "environment": environment,
        "packages": packages.into_iter().chain(["@core"]).collect::<Vec<_>>(),
        "scripts": scripts,
    })
}

#[test]
fn pykickstart_understands_every_kickstart_as_it_is_meant() {
    let python = match &*PYTHON {
        Ok(python) => python,
        Err(reason) => return skip(reason),
    };
    let folder = TempDir::new().expect("a folder");
    // What the script that chooses the disk writes.
    let disk = folder.path().join("disk.ks");
    fs::write(&disk, sections::chosen_disk(&Case::new("fedora", "44", "Workstation"))).expect("a file");
    let mut manifest = Vec::new();
    for (number, case) in matrix().iter().enumerate() {
        let file = folder.path().join(format!("{number}.ks"));
        let text = case.answers();
        assert_eq!(text.matches("\n%include /tmp/provisioner-disk.ks\n").count(), 1);
        fs::write(&file, text.replace("/tmp/provisioner-disk.ks", disk.to_str().expect("text"))).expect("a file");
        let kind = if case.release.distro.id == "fedora" { "F" } else { "RHEL" };
        let name = format!("{}, {}, {}", case.release.uid(), case.recipe.flavour, case.recipe.layout);
        let syntax = format!("{kind}{}", case.release.version);
        manifest.push(json!({ "name": name, "file": file, "syntax": syntax, "wanted": wanted(case) }));
    }
    // An operator's own kickstart with our reports, for which nothing but its syntax is ours to judge.
    let own = Case { own: Some("text\nreboot\n%packages\n%end".into()), ..Case::full("fedora", "44", "Workstation") };
    assert!(own.answers().contains(CALLBACKS) && !own.answers().contains(HASH));
    let file = folder.path().join("own.ks");
    fs::write(&file, own.answers()).expect("a file");
    manifest.push(json!({ "name": "own", "file": file, "syntax": "F44", "wanted": { "end": true } }));

    let list = folder.path().join("manifest.json");
    fs::write(&list, json!(manifest).to_string()).expect("a file");
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/kickstart/check.py");
    let output = Command::new(python).arg(check).arg(&list).output().expect("python");
    let [said, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{said}\n{error}");
    assert_eq!(said.trim(), format!("{} kickstarts, 0 complaints", manifest.len()));
    println!("{}", said.trim());
}

#[test]
fn a_tree_of_ours_is_one_to_productmd() {
    const READ: &str = "import json, sys\n\
        from productmd.treeinfo import TreeInfo\n\
        tree = TreeInfo()\n\
        tree.load(sys.argv[1])\n\
        variant = list(tree.variants)[0]\n\
        print(json.dumps([tree.release.name, tree.release.version, tree.tree.arch, tree.stage2.mainimage,\n\
            tree.images.images[tree.tree.arch]['kernel'], variant, tree.variants[variant].paths.repository,\n\
            tree.checksums.checksums['images/install.img'][1]]))";
    let python = match &*PYTHON {
        Ok(python) => python,
        Err(reason) => return skip(reason),
    };
    let folder = TempDir::new().expect("a folder");
    let digest = Sha256Digest([0xab; 32]);
    for (id, version, flavour, name, variant) in [
        ("fedora", "44", "Workstation", "Fedora", "Everything"),
        ("fedora", "38", "Server", "Fedora", "Server"),
        ("centos-stream", "9", "minimal", "CentOS Stream", "BaseOS"),
        ("rocky", "10", "server", "Rocky Linux", "BaseOS"),
    ] {
        let case = Case::new(id, version, flavour);
        let path = folder.path().join("treeinfo");
        fs::write(&path, treeinfo(&case.release, |_| Some(digest))).expect("written");
        let output = Command::new(python).args(["-c", READ]).arg(&path).output().expect("python");
        let read: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{id}: {}", String::from_utf8_lossy(&output.stderr)));
        let (kernel, stage2) = ("images/pxeboot/vmlinuz", "images/install.img");
        assert_eq!(read, json!([name, version, "x86_64", stage2, kernel, variant, ".", digest.to_string()]), "{id}");
    }
}
