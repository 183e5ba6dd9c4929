use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::model::{Event, Hinted};

/// The journal: one JSON object a line, appended and synced, never rewritten.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or makes the journal and returns the events in it.
    ///
    /// A line that cannot be read (a crash in the middle of an append) is skipped with a warning: it must not keep a
    /// provisioner from starting, and the events around it still tell which machines are installed.
    ///
    /// # Errors
    /// [`Hinted`] when it cannot be opened to read and write.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Vec<Event>)> {
        let unusable = |error| {
            let what = format!("opening journal {}: {error}", path.display());
            Hinted::new(what, "it must be a file that this user may write; move it away, or choose another --prefix")
        };
        let events = match File::open(path) {
            Ok(file) => read(path, file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(error).into()),
        };
        let file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(unusable)?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.end_last_line().with_context(|| format!("repairing journal {}", path.display()))?;
        Ok((journal, events))
    }

    /// Appends one event; it is on the disk when this returns.
    pub fn append(&mut self, event: &Event) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(event).context("writing an event as JSON")?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("writing journal {}", self.path.display()))
    }

    /// A line cut off by a crash must not swallow the next event too.
    fn end_last_line(&mut self) -> std::io::Result<()> {
        if self.file.seek(SeekFrom::End(0))? == 0 {
            return Ok(());
        }
        self.file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        if last != *b"\n" { self.file.write_all(b"\n") } else { Ok(()) }
    }
}

fn read(path: &Path, file: File) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("reading journal {}", path.display()))?;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(event) => events.push(event),
            Err(error) => {
                tracing::warn!("journal {}: line {} skipped: {error}", path.display(), number + 1);
            }
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{EventKind, Mac};

    #[test]
    fn a_line_cut_off_by_a_crash_loses_only_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let event = |kind| Event { at: Timestamp::UNIX_EPOCH, mac: Mac([2, 0, 0, 0, 0, 1]), kind };
        let (mut journal, none) = Journal::open(&path).expect("a new journal");
        assert!(none.is_empty());
        journal.append(&event(EventKind::LoadingKernel)).expect("an append");
        journal.file.write_all(br#"{"at":"2026-"#).expect("half a line");
        drop(journal);

        let (mut journal, first) = Journal::open(&path).expect("the journal again");
        assert_eq!(first, [event(EventKind::LoadingKernel)]);
        journal.append(&event(EventKind::Installed)).expect("an append");
        let (_, both) = Journal::open(&path).expect("the journal a third time");
        assert_eq!(both, [event(EventKind::LoadingKernel), event(EventKind::Installed)]);
    }
}
