//! The same of a miniature Fedora, made by rpmbuild and createrepo_c.

use std::{fs, path::PathBuf};

use super::{Ran, flag, program, ran};
use crate::{
    answers::{has, skip},
    fetch::archive::{FaultyServer, TestKey},
    rpm_tree::fixture::{PROGRAMS, Rpm, RpmTree},
};

struct Ground {
    folder: tempfile::TempDir,
    server: FaultyServer,
}

impl Ground {
    /// With what every kickstart of ours asks for. `None`: a program is missing.
    fn new() -> Option<Self> {
        if let Some(missing) = PROGRAMS.iter().find(|name| !has(name)) {
            skip(&format!("{missing} is not installed"));
            return None;
        }
        let (folder, key) = (tempfile::tempdir().expect("a folder"), TestKey::legacy(1));
        let root = folder.path().join("upstream");
        fs::create_dir(&root).expect("a folder");
        let server = FaultyServer::start(&root);
        let mut tree = RpmTree::new("44");
        tree.packages.extend([Rpm::new("openssh-server", "9"), Rpm::new("sudo", "1")]);
        tree.write(&root, &server.url(), &key).expect("a tree");
        fs::write(folder.path().join("key.asc"), key.armored()).expect("a key");
        let ground = Self { folder, server };
        ground.export_templates();
        Some(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Fedora's data as it is shipped, with other addresses.
    fn export_templates(&self) {
        let exported = ran(program("templates").arg("export").arg(self.path("templates")));
        assert_eq!(exported.code, Some(0), "{}", exported.err);
        let file = self.path("templates/distros/fedora/distro.toml");
        let mut text = fs::read_to_string(&file).expect("Fedora as data");
        for public in [
            "https://dl.fedoraproject.org/pub/fedora/linux",
            "https://mirrors.fedoraproject.org",
            "https://fedoraproject.org",
        ] {
            assert!(text.contains(public), "{public}");
            text = text.replace(public, &self.server.url());
        }
        fs::write(&file, text).expect("its copy");
    }

    fn fetch(&self, more: &[&str]) -> Ran {
        let mut command = program("fetch");
        command.args(["--distro=fedora", "--version=44", "--flavour=Custom"]);
        let own = [("templates", "templates"), ("keyring", "key.asc"), ("prefix", "prefix")];
        command.args(own.map(|(name, path)| flag(name, &self.path(path))));
        ran(command.args(more))
    }
}

#[test]
fn what_was_fetched_is_all_that_an_offline_run_needs() {
    let Some(ground) = Ground::new() else { return };
    let cold = ground.fetch(&[]);
    assert_eq!((cold.code, cold.err.as_str()), (Some(0), ""), "{}", cold.out);
    assert!(cold.out.contains("fetched 5 packages (0 MB), 0 already here; ready for --offline"), "{}", cold.out);
    let mut packages = ground.server.paths();
    packages.retain(|path| path.ends_with(".rpm") && !path.contains("ipxe"));
    let names: Vec<_> = packages.iter().filter_map(|path| path.rsplit('/').next()).collect();
    assert!(names.len() == 5 && names.iter().any(|name| name.starts_with("hello-1.1-")), "the update: {names:?}");
    assert!(!names.iter().any(|name| name.starts_with("wallpaper")), "{names:?}");

    let offline = ground.fetch(&["--offline"]);
    assert_eq!((offline.code, offline.err.as_str()), (Some(0), ""), "{}", offline.out);
    assert!(offline.out.contains("5 already here; ready for --offline"), "{}", offline.out);
    assert_eq!(ground.server.paths(), [""; 0], "nobody is asked");

    let (gone, name) = (&packages[0], packages[0].rsplit('/').next().expect("a name"));
    let kept = ground.path("prefix/mirror/fedora").join(gone.trim_start_matches('/'));
    fs::remove_file(&kept).expect("it was fetched");
    let offline = ground.fetch(&["--offline"]);
    assert_eq!(offline.code, Some(1), "{}", offline.out);
    assert!(offline.err.contains("4 already here; 1 could not be had"), "{}", offline.err);
    assert!(offline.out.contains("missing: ") && offline.out.contains(name), "{name} is not in {}", offline.out);
    assert_eq!(ground.server.paths(), [""; 0], "nobody is asked");
}
