//! Power-on to the installer, and, once installed, to the machine's own disk: real firmware against the real servers.

use provisioner::{
    model::{Event, EventKind, Firmware},
    rehearse::{Options, Rehearsal},
};
use tokio::sync::broadcast::Receiver;

use crate::{
    disk,
    lab::{admit, until_shown, while_running},
    plan,
    upstream::Upstream,
};

#[tokio::test]
async fn uefi_reaches_the_installer_and_then_its_own_disk() {
    reaches_the_installer_and_then_its_own_disk(Firmware::Uefi).await;
}

#[tokio::test]
async fn uefi_http_boot_reaches_the_installer_and_then_its_own_disk() {
    reaches_the_installer_and_then_its_own_disk(Firmware::UefiHttp).await;
}

#[tokio::test]
async fn bios_reaches_the_installer_and_then_its_own_disk() {
    reaches_the_installer_and_then_its_own_disk(Firmware::Bios).await;
}

async fn reaches_the_installer_and_then_its_own_disk(firmware: Firmware) {
    const MARKER: &str = "this-is-my-own-disk";
    let Some((_, _turn)) = admit(firmware, &disk::PROGRAMS).await else { return };
    let upstream = Upstream::start().await;
    let options = Options { firmware, memory_mib: 1024, ..Options::default() };
    let say = |line: &str| eprintln!("{line}");
    let rehearsal = Rehearsal::set_up(plan::debian12(&upstream), &options, &say).await.expect("servers");
    let mut news = rehearsal.registry().subscribe();
    let before = upstream.count();

    let mut vm = rehearsal.power_on().await.expect("a machine");
    let installing = async {
        let story = until_installer(&mut news).await;
        // choose-mirror looks which suites the mirror has. Nothing is known of most, so upstream is asked, however warm the cache.
        upstream.until_asked(before, "/debian/dists/").await;
        story
    };
    let story = while_running(&mut vm, installing).await;
    vm.power_off().await.expect("off");
    assert_eq!(in_order(&story, &EXPECTED), expected(firmware), "{story:#?}");

    rehearsal.registry().record(rehearsal.mac(), EventKind::Installed);
    disk::prepare(firmware, &rehearsal.disk(), MARKER);
    let mut news = rehearsal.registry().subscribe();
    let mut vm = rehearsal.power_on().await.expect("the machine again");
    until_shown(&mut vm, MARKER).await;
    vm.power_off().await.expect("off");
    let story: Vec<_> = std::iter::from_fn(|| news.try_recv().ok()).map(|event| event.kind).collect();
    assert!(story.iter().any(|kind| matches!(kind, EventKind::SentToDisk { .. })), "{story:#?}");
    assert!(!story.iter().any(|kind| matches!(kind, EventKind::AskedToBoot { .. })), "{story:#?}");
    rehearsal.tear_down().await.expect("an orderly end");
}

const EXPECTED: [&str; 5] =
    ["asked-to-boot", "loading-loader", "loading-kernel", "asked-for-answers", "installer-started"];

/// QEMU's BIOS machine has iPXE in its network card, which reads our script itself and needs no loader of ours.
fn expected(firmware: Firmware) -> Vec<&'static str> {
    EXPECTED.into_iter().filter(|name| firmware != Firmware::Bios || *name != "loading-loader").collect()
}

async fn until_installer(news: &mut Receiver<Event>) -> Vec<EventKind> {
    let mut story = Vec::new();
    while story.last() != Some(&EventKind::InstallerStarted) {
        story.push(news.recv().await.expect("running servers").kind);
    }
    story
}

/// The first of each expected event, in the order they happened, by their names in the journal.
pub fn in_order(story: &[EventKind], expected: &[&'static str]) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for kind in story {
        let line = serde_json::to_value(kind).expect("JSON");
        let name = line["event"].as_str().expect("a tag");
        seen.extend(expected.iter().copied().find(|expected| *expected == name && !seen.contains(expected)));
    }
    seen
}
