//! What every test of a machine needs: the right to run, a machine of its own, and patience.

use std::{env, future::Future, path::Path, pin::pin, time::Duration};

use jiff::Timestamp;
use nix::unistd::geteuid;
use provisioner::{
    model::{Firmware, Mac},
    net::Place,
    rehearse::{Accel, Hardware, Medium, Tap, Tools, Vm, WorkDir},
};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// No boot of these takes a tenth of it; without it a broken one would hold up everything.
const PATIENCE: Duration = Duration::from_mins(15);

pub const MAC: Mac = Mac([0x52, 0x54, 0, 0x4c, 0x41, 0x42]);

/// Two emulated machines on two cores would each miss the other's firmware timeouts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The right to start a machine with this firmware, using these programs besides.
///
/// `None`, with the reason printed, where something is missing; in CI that is a failure.
pub async fn admit(firmware: Firmware, programs: &[&str]) -> Option<(Tools, MutexGuard<'static, ()>)> {
    let lacks = |what: String| {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{what}");
        eprintln!("skipped: {what}");
        None
    };
    if !geteuid().is_root() {
        return lacks("these tests need root".to_owned());
    }
    if let Some(missing) = programs.iter().find(|name| !on_path(name)) {
        return lacks(format!("{missing} is not installed"));
    }
    match Tools::find(firmware) {
        Ok(tools) => Some((tools, ONE_AT_A_TIME.lock().await)),
        Err(error) => lacks(error.to_string()),
    }
}

fn on_path(program: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// A machine and its cable, and no server at the other end.
pub struct Bench {
    pub tools: Tools,
    pub place: Place,
    pub tap: Tap,
    pub hardware: Hardware,
    pub work: WorkDir,
    _prefix: TempDir,
}

impl Bench {
    pub fn new(tools: Tools, first: Medium) -> Self {
        let prefix = tempfile::tempdir().expect("a prefix");
        let work = WorkDir::create(prefix.path(), Timestamp::now()).expect("a work directory");
        work.make_disk(1).expect("a disk");
        let place = Place::private().expect("a namespace");
        let tap = Tap::create(&place).expect("a tap");
        let hardware = Hardware {
            accel: Accel::here(),
            images: work.own_firmware(&tools.images).expect("firmware"),
            memory_mib: 512,
            http_boot: false,
            mac: MAC,
            first,
            disk: work.disk(),
            console_log: work.console_log(),
        };
        Self { tools, place, tap, hardware, work, _prefix: prefix }
    }

    pub async fn power_on(&self) -> Vm {
        let vm = Vm::power_on(&self.tools.qemu, &self.hardware, &self.tap, self.work.complaints());
        vm.await.expect("a running machine")
    }
}

/// Waits for `done` while the machine runs; its console is shown when it ends or takes too long.
pub async fn while_running<T>(vm: &mut Vm, done: impl Future<Output = T>) -> T {
    let mut done = pin!(done);
    let mut late = pin!(tokio::time::sleep(PATIENCE));
    loop {
        tokio::select! {
            value = &mut done => return value,
            text = vm.console() => if let Err(error) = text {
                panic!("{error:#}: {:#?}", vm.last_lines().collect::<Vec<_>>());
            },
            () = &mut late => panic!("nothing came of it: {:#?}", vm.last_lines().collect::<Vec<_>>()),
        }
    }
}

/// Waits for `words` on the machine's console.
pub async fn until_shown(vm: &mut Vm, words: &str) {
    let mut shown = String::new();
    let read = async {
        while !shown.contains(words) {
            shown += &vm.console().await.expect("a running machine");
        }
    };
    if tokio::time::timeout(PATIENCE, read).await.is_err() {
        panic!("{words:?} was not shown: {:#?}", vm.last_lines().collect::<Vec<_>>());
    }
}

pub fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
