//! `rehearse::run` where it does not end well: what it says, what it keeps, what it leaves.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use nix::sys::signal::{Signal, raise};
use provisioner::{
    model::{Firmware, Hinted},
    rehearse::{Interrupted, Options, run},
};

use crate::{lab::admit, plan, upstream::Upstream};

const FIRMWARE: Firmware = Firmware::Bios;

/// What a run of these tests that was killed has left is not of the machine that is looked at.
fn forget_earlier_runs() {
    let _ = fs::remove_dir_all(plan::prefix().join("rehearsal"));
}

#[tokio::test]
async fn an_interruption_leaves_nothing() {
    let Some((_, _turn)) = admit(FIRMWARE, &[]).await else { return };
    forget_earlier_runs();
    let upstream = Upstream::start().await;
    let plan = plan::debian12(&upstream);
    let options = Options { firmware: FIRMWARE, ..Options::default() };
    let say = |line: &str| {
        if line.ends_with(" is on") {
            assert!(plan::prefix().join("rehearsal").exists());
            raise(Signal::SIGINT).expect("a signal that run listens for");
        }
    };
    let error = run(plan, options, &say).await.expect_err("an interruption");
    assert!(error.is::<Interrupted>(), "{error:#}");
    assert!(!plan::prefix().join("rehearsal").exists());
}

#[tokio::test]
async fn a_failure_tells_the_last_lines_and_keeps_the_console() {
    let Some((_, _turn)) = admit(FIRMWARE, &[]).await else { return };
    forget_earlier_runs();
    let upstream = Upstream::start().await;
    let plan = plan::debian12(&upstream);
    // No machine gets from power-on to a kernel's first line without a second's silence.
    let options = Options { firmware: FIRMWARE, stall: Duration::from_secs(1), ..Options::default() };
    let told = Mutex::new(Vec::new());
    let say = |line: &str| told.lock().expect("no panic").push(line.to_owned());
    let error = run(plan, options, &say).await.expect_err("a silence");
    let hinted = error.downcast_ref::<Hinted>().expect("a hint");
    assert_eq!(hinted.what, "the rehearsal failed: nothing happened for 1 s: no event, no console output");
    let words = hinted.hint.split([' ', ',']).find(|word| word.ends_with("console.log")).expect("its place");
    let console = Path::new(words);
    let text = fs::read(console).expect("the console");
    fs::remove_dir_all(console.parent().expect("its directory")).expect("removed");
    fs::remove_dir(plan::prefix().join("rehearsal")).expect("nothing else was kept");

    let told = told.into_inner().expect("no panic");
    let tail = told.iter().skip_while(|line| !line.starts_with("the last lines")).skip(1);
    let tail: Vec<_> = tail.collect();
    assert!(!text.is_empty() && (1..=15).contains(&tail.len()), "{told:#?}");
    assert!(tail.iter().all(|line| !line.contains(char::is_control)), "{tail:#?}");
}
