use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use url::{Origin, Url};

/// How long a mirror that failed is asked last: long enough that not every file of an installation waits for a dead mirror, and
/// short enough that a restarted one is soon back in its place.
const SKIPPED: Duration = Duration::from_secs(300);

/// Which mirrors have failed of late, by their servers. A folder of this machine is none (its origin is opaque, RFC 6454 §4, and
/// like no other, not even its own): asking it first costs nobody a wait.
#[derive(Debug, Default)]
pub(super) struct Health(HashMap<Origin, Instant>);

impl Health {
    /// A mirror did not deliver, or not what is right. That it lacks a file is no failure: mirrors lag.
    pub fn note(&mut self, mirror: &Url, now: Instant) {
        let origin = mirror.origin();
        if origin.is_tuple() {
            self.0.insert(origin, now);
        }
    }

    /// In which order to ask the mirrors of a file: as they are listed, but those that failed of late last. None is left out,
    /// since a mirror that failed may be the only one that has the file.
    pub fn order(&self, mirrors: &[Url], now: Instant) -> Vec<usize> {
        let failed = |mirror: &Url| {
            let at = self.0.get(&mirror.origin());
            at.is_some_and(|at| now.saturating_duration_since(*at) < SKIPPED)
        };
        let mut order: Vec<_> = (0..mirrors.len()).collect();
        // Stable: the listed order among equals.
        order.sort_by_key(|index| failed(&mirrors[*index]));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_failed_is_asked_last_for_a_while() {
        let mirrors = ["http://a.test/f", "http://b.test/f", "http://c.test/f"].map(|url| url.parse().expect("a URL"));
        let [a, b, c] = &mirrors;
        let (mut health, start) = (Health::default(), Instant::now());
        let order = |health: &Health, after: u64| health.order(&mirrors, start + Duration::from_secs(after));
        assert_eq!(order(&health, 0), [0, 1, 2]);
        health.note(a, start);
        assert_eq!(order(&health, 0), [1, 2, 0]);
        health.note(b, start + Duration::from_secs(100));
        assert_eq!(order(&health, 299), [2, 0, 1]);
        assert_eq!(order(&health, 300), [0, 2, 1], "forgiven");
        health.note(a, start + Duration::from_secs(300));
        health.note(c, start + Duration::from_secs(300));
        assert_eq!(order(&health, 399), [0, 1, 2], "all of them failed: none is left out");
        let elsewhere = ["http://c.test/other/file".parse().expect("a URL"), "http://d.test/".parse().expect("a URL")];
        assert_eq!(health.order(&elsewhere, start + Duration::from_secs(301)), [1, 0], "a mirror is a server");
    }

    #[test]
    fn a_folder_that_failed_keeps_its_place_and_nothing_is_remembered_of_it() {
        let mirrors = ["file:///srv/debian/f", "http://b.test/f"].map(|url| url.parse().expect("a URL"));
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.note(&mirrors[0], now);
        }
        assert_eq!((health.order(&mirrors, now), health.0.len()), (vec![0, 1], 0));
    }
}
