use std::{io, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Kept, PruneFlags, not_removed};
use crate::{
    cli::console::Console,
    fetch::KeptSet,
    model::{Bytes, Hinted, Intent, Removal},
    plan::Problems,
};

/// What is being done, and what came of it so far.
struct Pruning<'a> {
    console: &'a Console,
    intent: Intent,
    freed: u64,
    removed: usize,
    in_use: usize,
}

impl Kept {
    /// Removes what was asked for, and leftovers.
    pub(super) fn prune(&self, console: &Console, flags: &PruneFlags) -> anyhow::Result<()> {
        let intent = if flags.dry_run { Intent::Look } else { Intent::Remove };
        let mut pruning = Pruning { console, intent, freed: 0, removed: 0, in_use: 0 };
        let now = Timestamp::now();
        let (sets, files) = (self.sets()?, self.stock.files()?);
        known(&sets, &flags.release)?;
        for set in &sets {
            let named = flags.release.contains(&set.uid);
            if flags.everything || named || is_unused(set.used, flags.unused_for, now) {
                let path = self.prefix.join("boot").join(&set.uid);
                pruning.note(&path, set.size(), set.files.len(), set.remove(intent))?;
            }
        }
        let mut left: u64 = files.iter().map(|file| file.size).sum();
        for file in &files {
            let above = flags.size.is_some_and(|size| left > size.0);
            if flags.everything || above || is_unused(file.used, flags.unused_for, now) {
                let path = self.stock.place(file);
                left -= pruning.note(&path, file.size, 1, self.stock.remove(file, intent))?;
            }
        }
        let leftovers = self.stock.remove_leftovers(intent);
        let leftovers = leftovers.map_err(|error| not_removed(&self.prefix.join("mirror"), error))?;
        pruning.print(leftovers, left);
        let nothing = flags.size.is_none() && flags.unused_for.is_none() && flags.release.is_empty();
        if nothing && !flags.everything {
            let text = "only leftovers were asked for: --size, --unused-for, --release and --everything remove more";
            console.row(text, &json!({"message": text}));
        }
        Ok(())
    }
}

/// Every release that was named has to be there: a typing error would remove nothing, silently.
fn known(sets: &[KeptSet], named: &[String]) -> Result<(), Problems> {
    let Some(unknown) = named.iter().find(|uid| !sets.iter().any(|set| set.uid == **uid)) else { return Ok(()) };
    let what = format!("--release {unknown}: there is no such boot set");
    let there: Vec<_> = sets.iter().map(|set| set.uid.as_str()).collect();
    let hint = if there.is_empty() { "there are none".to_owned() } else { format!("there are {}", there.join(", ")) };
    Err(Problems(vec![Hinted::new(what, hint)]))
}

fn is_unused(used: Timestamp, limit: Option<SignedDuration>, now: Timestamp) -> bool {
    limit.is_some_and(|limit| now.duration_since(used) > limit)
}

impl Pruning<'_> {
    /// Tells what came of removing something; the bytes that this freed.
    fn note(&mut self, path: &Path, size: u64, files: usize, removal: io::Result<Removal>) -> anyhow::Result<u64> {
        match removal.map_err(|error| not_removed(path, error))? {
            Removal::Done => {
                (self.freed, self.removed) = (self.freed + size, self.removed + files);
                let done = if self.intent == Intent::Remove { "removed" } else { "would remove" };
                let text = format!("{done}  {:>8}  {}", Bytes(size), path.display());
                self.console.row(&text, &json!({"removed": path, "bytes": size, "dry_run": self.is_dry()}));
                Ok(size)
            }
            Removal::InUse => {
                self.in_use += 1;
                let text = format!("kept  {}: it is in use", path.display());
                self.console.row(&text, &json!({"kept": path, "bytes": size, "reason": "in use"}));
                Ok(0)
            }
            Removal::Gone => Ok(0),
        }
    }

    fn is_dry(&self) -> bool {
        self.intent == Intent::Look
    }

    fn print(&self, leftovers: usize, left: u64) {
        let Self { freed, removed, in_use, .. } = self;
        let done = if self.is_dry() { "would free" } else { "freed" };
        let mut text = format!("{done} {}; files: {removed}; leftovers of killed runs: {leftovers}", Bytes(*freed));
        if *in_use > 0 {
            text += &format!("; in use, and kept: {in_use}");
        }
        text += &format!("; left of the archives: {}", Bytes(left));
        let json = json!({
            "freed": freed, "files": removed, "leftovers": leftovers, "in_use": in_use, "left": left,
            "dry_run": self.is_dry(),
        });
        self.console.row(&text, &json);
    }
}
