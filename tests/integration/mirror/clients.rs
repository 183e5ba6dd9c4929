//! Real clients: curl and APT.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use provisioner::distro::Mirror;
use tokio::process::Command;

use super::{
    bench::{Bench, DEB, content, listen, open_on},
    upstream::{Act, file, found},
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether a test can run; without what it needs it must not pass unnoticed where everything is meant to be there.
pub fn can_run(needs: bool, what: &str) -> bool {
    assert!(needs || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "missing: {what}");
    if !needs {
        eprintln!("skipped: missing {what}");
    }
    needs
}

pub async fn has(tool: &str) -> bool {
    let status = Command::new(tool).arg("--version").stdout(Stdio::null()).status().await;
    status.is_ok_and(|status| status.success())
}

async fn curl(args: &[&str]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(args);
    curl.output().await.expect("curl runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_resumes_reads_ranges_and_notices_breaks() {
    if !can_run(has("curl").await, "curl") {
        return;
    }
    let body = content(500_000);
    let script_body = body.clone();
    let bench = Bench::start(move |asked| match asked.path.as_str() {
        "/debian/pool/short.deb" => vec![found(500_000, "\"v1\""), Act::Send(script_body[..1000].to_vec())],
        _ => file(asked, &script_body, "\"v1\""),
    })
    .await;
    let address = listen(bench.proxy.clone());
    let url = format!("http://{address}/mirror/{DEB}");
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("hello.deb");
    let output = target.to_str().expect("a plain path");

    fs::write(&target, &body[..123_456]).expect("written");
    let resumed = curl(&["-C", "-", "-o", output, &url]).await;
    assert!(resumed.status.success() && fs::read(&target).expect("readable") == body, "{resumed:?}");
    let part = curl(&["-r", "1000-1999", &url]).await;
    assert!(part.status.success() && part.stdout == body[1000..2000]);
    let tail = curl(&["-r", "-10", &url]).await;
    assert!(tail.status.success() && tail.stdout == body[499_990..]);
    let head = String::from_utf8(curl(&["--head", &url]).await.stdout).expect("text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 500000\r\n"), "{head}");
    let beyond = curl(&["-r", "500000-", &url]).await;
    assert_eq!(beyond.status.code(), Some(22), "416: {beyond:?}");
    assert_eq!(bench.asked().len(), 1);

    let short = curl(&[&format!("http://{address}/mirror/debian/pool/short.deb")]).await;
    assert_eq!(short.status.code(), Some(18), "a break is seen as a partial file: {short:?}");
}

/// This machine's own Debian archive, as its APT is configured: the root of the archive and a release.
async fn configured_archive() -> Option<(String, String)> {
    let mut apt = Command::new("apt-get");
    let targets = apt.args(["indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"]).output().await.ok()?;
    let targets = String::from_utf8(targets.stdout).ok()?;
    targets.lines().find_map(|line| {
        let [site, release, "main"] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let main = site.starts_with("http://") && site.ends_with("/debian") && !release.contains('-');
        main.then(|| (site.to_owned(), release.to_owned()))
    })
}

/// APT with folders of its own: nothing of this machine's APT is read or changed.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path, sources: &str) -> Self {
        for below in ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists", "var/cache/apt/archives"] {
            fs::create_dir_all(folder.join(below)).expect("made");
        }
        let root = folder.display();
        let config = format!("Dir \"{root}\";\nDir::State::status \"{root}/status\";\nAPT::Sandbox::User \"root\";\n");
        for (name, content) in [("apt.conf", config.as_str()), ("status", ""), ("etc/apt/sources.list", sources)] {
            fs::write(folder.join(name), content).expect("written");
        }
        Self { folder: folder.to_owned() }
    }

    async fn run(&self, args: &[&str]) {
        let apt = Command::new("apt-get")
            .args(args)
            .env("APT_CONFIG", self.folder.join("apt.conf"))
            .env("no_proxy", "127.0.0.1")
            .current_dir(&self.folder)
            .output()
            .await
            .expect("apt-get runs");
        let text = String::from_utf8_lossy(&apt.stderr);
        assert!(apt.status.success() && !text.contains("W:"), "{args:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apt_updates_and_downloads_through_it_and_again_offline() {
    let archive = if has("apt-get").await { configured_archive().await } else { None };
    let Some((site, release)) = archive.filter(|_| Path::new(KEYRING).exists()) else {
        can_run(false, "apt-get with an http Debian archive, or its keyring");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mirrors = vec![Mirror::new("debian", &site.parse().expect("a URL"))];
    for (round, offline) in [("cold", false), ("offline", true)] {
        let packages = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&packages);
        let proxy = open_on(
            mirrors.clone(),
            provisioner::fetch::client().expect("a client"),
            &folder.path().join("mirror"),
            offline,
            Arc::new(move |_, served| {
                if served.path.ends_with(".deb") && served.complete && served.status == 200 {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }),
        );
        let address = listen(proxy.clone());
        let sources = format!("deb [signed-by={KEYRING}] http://{address}/mirror/debian {release} main\n");
        let apt = Apt::new(&folder.path().join(round), &sources);
        apt.run(&["update"]).await;
        apt.run(&["download", "hello"]).await;
        assert_eq!(packages.load(Ordering::Relaxed), 1, "{round}");
        proxy.landed().await;
    }
}
