//! `provisioner cache`: what is kept below the prefix. Needs no network, and to look around no right to write.

mod prune;
mod verify;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::json;

use super::{
    console::Console,
    flags::{Cache, ListFlags, PruneFlags, SizeFlags, VerifyFlags},
    local,
};
use crate::{
    fetch::{KeptSet, kept_sets},
    mirror::{Stock, StockFile},
    model::{Bytes, Hinted},
};

/// Does it. A cache that is empty is no error, a folder that is none is.
pub fn run(verb: Cache) -> anyhow::Result<()> {
    let kept = Kept::open(verb.prefix())?;
    let console = Console::new(verb.flags().log.log_format);
    match verb {
        Cache::Size(SizeFlags { .. }) => kept.print_size(&console),
        Cache::List(ListFlags { long, .. }) => kept.list(&console, long),
        Cache::Verify(VerifyFlags { remove, long, .. }) => kept.verify(&console, remove, long),
        Cache::Prune(flags) => kept.prune(&console, &flags),
    }
}

/// A cache directory.
struct Kept {
    prefix: PathBuf,
    stock: Stock,
}

/// What an archive has in the cache.
struct Archive {
    files: usize,
    size: u64,
    oldest: Timestamp,
    newest: Timestamp,
}

impl Kept {
    fn open(prefix: Option<&Path>) -> anyhow::Result<Self> {
        let prefix = prefix.map_or_else(local::default_prefix, Path::to_owned);
        let hint = "name the cache directory with --prefix; the first run makes it";
        let why_not = match fs::metadata(&prefix) {
            Ok(found) if found.is_dir() => None,
            Ok(_) => Some("it is no directory".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("there is no such directory".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why_not {
            return Err(Hinted::new(format!("there is no cache in {}: {why}", prefix.display()), hint).into());
        }
        let mirror = prefix.join("mirror");
        // SECURITY: what is removed by its age only must be ours; `--prefix ~` is a mistake that is easily made.
        if !mirror.is_dir() && !prefix.join("boot").is_dir() {
            let what = format!("{} is no cache: it has neither boot/ nor mirror/", prefix.display());
            return Err(Hinted::new(what, hint).into());
        }
        Ok(Self { stock: Stock::at(&mirror), prefix })
    }

    fn sets(&self) -> anyhow::Result<Vec<KeptSet>> {
        kept_sets(&self.prefix.join("boot"))
    }

    fn print_size(&self, console: &Console) -> anyhow::Result<()> {
        let (mut total, mut count) = (0, 0);
        let mut row = |kind: &str, name: &str, size: u64, files: usize| {
            (total, count) = (total + size, count + files);
            print_size(console, kind, name, size, files);
        };
        for set in self.sets()? {
            row("boot", &set.uid, set.size(), set.files.len());
        }
        for (name, archive) in archives(&self.stock.files()?) {
            row("archive", name, archive.size, archive.files);
        }
        print_size(console, "total", "", total, count);
        Ok(())
    }

    fn list(&self, console: &Console, long: bool) -> anyhow::Result<()> {
        let (sets, files) = (self.sets()?, self.stock.files()?);
        for set in &sets {
            let KeptSet { uid, verified_at, vouched, used, files, .. } = set;
            let verified = match verified_at {
                Some(at) => format!("verified {}, {vouched}", minute(*at)),
                None => "incomplete".to_owned(),
            };
            let text = format!("{}  used {}  {verified}", sized("boot", uid, set.size(), files.len()), minute(*used));
            let json = json!({
                "kind": "boot", "name": uid, "bytes": set.size(), "files": files.len(), "used": used,
                "verified_at": verified_at, "vouched": vouched,
            });
            console.row(&text, &json);
        }
        for (name, Archive { files, size, oldest, newest }) in archives(&files) {
            let used = format!("used {} to {}", minute(oldest), minute(newest));
            let json = json!({
                "kind": "archive", "name": name, "bytes": size, "files": files, "oldest_use": oldest,
                "newest_use": newest,
            });
            console.row(&format!("{}  {used}", sized("archive", name, size, files)), &json);
        }
        if long {
            self.list_files(console, &sets, &files);
        }
        Ok(())
    }

    fn list_files(&self, console: &Console, sets: &[KeptSet], files: &[StockFile]) {
        let row = |path: PathBuf, used: Timestamp, size: u64, digest: &str, verified: bool, knows: bool| {
            let state = match (verified, knows) {
                (true, _) => "verified",
                (false, true) => "as sent",
                (false, false) => "no digest",
            };
            let text = format!("file     {}  {state:<9}  {:>8}  {}", minute(used), Bytes(size), path.display());
            let json = json!({
                "kind": "file", "path": path, "bytes": size, "used": used, "sha256": knows.then_some(digest),
                "verified": verified,
            });
            console.row(&text, &json);
        };
        for set in sets {
            for file in &set.files {
                let digest = file.sha256.map(|digest| digest.to_string()).unwrap_or_default();
                let knows = file.sha256.is_some();
                row(set.place(file), set.used, file.size, &digest, knows, knows);
            }
        }
        for file in files {
            let digest = file.sha256.map(|digest| digest.to_string()).unwrap_or_default();
            row(self.stock.place(file), file.used, file.size, &digest, file.verified, file.sha256.is_some());
        }
    }
}

/// What there is of each archive, by its id.
fn archives(files: &[StockFile]) -> BTreeMap<&str, Archive> {
    let mut archives = BTreeMap::new();
    for StockFile { archive, size, used, .. } in files {
        let none = Archive { files: 0, size: 0, oldest: *used, newest: *used };
        let known = archives.entry(archive.as_str()).or_insert(none);
        (known.files, known.size) = (known.files + 1, known.size + size);
        (known.oldest, known.newest) = (known.oldest.min(*used), known.newest.max(*used));
    }
    archives
}

fn print_size(console: &Console, kind: &str, name: &str, size: u64, files: usize) {
    let json = json!({"kind": kind, "name": name, "bytes": size, "files": files});
    console.row(&sized(kind, name, size, files), &json);
}

fn sized(kind: &str, name: &str, size: u64, files: usize) -> String {
    let unit = if files == 1 { "file" } else { "files" };
    format!("{kind:<7}  {name:<24}  {:>8}  {files:>6} {unit:<5}", Bytes(size)).trim_end().to_owned()
}

/// `2026-11-23 07:09Z`
fn minute(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%MZ")
}

/// An error of removing something, with its remedy.
fn not_removed(path: &Path, error: io::Error) -> anyhow::Error {
    let what = format!("removing {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Hinted::new(what, "it has to be done as the user whose cache it is, where it can be written to").into()
        }
        _ => anyhow::Error::new(error).context(format!("removing {}", path.display())),
    }
}
