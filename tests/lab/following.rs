//! Following a machine: the servers' part is played by the test, the machine is real.

use std::{sync::Mutex, time::Duration};

use provisioner::{
    events::Registry,
    model::{Arch, EventKind, Firmware},
    rehearse::{Medium, Options, follow},
};

use crate::{
    disk,
    lab::{Bench, MAC, admit},
};

const FIRMWARE: Firmware = Firmware::Bios;

fn record(registry: &Registry, kinds: &[EventKind]) {
    kinds.iter().for_each(|kind| registry.record(MAC, kind.clone()));
}

#[tokio::test]
async fn ends_at_the_login_prompt_of_the_machines_own_disk() {
    use EventKind as E;
    let Some((tools, _turn)) = admit(FIRMWARE, &disk::PROGRAMS).await else { return };
    let bench = Bench::new(tools, Medium::Disk);
    disk::prepare(FIRMWARE, &bench.work.disk(), "target login:");
    let registry = Registry::in_memory();
    let news = registry.subscribe();
    let arch = Arch::X86_64;
    let story = [
        E::AskedToBoot { firmware: FIRMWARE, arch, uuid: None },
        E::LoadingKernel,
        E::Installed,
        E::SentToDisk { firmware: FIRMWARE, arch, uuid: None, same_as: None },
        E::BootedFromDisk,
    ];
    record(&registry, &story);
    let mut vm = bench.power_on().await;
    let told = Mutex::new(Vec::new());
    let say = |line: &str| told.lock().expect("no panic").push(line.to_owned());
    let options = Options { stall: Duration::from_mins(5), ..Options::default() };
    let stages = follow(&mut vm, news, &bench.place, &options, &say).await.expect("the prompt");
    vm.power_off().await.expect("off");

    let stages: Vec<_> = stages.iter().map(|stage| stage.what.as_str()).collect();
    assert_eq!((stages.len(), stages[0], stages[5]), (6, "asked to boot (BIOS x86_64)", "can be logged in to"));
    let told = told.into_inner().expect("no panic");
    assert_eq!((told.len(), told[1].as_str()), (5, "52:54:00:4c:41:42 loading kernel"));
}

#[tokio::test]
async fn gives_up_on_a_failure_a_silence_and_a_machine_that_ends() {
    let Some((tools, _turn)) = admit(FIRMWARE, &[]).await else { return };
    let bench = Bench::new(tools, Medium::Network);
    let registry = Registry::in_memory();
    let options = Options { stall: Duration::from_secs(1), ..Options::default() };
    let mut vm = bench.power_on().await;

    let news = registry.subscribe();
    record(&registry, &[EventKind::Failed { what: "no disk found".to_owned() }]);
    let error = follow(&mut vm, news, &bench.place, &options, &|_| {}).await.expect_err("a failure");
    assert!(error.to_string().contains("no disk found"), "{error}");

    // The card's ROM writes a few lines, then waits in silence for an offer that nobody makes.
    let news = registry.subscribe();
    let error = follow(&mut vm, news, &bench.place, &options, &|_| {}).await.expect_err("a silence");
    assert!(error.to_string().contains("nothing happened for 1 s"), "{error}");

    let pid = i32::try_from(vm.pid().expect("a process")).expect("a process id");
    let end = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    end.expect("our own child");
    let news = registry.subscribe();
    let patient = Options { stall: Duration::from_mins(5), ..options };
    let error = follow(&mut vm, news, &bench.place, &patient, &|_| {}).await.expect_err("an end");
    assert!(error.to_string().contains("ended by itself"), "{error}");
}
