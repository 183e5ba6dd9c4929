use std::fs::File;

use crate::{
    fetch::{Standing, Suites},
    mirror::{Known, Ledger},
};

/// The files of a Debian archive, as one run has taken its suites.
pub struct SuiteLedger(Suites);

const UNLISTED: &str = "the suite's signed metadata of this run does not list it";

impl SuiteLedger {
    /// A ledger of what `suites` list.
    pub fn new(suites: Suites) -> Self {
        Self(suites)
    }
}

impl Ledger for SuiteLedger {
    fn look_up(&self, mirror: &str, path: &str) -> Known {
        match self.0.look_up(mirror, path) {
            Standing::Unknown => Known::Nothing,
            Standing::Content(expected) => Known::Content(expected),
            Standing::Here(file) => Known::Here(file),
            // What clients then do: APT and debootstrap ask for another form of an index, or do without.
            Standing::Absent => Known::Refused(UNLISTED),
        }
    }

    fn learn(&self, mirror: &str, path: &str, file: &File) {
        self.0.learn(mirror, path, file);
    }
}
