use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::model::{EventKind, Mac};

/// Every how many packages the operator is told: often enough to see that it moves, seldom enough to read.
const STEP: u64 = 50;

/// Counts the packages that each machine fetches through the mirror.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<Mac, Count>>);

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    count: u64,
    bytes: u64,
    told: u64,
}

impl Tally {
    /// One more package; an event when it is time for one.
    pub fn add(&self, mac: Mac, bytes: u64) -> Option<EventKind> {
        let mut counts = self.counts();
        let count = counts.entry(mac).or_default();
        count.count += 1;
        count.bytes += bytes;
        (count.count >= count.told + STEP).then(|| count.tell())
    }

    /// What has not been told yet, at the end of an installation.
    pub fn rest(&self, mac: Mac) -> Option<EventKind> {
        let mut counts = self.counts();
        let count = counts.get_mut(&mac)?;
        (count.count > count.told).then(|| count.tell())
    }

    /// A new installation begins.
    pub fn restart(&self, mac: Mac) {
        self.counts().remove(&mac);
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Mac, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn tell(&mut self) -> EventKind {
        self.told = self.count;
        EventKind::Packages { count: self.count, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_at_every_step_and_once_at_the_end() {
        let (tally, mac) = (Tally::default(), Mac([2, 0, 0, 0, 0, 1]));
        let told: Vec<_> = (0..STEP + 3).filter_map(|_| tally.add(mac, 10)).collect();
        assert_eq!(told, [EventKind::Packages { count: STEP, bytes: STEP * 10 }]);
        let all = STEP + 3;
        assert_eq!(tally.rest(mac), Some(EventKind::Packages { count: all, bytes: all * 10 }));
        assert_eq!(tally.rest(mac), None);
        tally.restart(mac);
        assert_eq!(tally.rest(mac), None);
    }
}
