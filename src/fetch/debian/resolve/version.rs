//! Which of two versions is newer, as dpkg sees it (Debian Policy 5.6.12, deb-version(7)). Pure.

use std::cmp::Ordering;

/// Compares `[epoch:]upstream[-revision]`. An absent epoch is 0, an absent revision is `0`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    numbers(a.epoch, b.epoch).then_with(|| part(a.upstream, b.upstream)).then_with(|| part(a.revision, b.revision))
}

struct Parts<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        Self { epoch, upstream, revision }
    }
}

/// Compares runs of other characters and runs of digits in turn.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let ((words_a, rest_a), (words_b, rest_b)) = (run(a, false), run(b, false));
        let ((digits_a, rest_a), (digits_b, rest_b)) = (run(rest_a, true), run(rest_b, true));
        let order = words(words_a, words_b).then_with(|| numbers(digits_a, digits_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn run(text: &str, digits: bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

fn words(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.bytes(), b.bytes());
    loop {
        let (left, right) = (a.next(), b.next());
        let order = weight(left).cmp(&weight(right));
        if order.is_ne() || left.is_none() {
            return order;
        }
    }
}

/// A tilde goes before the end, the end before letters, letters before all else.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    }
}

/// Digits of any length as numbers.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn versions_are_ordered_as_the_policy_says() {
        // From old to new.
        let order = [
            "1.0~~",
            "1.0~~a",
            "1.0~",
            "1.0~rc1-9",
            "1.0",
            "1.0-0.1",
            "1.0-1",
            "1.0-1+b2",
            "1.0-1+deb12u9",
            "1.0-1+deb12u10",
            "1.0a",
            "1.0+dfsg",
            "1.0.1",
            "1.2",
            "1.10",
            "2",
            "1:0.1",
            "2:0",
        ];
        for (index, older) in order.iter().enumerate() {
            assert_eq!(compare(older, older), Ordering::Equal, "{older}");
            for newer in &order[index + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            }
        }
        for (a, b) in [("1.0", "0:1.0-0"), ("1.00", "1.0"), ("1.0-", "1.0"), ("0:1", "1")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn dpkg_itself_agrees() {
        let versions = [
            "1.0", "1.0-0", "1.0~rc1", "1.0~", "1.00", "1.0.0", "1.0a", "1.a", "1+b1", "1-1-1", "1:1", "0:2-~", "2-+",
            "7.z.9",
        ];
        for a in versions {
            for b in versions {
                let run = Command::new("dpkg").args(["--compare-versions", a, "lt", b]).output();
                let Ok(output) = run else {
                    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "dpkg is missing");
                    eprintln!("skipped: dpkg is not installed");
                    return;
                };
                assert_eq!(compare(a, b).is_lt(), output.status.success(), "{a} lt {b}");
            }
        }
    }
}
