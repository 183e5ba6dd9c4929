//! DNF against a repository of its own, through the mirror, with a ledger made from that repository's metadata.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::http::{Method, StatusCode};
use provisioner::{
    distro::Mirror,
    mirror::{Known, Ledger, Proxy, Served},
    model::Expected,
};
use tokio::process::Command;

use super::{
    archive::{digest, flipped},
    bench::{impatient_client, listen, open_with, receive, request},
    clients::{can_run, has},
    upstream::{Upstream, file, plain},
};

const GREETER: &str = "repo/greeter-1-1.noarch.rpm";
const MANNERS: &str = "repo/manners-1-1.noarch.rpm";

/// A repository of two packages, one of which needs the other.
async fn make_repository(folder: &Path) {
    for (name, needs) in [("greeter", "Requires: manners\n"), ("manners", "")] {
        let spec = format!(
            "Name: {name}\nVersion: 1\nRelease: 1\nSummary: A test\nLicense: MIT\nBuildArch: noarch\n{needs}\
             %description\nA test.\n%install\nmkdir -p %{{buildroot}}/opt\necho {name} > %{{buildroot}}/opt/{name}\n\
             %files\n/opt/{name}\n"
        );
        let path = folder.join(format!("{name}.spec"));
        fs::write(&path, spec).expect("written");
        let define = |what: &str, folder: PathBuf| format!("{what} {}", folder.display());
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.arg("-bb").arg("--define").arg(define("_topdir", folder.join("build")));
        rpmbuild.arg("--define").arg(define("_rpmdir", folder.join("repo")));
        rpmbuild.args(["--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]).arg(&path);
        succeed(&mut rpmbuild).await;
    }
    succeed(Command::new("createrepo_c").arg("--quiet").arg(folder.join("repo"))).await;
}

async fn succeed(command: &mut Command) {
    let output = command.output().await.expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the repository's metadata says of its files.
struct Listed {
    repomd: PathBuf,
    packages: Vec<(String, Expected)>,
}

impl Listed {
    async fn read(folder: &Path) -> Self {
        let repodata = folder.join("repo/repodata");
        let entries = fs::read_dir(&repodata).expect("readable").map(|entry| entry.expect("an entry").path());
        let primary = entries.filter(|path| path.to_string_lossy().contains("-primary.xml")).min().expect("a primary");
        let reader = if primary.extension().is_some_and(|suffix| suffix == "zst") { "zstdcat" } else { "zcat" };
        let text = Command::new(reader).arg(&primary).output().await.expect("it runs").stdout;
        let text = String::from_utf8(text).expect("text");
        let between = |text: &str, from: &str, to: &str| {
            let (_, rest) = text.split_once(from).expect(from);
            rest.split_once(to).expect(to).0.to_owned()
        };
        let packages = text.split("<package ").skip(1).map(|package| {
            let sha256 = between(package, "pkgid=\"YES\">", "<").parse().expect("a digest");
            let size = between(package, "<size package=\"", "\"").parse().expect("a length");
            let path = format!("repo/{}", between(package, "<location href=\"", "\""));
            (path, Expected { size: Some(size), sha256 })
        });
        Self { repomd: repodata.join("repomd.xml"), packages: packages.collect() }
    }
}

impl Ledger for Listed {
    fn look_up(&self, _: &str, path: &str) -> Known {
        let listed = self.packages.iter().find(|(listed, _)| listed == path);
        match (path, listed) {
            ("repo/repodata/repomd.xml", _) => Known::Here(self.repomd.clone()),
            (_, Some((_, content))) => Known::Content(*content),
            (_, None) if path.ends_with(".rpm") => Known::Refused("it is not in its repository's metadata"),
            (_, None) => Known::Nothing,
        }
    }
}

/// A mirror of the repository in a folder; of one file it has another content.
async fn upstream(folder: &Path, wrong: Option<&'static str>) -> Upstream {
    let folder = folder.to_owned();
    Upstream::start(move |asked| {
        let path = asked.path.trim_start_matches('/');
        match fs::read(folder.join(path)) {
            Ok(body) if wrong == Some(path) => file(asked, &flipped(&body), "\"v1\""),
            Ok(body) => file(asked, &body, "\"v1\""),
            Err(_) => plain("404 Not Found", b"no"),
        }
    })
    .await
}

struct Installed {
    ok: bool,
    said: String,
    /// The files below `/opt` of the system that was installed.
    files: Vec<String>,
    served: Vec<Served>,
    proxy: Proxy,
    _folders: Vec<tempfile::TempDir>,
}

/// A mirror of the repository on a cache of its own, and a system that installs from it.
async fn install(repository: &Path, mirrors: &[&Upstream]) -> Installed {
    let cache = tempfile::tempdir().expect("a folder");
    let mut installed = install_from(repository, mirrors, cache.path(), false, "greeter").await;
    installed._folders.push(cache);
    installed
}

async fn install_from(
    repository: &Path,
    mirrors: &[&Upstream],
    cache: &Path,
    offline: bool,
    package: &str,
) -> Installed {
    let folder = tempfile::tempdir().expect("a folder");
    let mut urls = mirrors.iter().map(|mirror| format!("http://{}", mirror.address).parse().expect("a URL"));
    let mirror = Mirror::new("test", &urls.next().expect("a mirror"));
    let mirrors = vec![Mirror { alternates: urls.collect(), ..mirror }];
    let served = Arc::<Mutex<Vec<Served>>>::default();
    let record = Arc::clone(&served);
    let on_served = Arc::new(move |_, served: &Served| record.lock().expect("no panic").push(served.clone()));
    let ledger = Arc::new(Listed::read(repository).await);
    let proxy = open_with(mirrors, ledger, impatient_client(), cache, offline, on_served);
    let address = listen(proxy.clone());
    let root = folder.path().join("root");
    // RPM changes its root, which only root may; in a user namespace of its own anybody is.
    let mut dnf = Command::new("unshare");
    dnf.args(["--map-root-user", "dnf", "--assumeyes", "--releasever=1", "--disablerepo=*", "--nogpgcheck"]);
    dnf.arg(format!("--installroot={}", root.display()));
    dnf.arg(format!("--repofrompath=test,http://{address}/mirror/test/repo")).arg("--enablerepo=test");
    for (option, value) in [("reposdir", "/dev/null"), ("retries", "2"), ("plugins", "0"), ("proxy", "")] {
        dnf.arg(format!("--setopt={option}={value}"));
    }
    let output = dnf.args(["install", package]).env("no_proxy", "127.0.0.1").output().await.expect("dnf runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let entries = fs::read_dir(root.join("opt")).into_iter().flatten();
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    let served = served.lock().expect("no panic").clone();
    Installed { ok: output.status.success(), said, files, served, proxy, _folders: vec![folder] }
}

async fn can_install() -> bool {
    let mut tools = true;
    for tool in ["dnf", "rpmbuild", "createrepo_c", "zcat", "zstdcat"] {
        tools &= has(tool).await;
    }
    let may = Command::new("unshare").args(["--map-root-user", "true"]).stderr(Stdio::null()).status().await;
    can_run(tools && may.is_ok_and(|status| status.success()), "dnf, rpmbuild, createrepo_c, or user namespaces")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dnf_installs_what_the_repository_lists_and_nothing_else() {
    if !can_install().await {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    make_repository(folder.path()).await;
    let (right, wrong) = (upstream(folder.path(), None).await, upstream(folder.path(), Some(MANNERS)).await);

    let installed = install(folder.path(), &[&right]).await;
    assert!(installed.ok && installed.files == ["greeter", "manners"], "{}", installed.said);
    let given = installed.served.iter().filter(|served| served.complete && served.status == 200);
    let given: Vec<_> =
        given.inspect(|served| assert!(served.verified, "{served:?}")).map(|served| &*served.path).collect();
    for path in [GREETER, MANNERS, "repo/repodata/repomd.xml"] {
        assert!(given.contains(&path), "{given:?}");
    }

    let installed = install(folder.path(), &[&wrong]).await;
    assert!(!installed.ok && installed.files.is_empty() && installed.said.contains("502"), "{}", installed.said);
    let got = receive(request(&installed.proxy, Method::GET, &format!("test/{MANNERS}"), &[]).await).await;
    let text = String::from_utf8(got.body.expect("a body")).expect("text");
    let body = fs::read(folder.path().join(MANNERS)).expect("readable");
    let digests = [digest(&body), digest(&flipped(&body))].map(|it| it.to_string());
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    for named in [MANNERS, &digests[0], &digests[1], &wrong.address.to_string()] {
        assert!(text.contains(named), "{text}");
    }
    assert!(installed.proxy.contradictions() > 0);

    let installed = install(folder.path(), &[&wrong, &right]).await;
    assert!(installed.ok && installed.files == ["greeter", "manners"], "{}", installed.said);
    assert_eq!(installed.proxy.contradictions(), 1);
    // A package that the mirror has and the metadata does not list.
    fs::copy(folder.path().join(GREETER), folder.path().join("repo/stowaway-1-1.noarch.rpm")).expect("copied");
    let stowaway =
        receive(request(&installed.proxy, Method::GET, "test/repo/stowaway-1-1.noarch.rpm", &[]).await).await;
    assert_eq!(stowaway.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dnf_installs_warm_and_without_upstream_what_it_installed_cold() {
    if !can_install().await {
        return;
    }
    let (folder, cache) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    make_repository(folder.path()).await;
    let upstream = upstream(folder.path(), None).await;
    let packages = |upstream: &Upstream| {
        let asked = upstream.asked().into_iter().map(|asked| asked.path);
        asked.filter(|path| path.ends_with(".rpm")).collect::<Vec<_>>()
    };
    let install = async |upstream: &Upstream, offline: bool, package: &str| {
        let installed = install_from(folder.path(), &[upstream], cache.path(), offline, package).await;
        installed.proxy.landed().await;
        installed
    };
    let manners = install(&upstream, false, "manners").await;
    assert!(manners.ok && manners.files == ["manners"], "{}", manners.said);
    assert_eq!(packages(&upstream), [format!("/{MANNERS}")], "cold");
    let metadata = upstream.asked().len();
    let manners = install(&upstream, false, "manners").await;
    assert!(manners.ok && manners.files == ["manners"], "{}", manners.said);
    assert_eq!(upstream.asked().len(), metadata, "warm: every name with a digest in it lasts");

    let gone = self::upstream(Path::new("/nonexistent"), None).await;
    for offline in [false, true] {
        let manners = install(&gone, offline, "manners").await;
        assert!(manners.ok && manners.files == ["manners"], "offline: {offline}: {}", manners.said);
        let greeter = install(&gone, offline, "greeter").await;
        let status = if offline { "503" } else { "404" };
        let told = greeter.said.lines().any(|line| line.contains(status) && line.contains("greeter"));
        assert!(!greeter.ok && greeter.files.is_empty() && told, "offline: {offline}: {}", greeter.said);
    }
    let asked: Vec<_> = gone.asked().into_iter().map(|asked| asked.path).collect();
    assert!(asked.iter().all(|path| path.ends_with(GREETER)), "{asked:?}");
}
