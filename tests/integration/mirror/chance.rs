//! Numbers that look like chance and come again with their seed.

use std::{env, ops::Range};

/// The environment variable that repeats a run.
const SEED: &str = "MIRROR_SEED";

/// SplitMix64: every seed is a good one.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Of this run: from the environment, or new. Either way it is printed, where a failing test shows it.
    pub fn of_this_run() -> Self {
        let given = env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| u64::from_le_bytes(provisioner::random::bytes().expect("random bytes")));
        eprintln!("repeat it with {SEED}={seed}");
        Self(seed)
    }

    /// Always the same for the same text.
    pub fn of(text: &str) -> Self {
        Self(text.bytes().fold(0, |seed, byte| Self(seed ^ u64::from(byte)).next()))
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of this range, which is not empty.
    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + (self.next() % range.len() as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.within(0..times) == 0
    }

    /// Bytes without a pattern.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.flatten().take(length).collect()
    }
}
