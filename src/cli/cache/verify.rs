use std::path::Path;

use anyhow::ensure;
use serde_json::json;

use super::{Kept, not_removed};
use crate::{
    cli::console::Console,
    model::{Bytes, Condition, Hinted, Sha256Digest},
};

/// What was found so far.
#[derive(Default)]
struct Verdict {
    right: usize,
    bytes: u64,
    undigested: usize,
    damaged: usize,
    skipped: usize,
}

impl Kept {
    /// Compares every file with its digest; an error if one is damaged.
    pub(super) fn verify(&self, console: &Console, remove: bool, long: bool) -> anyhow::Result<()> {
        let mut verdict = Verdict::default();
        for set in self.sets()? {
            let Some((set, _held)) = set.held()? else {
                verdict.skipped += 1;
                let text = format!("skipped  boot set {}: another provisioner is filling it", set.uid);
                console.row(&text, &json!({"skipped": set.uid, "reason": "in use"}));
                continue;
            };
            for file in &set.files {
                let (path, condition) = (set.place(file), set.check(file)?);
                verdict.add(console, &path, file.size, condition, long);
                if remove && matches!(condition, Condition::Damaged { .. }) {
                    set.discard(file).map_err(|error| not_removed(&path, error))?;
                }
            }
        }
        for file in self.stock.files()? {
            let (path, condition) = (self.stock.place(&file), self.stock.check(&file)?);
            verdict.add(console, &path, file.size, condition, long);
            if remove && matches!(condition, Condition::Damaged { .. }) {
                self.stock.discard(&file).map_err(|error| not_removed(&path, error))?;
            }
        }
        verdict.print(console);
        verdict.judge(remove)
    }
}

impl Verdict {
    fn add(&mut self, console: &Console, path: &Path, size: u64, condition: Condition, long: bool) {
        match condition {
            Condition::Right => (self.right, self.bytes) = (self.right + 1, self.bytes + size),
            Condition::Damaged { expected, found } => {
                self.damaged += 1;
                print_damage(console, path, expected, found);
            }
            Condition::Undigested => {
                self.undigested += 1;
                if long {
                    console.row(&format!("no digest  {}", path.display()), &json!({"undigested": path}));
                }
            }
            Condition::Gone => {}
        }
    }

    fn print(&self, console: &Console) {
        let Self { right, bytes, undigested, damaged, skipped } = self;
        let mut text = format!("what was stored: {right} files ({}); damaged: {damaged}", Bytes(*bytes));
        if *undigested > 0 {
            text += &format!("; without a digest to be compared with: {undigested}");
        }
        let json = json!({
            "right": right, "bytes": bytes, "damaged": damaged, "undigested": undigested, "skipped_sets": skipped,
        });
        console.row(&text, &json);
    }

    fn judge(&self, removed: bool) -> anyhow::Result<()> {
        let Self { damaged, .. } = self;
        ensure!(*damaged == 0 || !removed, {
            let hint = "they are fetched again when they are asked for";
            Hinted::new(format!("damaged files, which were removed: {damaged}"), hint)
        });
        ensure!(*damaged == 0, {
            let hint = "`provisioner cache verify --remove` removes them, to be fetched again when they are asked for";
            Hinted::new(format!("damaged files: {damaged}"), hint)
        });
        Ok(())
    }
}

fn print_damage(console: &Console, path: &Path, expected: Sha256Digest, found: Sha256Digest) {
    let text = format!("damaged  {}: SHA-256 {found} instead of {expected}", path.display());
    console.row(&text, &json!({"damaged": path, "expected": expected, "found": found}));
}
