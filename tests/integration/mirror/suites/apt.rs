//! APT, from this machine's own Debian mirror, through the whole chain.

use std::path::Path;

use provisioner::{distro::ReleaseData, fetch};

use super::*;
use crate::mirror::{
    apt::{KEYRING, System, configured_archive},
    bench::listen,
    clients::{can_run, has},
};

const DEBIAN_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/distros/debian/keys/archive.pgp");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_that_apt_takes_is_verified_and_again_offline() {
    let archive = if has("apt-get").await { configured_archive().await } else { None };
    let Some((site, codename)) = archive.filter(|_| Path::new(KEYRING).exists()) else {
        can_run(false, "apt-get with an http Debian archive, or its keyring");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let distro = Catalogue::embedded().distro("debian").expect("debian");
    let roots = [("debian", site.clone()), ("debian-security", format!("{site}-security"))];
    let mirrors: Vec<_> = roots.map(|(id, url)| Mirror::new(id, &url.parse().expect("a URL"))).into();
    let data = ReleaseData { version: codename.clone(), codename: codename.clone(), ..ReleaseData::default() };
    let release = Release::new(distro, &data, "standard", Arch::X86_64, mirrors.clone()).expect("a release");
    let keyring = Keyring::load(&fs::read(DEBIAN_KEYS).expect("keys"), &[]).expect("a keyring");
    let client = fetch::client().expect("a client");
    for (round, offline) in [("cold", false), ("offline", true)] {
        let request = SuitesRequest {
            release: &release,
            keyring: &keyring,
            folder: &folder.path().join("boot"),
            client: &client,
            offline,
            now: Timestamp::now(),
        };
        let suites = Suites::take(&request, &|line| eprintln!("{line}")).await.expect("suites");
        let (on_served, mut served) = recorder();
        let ledger = Arc::new(SuiteLedger::new(suites));
        let kept = folder.path().join("mirror");
        let proxy = open_with(mirrors.clone(), ledger, client.clone(), &kept, offline, on_served);
        let address = listen(proxy.clone());
        let source = |id: &str, suite: &str| {
            format!("deb [signed-by={KEYRING}] http://{address}/mirror/{id} {suite} main contrib non-free-firmware\n")
        };
        let sources = [
            source("debian", &codename),
            source("debian", &format!("{codename}-updates")),
            source("debian-security", &format!("{codename}-security")),
        ];
        let apt = System::new(&folder.path().join(round), &sources.concat());
        apt.does(&["update"]).await;
        // The second is of a component that no installation uses.
        apt.does(&["download", "hello", "astrometry-data-2mass"]).await;
        proxy.landed().await;
        let mut packages = 0;
        while let Ok(served) = served.try_recv() {
            assert!(served.verified || served.status == 404, "{round}: {served:?}");
            packages += usize::from(served.path.ends_with(".deb"));
        }
        assert_eq!(packages, 2, "{round}");
        assert_eq!(proxy.contradictions(), 0);
    }
}
