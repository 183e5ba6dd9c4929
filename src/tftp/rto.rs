use std::time::Duration;

/// Waited before anything is known of the client; also the least that is ever waited. Well above the round trip of a
/// local network, and short enough that a lost packet does not feel like a hang.
const START: Duration = Duration::from_millis(250);

/// The most that is waited between two tries.
const LONGEST: Duration = Duration::from_secs(2);

/// The retransmission timeout: how long an acknowledgment may take before the window is sent again.
///
/// It follows the round trips that are seen (the estimator of RFC 6298 §2) and doubles with each try that brings nothing.
/// A client that negotiated a timeout (RFC 2349) gets just that.
#[derive(Debug, Clone)]
pub(super) struct Rto {
    negotiated: Option<Duration>,
    /// Smoothed round trip and its variation.
    seen: Option<(Duration, Duration)>,
    /// In a row, without an answer.
    tries: u32,
}

impl Rto {
    pub fn new(negotiated: Option<Duration>) -> Self {
        Self { negotiated, seen: None, tries: 0 }
    }

    /// How long to wait now.
    pub fn current(&self) -> Duration {
        let estimate = || {
            let (smooth, variation) = self.seen.unwrap_or_default();
            (smooth + variation * 4).clamp(START, LONGEST)
        };
        self.negotiated.unwrap_or_else(|| estimate().saturating_mul(1 << self.tries.min(8)).min(LONGEST))
    }

    /// An acknowledgment came. `round_trip` is how long it took; it is unknown when something was sent twice, because nobody
    /// can tell which copy is answered (Karn).
    pub fn answered(&mut self, round_trip: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            let (smooth, variation) = self.seen.unwrap_or((round_trip, round_trip / 2));
            self.seen = Some(((smooth * 7 + round_trip) / 8, (variation * 3 + smooth.abs_diff(round_trip)) / 4));
        }
        // While no round trip was ever seen, the longer wait may be just what this client needs. Later it was a loss, and
        // where every window loses something the wait would never shrink again.
        if self.seen.is_some() {
            self.tries = 0;
        }
    }

    /// Nothing came.
    pub fn unanswered(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(rto: &mut Rto) -> Vec<u128> {
        let mut wait = || {
            let waited = rto.current().as_millis();
            rto.unanswered();
            waited
        };
        (0..5).map(|_| wait()).collect()
    }

    #[test]
    fn doubles_to_two_seconds_and_recovers() {
        let mut rto = Rto::new(None);
        assert_eq!(tries(&mut rto), [250, 500, 1000, 2000, 2000]);
        rto.answered(Some(Duration::from_millis(1)));
        assert_eq!(tries(&mut rto), [250, 500, 1000, 2000, 2000]);
        rto.answered(None);
        assert_eq!(tries(&mut rto), [250, 500, 1000, 2000, 2000]);
    }

    #[test]
    fn a_client_slower_than_the_first_wait_is_not_hurried_for_ever() {
        let mut rto = Rto::new(None);
        rto.unanswered();
        rto.answered(None);
        assert_eq!(rto.current().as_millis(), 500, "what was long enough");
        rto.answered(Some(Duration::from_millis(400)));
        assert!(rto.current().as_millis() > 500, "{rto:?}");
    }

    #[test]
    fn a_slow_client_is_given_the_time_it_takes() {
        let mut rto = Rto::new(None);
        (0..50).for_each(|_| rto.answered(Some(Duration::from_millis(400))));
        assert!((400..600).contains(&rto.current().as_millis()), "{rto:?}");
        (0..50).for_each(|_| rto.answered(Some(Duration::from_secs(30))));
        assert_eq!(rto.current(), LONGEST);
    }

    #[test]
    fn a_negotiated_timeout_is_kept() {
        let mut rto = Rto::new(Some(Duration::from_secs(5)));
        rto.answered(Some(Duration::from_millis(1)));
        assert_eq!(tries(&mut rto), [5000; 5]);
    }
}
