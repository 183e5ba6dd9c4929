use super::{
    console::Console,
    flags::RehearseFlags,
    local::Link,
    passphrase, password,
    prepare::{Prepared, Purpose, prepare},
    serve::{USUAL_MEMORY, announce},
};
use crate::{
    rehearse::{self, Options, Tap},
    serve,
};

/// The interface that stands for the port of a laptop.
const LINK: Link = Link::Named(Tap::NAME);

/// `provisioner rehearse`
pub async fn run(flags: RehearseFlags) -> anyhow::Result<()> {
    let console = Console::new(flags.verb.log.log_format);
    let Prepared { mut plan, notes, .. } = prepare(flags.verb.plan, LINK, Purpose::Run).await?;
    serve::check_handoff(&plan.recipe.handoff)?;
    let options = Options {
        firmware: flags.firmware.into(),
        memory_mib: flags.memory.unwrap_or_else(|| plan.release.distro.memory.max(USUAL_MEMORY)),
        disk_gib: flags.disk_size,
        console: flags.console,
        keep: flags.keep,
        ..Options::default()
    };
    announce(&console, &plan, &notes);
    if std::env::var_os("PROVISIONER_ON_DONE").is_some_and(|command| !command.is_empty()) {
        console.say("--on-done is not run in a rehearsal: this host does not reach the virtual machine");
    }
    if let Some(encryption) = plan.recipe.encryption.as_mut().filter(|encryption| encryption.tpm2) {
        console.say("the virtual machine has no TPM: its disk is opened by the passphrase alone");
        encryption.tpm2 = false;
    }
    password::ask(&mut plan.recipe)?;
    passphrase::ask(&mut plan, &console)?;
    let report = rehearse::run(plan, options, &|line| console.say(line)).await?;
    console.say(&report.to_string());
    Ok(())
}
