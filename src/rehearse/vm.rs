use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{prctl, signal::Signal},
};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

use super::{Hardware, Images, Tap, console::Console, hardware::Wires, qmp::Qmp};
use crate::model::Mac;

/// A virtual machine that runs. Dropping it ends it; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    mac: Mac,
    qmp: Qmp,
    console: Console,
    complaints: PathBuf,
}

/// A machine that was told to end and does not is killed after this.
const GRACE: Duration = Duration::from_secs(5);

impl Vm {
    /// Switches the machine on. `complaints` is the file for what QEMU itself writes.
    ///
    /// # Errors
    /// QEMU not starting, in QEMU's own words.
    pub async fn power_on(qemu: &Path, hardware: &Hardware, tap: &Tap, complaints: PathBuf) -> anyhow::Result<Self> {
        let (qmp, qemus_qmp) = StdUnixStream::pair().context("making QEMU's control channel")?;
        let (console, qemus_console) = StdUnixStream::pair().context("making the machine's serial port")?;
        let tap = tap.share().context("sharing the virtual network interface")?;
        let Files { disk, console_log, variables } = Files::open(hardware)?;
        let wires = Wires {
            tap: tap.as_raw_fd(),
            qmp: qemus_qmp.as_raw_fd(),
            console: qemus_console.as_raw_fd(),
            disk: disk.as_raw_fd(),
            console_log: console_log.as_raw_fd(),
            variables: variables.as_ref().map(File::as_raw_fd),
        };

        let stderr = File::create(&complaints).with_context(|| format!("creating {}", complaints.display()))?;
        let mut command = Command::new(qemu);
        command
            .args(hardware.arguments(wires))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            // A ^C on the terminal is ours to handle: QEMU would end by itself and look like a crash.
            .process_group(0)
            .kill_on_drop(true);
        let files = [disk, console_log].into_iter().chain(variables).map(OwnedFd::from);
        inherit(&mut command, [tap, qemus_qmp.into(), qemus_console.into()].into_iter().chain(files).collect());
        let child = command.spawn().with_context(|| format!("starting {}", qemu.display()))?;
        // Our copies of QEMU's ends must be gone, or its end would not close the channels.
        drop(command);

        let console = Console::new(into_async(console)?);
        match Qmp::greet(into_async(qmp)?).await {
            Ok(qmp) => Ok(Self { child, mac: hardware.mac, qmp, console, complaints }),
            Err(error) => Err(why_it_ended(child, &complaints).await.unwrap_or(error)),
        }
    }

    /// Plain text that came out of the serial port next. Nothing is lost when it is dropped while it waits.
    ///
    /// # Errors
    /// The end of QEMU.
    pub async fn console(&mut self) -> anyhow::Result<String> {
        if let Some(text) = self.console.read().await.context("reading the machine's serial port")? {
            return Ok(text);
        }
        let status = self.child.wait().await.context("waiting for QEMU to end")?;
        Err(ended(status, &self.complaints))
    }

    /// Types a line at its serial port, as somebody in front of it would.
    pub async fn type_line(&mut self, line: &str) -> anyhow::Result<()> {
        self.console.type_line(line).await.context("typing at the machine's serial port")
    }

    /// The last lines of its console.
    pub fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.console.tail()
    }

    /// Its network card.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// QEMU's process id; `None` when it ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Pulls the plug, and waits until QEMU is gone.
    pub async fn power_off(mut self) -> anyhow::Result<()> {
        // An error here means that QEMU is gone or hangs; both end below.
        let _ = timeout(GRACE, self.qmp.execute("quit")).await;
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.child.kill().await.context("ending QEMU")?;
        }
        Ok(())
    }
}

/// What QEMU reads and writes of the rehearsal's directory.
///
/// SECURITY: opened here and inherited. QEMU is root, and under sudo that directory is not root's: by name it could be led to
/// any file of this host.
struct Files {
    disk: File,
    console_log: File,
    variables: Option<File>,
}

impl Files {
    fn open(hardware: &Hardware) -> anyhow::Result<Self> {
        let file = |path: &Path, options: &mut OpenOptions| {
            options.open(path).with_context(|| format!("opening {} for QEMU", path.display()))
        };
        let variables = match &hardware.images {
            Images::Ovmf { vars, .. } => Some(file(vars, File::options().read(true).write(true))?),
            Images::SeaBios => None,
        };
        Ok(Self {
            disk: file(&hardware.disk, File::options().read(true).write(true))?,
            console_log: file(&hardware.console_log, File::options().write(true).create(true).truncate(true))?,
            variables,
        })
    }
}

/// Lets the child have `wires` under their present numbers, and ties its life to ours.
#[expect(unsafe_code, reason = "what a child does between fork and exec can be stated in no safe way")]
fn inherit(command: &mut Command, wires: Vec<OwnedFd>) {
    let prepare = move || -> io::Result<()> {
        // A rehearsal that is killed, not ended, takes its machine with it.
        // QUIRK: the kernel sends this when the *thread* that forked ends. Only a thread of the runtime's own (or the one
        // that blocks on it) polls us, and those live as long as the runtime.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // In the child alone: set in the parent, every other child would inherit them too.
        for wire in &wires {
            fcntl(wire, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}

fn into_async(stream: StdUnixStream) -> anyhow::Result<UnixStream> {
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).context("preparing a channel to QEMU")
}

/// QEMU that ends instead of greeting has said why on its stderr. One that lives on has another problem.
async fn why_it_ended(mut child: Child, complaints: &Path) -> Option<anyhow::Error> {
    let status = timeout(GRACE, child.wait()).await.ok()?.ok()?;
    Some(ended(status, complaints))
}

fn ended(status: ExitStatus, complaints: &Path) -> anyhow::Error {
    let said = std::fs::read_to_string(complaints).unwrap_or_default();
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if said.is_empty() {
        anyhow::anyhow!("the virtual machine ended by itself ({status})")
    } else {
        anyhow::anyhow!("the virtual machine ended by itself ({status}): {said}")
    }
}
