use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::installs::Packages;
use crate::model::{EventKind, Mac};

/// Every how many packages the operator is told: often enough to see that it moves, seldom enough to read.
const STEP: u64 = 50;

/// The packages that each machine fetches through the mirror.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<Mac, Count>>);

#[derive(Debug, Default)]
struct Count {
    count: u64,
    bytes: u64,
    /// Files whose content nothing here vouches for, as `<archive>/<path>`.
    unverified: BTreeSet<String>,
    /// How many packages and unverified files were told of.
    told: (u64, u64),
    /// Which, as `<archive>/<path>`.
    taken: Packages,
    /// Whether this run saw the installation from its start.
    whole: bool,
}

impl Tally {
    /// One more package, and its bytes; an event when it is time for one.
    pub fn add(&self, mac: Mac, package: String, bytes: u64) -> Option<EventKind> {
        let mut counts = self.counts();
        let count = counts.entry(mac).or_default();
        count.taken.insert(package);
        count.count += 1;
        count.bytes += bytes;
        (count.count >= count.told.0 + STEP).then(|| count.tell())
    }

    /// A file, package or not, whose content nothing here vouches for.
    pub fn add_unverified(&self, mac: Mac, file: String) {
        self.counts().entry(mac).or_default().unverified.insert(file);
    }

    /// What has not been told yet, at the end of an installation.
    pub fn rest(&self, mac: Mac) -> Option<EventKind> {
        let mut counts = self.counts();
        let count = counts.get_mut(&mac)?;
        (count.sum() != count.told).then(|| count.tell())
    }

    /// A new installation begins.
    pub fn restart(&self, mac: Mac) {
        self.counts().insert(mac, Count { whole: true, ..Count::default() });
    }

    /// What an installation that has ended took, and whether that is all of it. Told once.
    pub fn taken(&self, mac: Mac) -> Option<(Packages, bool)> {
        let mut counts = self.counts();
        let count = counts.get_mut(&mac).filter(|count| !count.taken.is_empty())?;
        Some((std::mem::take(&mut count.taken), std::mem::take(&mut count.whole)))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Mac, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn tell(&mut self) -> EventKind {
        self.told = self.sum();
        EventKind::Packages { count: self.count, bytes: self.bytes, unverified: self.told.1 }
    }

    fn sum(&self) -> (u64, u64) {
        (self.count, self.unverified.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn tells_at_every_step_and_once_at_the_end() {
        let tally = Tally::default();
        let told: Vec<_> = (0..STEP + 3).filter_map(|n| tally.add(MAC, format!("debian/{n}"), 10)).collect();
        let packages = |count, unverified| EventKind::Packages { count, bytes: count * 10, unverified };
        assert_eq!(told, [packages(STEP, 0)]);
        let all = STEP + 3;
        assert_eq!(tally.rest(MAC), Some(packages(all, 0)));
        assert_eq!(tally.rest(MAC), None);
        for _ in 0..2 {
            tally.add_unverified(MAC, "debian/extra.cfg".to_owned());
        }
        assert_eq!(tally.rest(MAC), Some(packages(all, 1)), "one file, however often it is asked for");
        tally.restart(MAC);
        assert_eq!(tally.rest(MAC), None);
    }

    #[test]
    fn knows_whether_it_saw_an_installation_from_its_start() {
        let tally = Tally::default();
        let taken = || tally.taken(MAC).map(|(taken, whole)| (taken.into_iter().collect::<Vec<_>>(), whole));
        assert_eq!(taken(), None);
        // As after a restart of this program in the middle.
        tally.add(MAC, "debian/b".to_owned(), 1);
        assert_eq!(taken(), Some((vec!["debian/b".to_owned()], false)));
        tally.restart(MAC);
        for package in ["debian/c", "debian/a", "debian/a"] {
            tally.add(MAC, package.to_owned(), 1);
        }
        assert_eq!(taken(), Some((vec!["debian/a".to_owned(), "debian/c".to_owned()], true)));
        assert_eq!(taken(), None, "told once");
    }
}
