//! What a new read request means for the port it came from.
//!
//! A client has one transfer per port (RFC 1350 §4: the port *is* its transfer id), so a second request from a port with a
//! live transfer is either the first one again, or the end of what the client wanted before.

use std::time::Duration;

/// Within this time an identical request is the network's doing, or a ROM that sends everything twice. A client that waits
/// for an answer waits longer.
const ECHO: Duration = Duration::from_millis(200);

/// The transfer that a port already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    /// It was asked for with the very same bytes.
    pub identical: bool,
    /// How long ago it was asked for.
    pub age: Duration,
    /// Something was sent already.
    pub answered: bool,
}

/// What to do with a read request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Serve it; what the port had before ends.
    Serve,
    /// Do nothing: the answer is under way.
    Ignore,
    /// All places are taken.
    Busy,
}

/// Judges a request. `others` counts the live transfers of all other ports.
pub(super) fn admit(live: Option<Live>, others: usize, limit: usize) -> Admission {
    match live {
        // A file that takes long to open (it may come from far) would else start anew with every impatient repetition.
        Some(Live { identical: true, age, answered }) if !answered || age < ECHO => Admission::Ignore,
        _ if others >= limit => Admission::Busy,
        _ => Admission::Serve,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_replaced_refused() {
        use Admission::*;
        let live = |identical, age, answered| Some(Live { identical, age: Duration::from_millis(age), answered });
        for (live, others, admission) in [
            (None, 0, Serve),
            (None, 3, Serve),
            (None, 4, Busy),
            (live(true, 0, true), 0, Ignore),
            (live(true, 199, true), 0, Ignore),
            (live(true, 200, true), 0, Serve), // Our answer was lost, or the client starts over.
            (live(true, 9000, false), 0, Ignore),
            (live(false, 0, true), 0, Serve), // edk2: probe, then the file, from one port.
            (live(false, 0, false), 0, Serve),
            (live(false, 0, true), 3, Serve),
            (live(true, 0, true), 4, Ignore),
        ] {
            assert_eq!(admit(live, others, 4), admission, "{live:?}, {others} others");
        }
    }
}
