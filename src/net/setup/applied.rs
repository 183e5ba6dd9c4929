use std::{io, path::Path};

use anyhow::Context;

use super::{
    Change, Tools,
    changer::Changer,
    record::{Header, Record},
};
use crate::net::{Place, probe::Interface};

/// Changes in force. Dropping it reverts them as well, but only [`Applied::revert`] can say what went wrong.
#[derive(Debug)]
#[must_use = "dropping it reverts the changes"]
pub struct Applied {
    changer: Changer,
    made: Vec<Change>,
    /// `None` once reverted.
    record: Option<Record>,
}

/// Makes `changes` to `interface`, in their order, each after writing it to the file `record`.
///
/// # Errors
/// What was made is reverted before an error is returned. An existing `record` is an error: call [`recover`](super::recover) first.
pub fn apply(
    place: &Place,
    tools: &Tools,
    interface: &Interface,
    changes: &[Change],
    record: &Path,
) -> anyhow::Result<Applied> {
    let header = Header::new(place, interface).context("telling this boot from others")?;
    let mut applied = Applied {
        changer: Changer {
            place: place.clone(),
            tools: tools.clone(),
            interface: interface.name.clone(),
            index: interface.index,
        },
        made: Vec::new(),
        record: Some(Record::create(place, record, &header)?),
    };
    for change in changes {
        applied.make(change)?;
    }
    Ok(applied)
}

impl Applied {
    /// What was changed, in the order in which it was.
    pub fn changes(&self) -> &[Change] {
        &self.made
    }

    /// Puts everything back, the last change first. A change that cannot be undone does not keep the others from it.
    ///
    /// # Errors
    /// The first failure. The record then stays, so that the next start tries again.
    pub fn revert(mut self) -> anyhow::Result<()> {
        self.put_back()
    }

    fn make(&mut self, change: &Change) -> anyhow::Result<()> {
        if let Some(record) = &mut self.record {
            record.push(change)?;
        }
        // What failed half-way must be undone too; only what somebody else has made since we looked is not ours.
        let outcome = self.changer.make(change);
        let theirs = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
        if !theirs {
            self.made.push(change.clone());
        }
        outcome.with_context(|| format!("trying to {}", change.on(&self.changer.interface)))
    }

    fn put_back(&mut self) -> anyhow::Result<()> {
        let Some(record) = self.record.take() else { return Ok(()) };
        undo(&self.changer, &self.made)?;
        record.remove(&self.changer.place)
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        if let Err(error) = self.put_back() {
            tracing::error!("{error:#}");
        }
    }
}

/// Undoes all of `changes`, the last first; returns the first failure.
pub(super) fn undo(changer: &Changer, changes: &[Change]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for change in changes.iter().rev() {
        let undone = changer.undo(change).with_context(|| format!("undoing «{}»", change.on(&changer.interface)));
        outcome = outcome.and(undone);
    }
    outcome
}
