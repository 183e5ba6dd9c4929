use anyhow::bail;

use super::{
    console::Console,
    flags::{FetchFlags, VerbFlags},
    local::Link,
    passphrase,
    plan::trust,
    prepare::{Prepared, Purpose, prepare},
};
use crate::serve::{self, Ahead, Fetched};

/// How many of those that could not be had are named; a mirror that is gone lacks them all.
const NAMED: usize = 20;

/// `provisioner fetch`: brings what machines will ask for into the cache. Needs neither root nor an interface, and no secret: the
/// accounts and the passphrase decide nothing about packages. With `--offline` it only looks whether all is here.
pub async fn run(flags: FetchFlags) -> anyhow::Result<()> {
    let FetchFlags { boot_files_only, verb: VerbFlags { plan, log } } = flags;
    let console = Console::new(log.log_format);
    let Prepared { mut plan, notes } = prepare(plan, Link::None, Purpose::Run).await?;
    passphrase::stand_in(&mut plan)?;
    console.chosen("cache prefix", format!("{}/", plan.prefix.display()));
    console.chosen("distro uid", plan.release.uid());
    console.chosen("mirror", plan.release.archive().shown());
    console.chosen("trust", trust(&plan));
    for note in notes {
        console.say(&note);
    }
    let ahead = if boot_files_only { Ahead::BootFiles } else { Ahead::Packages };
    let fetched = serve::fetch(&plan, ahead, &|line| console.say(line)).await?;
    finish(ahead, &fetched, &console)
}

fn finish(ahead: Ahead, fetched: &Fetched, console: &Console) -> anyhow::Result<()> {
    let Fetched { packages, bytes, here, missing } = fetched;
    for sentence in missing.iter().take(NAMED) {
        console.say(&format!("missing: {sentence}"));
    }
    if let more @ 1.. = missing.len().saturating_sub(NAMED) {
        console.say(&format!("missing: and {more} more"));
    }
    let done = format!("fetched {packages} packages ({} MB), {here} already here", bytes / 1_000_000);
    match (ahead, missing.len()) {
        (Ahead::BootFiles, _) => console.say("the boot files are here"),
        (Ahead::Packages, 0) => console.say(&format!("{done}; ready for --offline")),
        (Ahead::Packages, count) => bail!("{done}; {count} could not be had"),
    }
    Ok(())
}
