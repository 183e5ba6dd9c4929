use std::{collections::VecDeque, time::Duration};

/// How often all mirrors that are left are asked once more.
const ROUNDS: u32 = 4;
/// The pause before the second round. Each further one is twice as long: 3.75 s in all, well below what clients wait for.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Whom to ask next for one file: its mirrors in turn, until one delivers or none is left.
#[derive(Debug)]
pub(super) struct Rotation {
    /// The one whose turn it is comes first.
    left: VecDeque<usize>,
    /// How many turns of this round have failed.
    failed: usize,
    rounds: u32,
}

impl Rotation {
    /// Asks mirrors, by their numbers, in this order.
    pub fn new(order: impl IntoIterator<Item = usize>) -> Self {
        Self { left: order.into_iter().collect(), failed: 0, rounds: 0 }
    }

    /// Whose turn it is.
    pub fn current(&self) -> usize {
        *self.left.front().expect("a turn is taken only where a mirror is left")
    }

    /// Whether somebody else could be asked.
    pub fn has_another(&self) -> bool {
        self.left.len() > 1
    }

    /// The current one failed and may do better later: the turn is the next one's, after a pause. `None` ends it.
    pub fn pass(&mut self) -> Option<Duration> {
        self.left.rotate_left(1);
        self.failed += 1;
        self.turn()
    }

    /// The current one will not deliver this file: the turn is the next one's, after a pause. `None` ends it.
    pub fn strike(&mut self) -> Option<Duration> {
        self.left.pop_front();
        self.turn()
    }

    /// These are asked no more, unless the turn is theirs.
    pub fn strike_others(&mut self, struck: &[usize]) {
        let current = self.current();
        self.left.retain(|mirror| *mirror == current || !struck.contains(mirror));
    }

    /// Something was delivered: patience begins anew. A mirror that cuts every connection after some megabytes still gets us to
    /// the end.
    pub fn progressed(&mut self) {
        (self.failed, self.rounds) = (0, 0);
    }

    fn turn(&mut self) -> Option<Duration> {
        if self.failed < self.left.len() {
            return Some(Duration::ZERO);
        }
        self.failed = 0;
        self.rounds += 1;
        (!self.left.is_empty() && self.rounds <= ROUNDS).then(|| FIRST_PAUSE * 2_u32.pow(self.rounds - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mirror_is_asked_again_with_growing_pauses() {
        let mut rotation = Rotation::new([0]);
        let pauses: Vec<_> = std::iter::from_fn(|| rotation.pass()).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000]);
        rotation.progressed();
        assert_eq!(rotation.pass(), Some(FIRST_PAUSE));
        assert_eq!(rotation.strike(), None);
    }

    #[test]
    fn several_take_turns_and_only_a_round_without_success_is_paused_after() {
        let mut rotation = Rotation::new([0, 2, 1]);
        let mut turns = vec![(0, rotation.current())];
        while let Some(pause) = rotation.pass() {
            turns.push((pause.as_millis(), rotation.current()));
        }
        assert_eq!(turns.len(), 15);
        assert_eq!(turns[..5], [(0, 0), (0, 2), (0, 1), (250, 0), (0, 2)]);
    }

    #[test]
    fn who_is_struck_out_is_not_asked_again() {
        let mut rotation = Rotation::new([0, 1, 2]);
        assert_eq!((rotation.pass(), rotation.current()), (Some(Duration::ZERO), 1));
        assert_eq!((rotation.strike(), rotation.current()), (Some(Duration::ZERO), 2));
        assert_eq!((rotation.strike(), rotation.current(), rotation.has_another()), (Some(FIRST_PAUSE), 0, false));
        assert_eq!(rotation.strike(), None);

        let mut rotation = Rotation::new([0, 1, 2]);
        rotation.pass();
        rotation.strike_others(&[0, 1]);
        assert_eq!((rotation.current(), rotation.pass(), rotation.current()), (1, Some(FIRST_PAUSE), 2));
    }
}
