//! What of a growing file may be given out before the verdict.

use super::entity::{Phase, Progress};

/// How many of the last bytes of a file whose content is known are held back until the verdict.
///
/// A shorter file is given out after its verdict only, as most packages are, so that a wrong one costs its clients nothing but
/// time: another mirror is asked before they see a byte. librepo gives up below 1000 B/s for 30 s, so no more may be held back
/// than a very slow upstream sends in that time.
const HELD: u64 = 64 * 1024;

/// How much of what is written readers may have before the verdict.
///
/// Not the last byte, so that whoever holds a complete body holds a right one; without a length it is the end of the body that
/// waits. Of a file whose content is known, none of the last [`HELD`] bytes.
pub(super) fn readable(written: u64, length: Option<u64>, known: bool) -> u64 {
    match length {
        _ if known => written.saturating_sub(HELD),
        Some(length) => written.min(length.saturating_sub(1)),
        None => written,
    }
}

/// Up to where who reads up to `end`, or all, may read now; the writer has said what is [`readable`].
///
/// A part of a file whose content is known may end long before what is held back of it. It lacks its last byte too until the
/// verdict, so that no part of a wrong file is taken for right.
pub(super) fn limit(now: Progress, end: Option<u64>, known: bool) -> u64 {
    let waits = known && now.phase == Phase::Growing;
    now.readable.min(end.map_or(u64::MAX, |end| end.saturating_sub(u64::from(waits))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_known_file_lacks_its_last_byte_until_the_verdict() {
        let (growing, complete) = (Phase::Growing, Phase::Complete);
        for (readable, phase, end, [known, unknown]) in [
            (90, growing, Some(20), [19, 20]),
            (20, growing, Some(20), [19, 20]),
            (19, growing, Some(20), [19, 19]),
            (90, growing, Some(0), [0, 0]),
            (90, growing, None, [90, 90]),
            (100, complete, Some(20), [20, 20]),
            (100, complete, Some(100), [100, 100]),
            (100, complete, None, [100, 100]),
        ] {
            let now = Progress { readable, phase };
            assert_eq!([true, false].map(|is| limit(now, end, is)), [known, unknown], "{now:?}, up to {end:?}");
        }
    }

    #[test]
    fn the_end_waits_for_the_verdict() {
        for (written, length, expected) in
            [(0, Some(0), 0), (0, Some(9), 0), (8, Some(9), 8), (9, Some(9), 8), (1, Some(1), 0), (9, None, 9)]
        {
            assert_eq!(readable(written, length, false), expected, "{written} of {length:?}");
        }
        for (written, expected) in [(0, 0), (HELD, 0), (HELD + 1, 1), (10 * HELD, 9 * HELD)] {
            for length in [None, Some(10 * HELD)] {
                assert_eq!(readable(written, length, true), expected, "{written} of {length:?}, known");
            }
        }
    }
}
