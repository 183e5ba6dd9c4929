use super::{
    console::Console,
    flags::RehearseFlags,
    local::Link,
    password,
    prepare::{Prepared, prepare},
    serve::announce,
};
use crate::rehearse::{self, Options, Tap};

/// The interface that stands for the port of a laptop.
const LINK: Link = Link::Named(Tap::NAME);

/// `provisioner rehearse`
pub async fn run(flags: RehearseFlags) -> anyhow::Result<()> {
    let console = Console::new(flags.verb.log.log_format);
    let options = Options {
        firmware: flags.firmware.into(),
        memory_mib: flags.memory,
        disk_gib: flags.disk_size,
        console: flags.console,
        keep: flags.keep,
        ..Options::default()
    };
    let Prepared { mut plan, notes, .. } = prepare(flags.verb.plan, LINK).await?;
    announce(&console, &plan, &notes);
    password::ask(&mut plan.recipe)?;
    let report = rehearse::run(plan, options, &|line| console.say(line)).await?;
    console.say(&report.to_string());
    Ok(())
}
