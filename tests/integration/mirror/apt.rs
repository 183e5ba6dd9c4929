//! APT against this machine's own Debian archive, through the mirror: it updates and installs, cold, warm and without upstream.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use provisioner::{
    distro::Mirror,
    fetch::Client,
    mirror::{OnServed, Proxy, Served},
};
use tokio::process::Command;

use super::{
    bench::{client, listen, open_on},
    clients::{can_run, has},
};

pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Packages that need no other one and run nothing when they are installed; and one that is not asked for at first.
const PACKAGES: [&str; 2] = ["publicsuffix", "sensible-utils"];
const OTHER: &str = "netbase";

/// This machine's own Debian archive, as its APT is configured: the root of the archive and a release.
pub async fn configured_archive() -> Option<(String, String)> {
    let mut apt = Command::new("apt-get");
    let targets = apt.args(["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"]).output().await.ok()?;
    let targets = String::from_utf8(targets.stdout).ok()?;
    targets.lines().find_map(|line| {
        let [site, release, "main"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let main = site.starts_with("http://") && site.ends_with("/debian") && !release.contains('-');
        main.then(|| (site.to_owned(), release.to_owned()))
    })
}

/// A Debian of its own, with nothing installed: nothing of this machine's APT is read or changed.
pub struct System {
    root: PathBuf,
}

/// What a run of APT came to.
struct Ran {
    ok: bool,
    said: String,
}

impl System {
    pub fn new(root: &Path, sources: &str) -> Self {
        let apt = ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists", "var/cache/apt/archives"];
        let dpkg = ["var/log/apt", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"];
        for below in apt.iter().chain(&dpkg) {
            fs::create_dir_all(root.join(below)).expect("made");
        }
        let folder = root.display();
        let options = [
            format!("Dir \"{folder}\""),
            format!("Dir::State::status \"{folder}/var/lib/dpkg/status\""),
            format!("DPkg::Options {{ \"--root={folder}\"; }}"),
            "Dpkg::Use-Pty \"false\"".to_owned(),
            "Dir::Log::Terminal \"\"".to_owned(),
            "APT::Sandbox::User \"root\"".to_owned(),
            "Acquire::Retries \"0\"".to_owned(),
        ];
        let config = options.join(";\n") + ";\n";
        let files = [
            ("apt.conf", config),
            ("var/lib/dpkg/status", String::new()),
            ("etc/apt/sources.list", sources.to_owned()),
        ];
        for (name, content) in files {
            fs::write(root.join(name), content).expect("written");
        }
        Self { root: root.to_owned() }
    }

    async fn apt_get(&self, args: &[&str]) -> Ran {
        // dpkg gives its files to root; in a user namespace of its own anybody is.
        let mut apt = Command::new("unshare");
        apt.args(["--map-root-user", "apt-get", "--assume-yes"]).args(args);
        apt.env("APT_CONFIG", self.root.join("apt.conf")).env("no_proxy", "127.0.0.1").current_dir(&self.root);
        let output = apt.env("DEBIAN_FRONTEND", "noninteractive").output().await.expect("unshare runs");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        Ran { ok: output.status.success(), said }
    }

    /// What it says, whatever comes of it.
    pub async fn says(&self, args: &[&str]) -> String {
        self.apt_get(args).await.said
    }

    pub async fn does(&self, args: &[&str]) {
        let ran = self.apt_get(args).await;
        assert!(ran.ok && !ran.said.contains("W:"), "{args:?}: {}", ran.said);
    }

    fn has(&self, package: &str) -> bool {
        self.root.join("usr/share/doc").join(package).is_dir()
    }
}

/// What a mirror has served so far.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<Served>>>);

impl Record {
    fn keeper(&self) -> OnServed {
        let record = self.clone();
        Arc::new(move |_, served| record.0.lock().expect("no panic").push(served.clone()))
    }

    /// How many requests there were, and how many packages were given out.
    fn take(&self) -> (usize, usize) {
        let served = std::mem::take(&mut *self.0.lock().expect("no panic"));
        let package = |served: &&Served| served.path.ends_with(".deb") && served.status == 200 && served.complete;
        (served.len(), served.iter().filter(package).count())
    }
}

fn open(client: impl Into<Client>, upstream: &str, folder: &Path, offline: bool, record: &Record) -> Proxy {
    let mirror = Mirror::new("debian", &upstream.parse().expect("a URL"));
    open_on(vec![mirror], client, folder, offline, record.keeper())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_installs_cold_warm_and_without_upstream() {
    let archive = if has("apt-get").await && has("dpkg").await { configured_archive().await } else { None };
    let Some((site, release)) = archive.filter(|_| Path::new(KEYRING).exists()) else {
        can_run(false, "apt-get with an http Debian archive, or its keyring");
        return;
    };
    let may = Command::new("unshare").args(["--map-root-user", "true"]).status().await;
    if !can_run(may.is_ok_and(|status| status.success()), "unshare, or user namespaces") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    // One mirror stands before the archive and counts what the other one asks for.
    let (asked, given) = (Record::default(), Record::default());
    let near = open(provisioner::fetch::client().expect("a client"), &site, &folder.path().join("near"), false, &asked);
    let near = listen(near);
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let upstreams = [
        ("cold", format!("http://{near}/mirror/debian"), false),
        ("warm", format!("http://{near}/mirror/debian"), false),
        ("upstream gone", format!("http://{gone}/debian"), false),
        ("offline", format!("http://{gone}/debian"), true),
    ];
    for (round, upstream, offline) in upstreams {
        let proxy = open(client(Duration::from_secs(60)), &upstream, &folder.path().join("mirror"), offline, &given);
        let mirror = format!("http://{}/mirror/debian", listen(proxy.clone()));
        let sources = format!("deb [signed-by={KEYRING} lang=none] {mirror} {release} main\n");
        let system = System::new(&folder.path().join(round), &sources);
        system.does(&["update"]).await;
        system.does(&[&["install"][..], &PACKAGES].concat()).await;
        assert!(PACKAGES.iter().all(|package| system.has(package)), "{round}");
        assert_eq!(given.take().1, PACKAGES.len(), "{round}");
        let (requests, packages) = asked.take();
        assert_eq!(
            (packages, requests > 0),
            if round == "cold" { (PACKAGES.len(), true) } else { (0, round == "warm") },
            "{round}"
        );
        assert_eq!(proxy.stale_answers() > 0, round == "upstream gone", "{round}");
        if upstream.contains(&gone.to_string()) {
            let ran = system.apt_get(&["install", OTHER]).await;
            let status = if offline { "503" } else { "502" };
            let said = ran
                .said
                .lines()
                .any(|line| line.starts_with("E: Failed to fetch") && line.contains(status) && line.contains(OTHER));
            assert!(!ran.ok && said && !system.has(OTHER), "{round}: {}", ran.said);
        }
        proxy.landed().await;
    }
}
