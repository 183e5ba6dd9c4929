//! Which of two versions is newer, as rpm sees it (`rpmvercmp`, rpm-version(7)). Pure.

use std::cmp::Ordering;

/// Compares `[epoch:]version-release`. An absent epoch is 0.
pub fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> [String; 3] {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        [epoch, version, release].map(str::to_owned)
    };
    let pairs = parts(a).into_iter().zip(parts(b));
    pairs.map(|(a, b)| segments(&a, &b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Compares one part: runs of digits as numbers, runs of letters as text; `~` is older than the end, `^` newer than it.
fn segments(a: &str, b: &str) -> Ordering {
    let separates = |c: char| !(c.is_ascii_alphanumeric() || c == '~' || c == '^');
    let (mut a, mut b) = (a, b);
    loop {
        (a, b) = (a.trim_start_matches(separates), b.trim_start_matches(separates));
        match (a.strip_prefix('~'), b.strip_prefix('~')) {
            (Some(left), Some(right)) => {
                (a, b) = (left, right);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        match (a.strip_prefix('^'), b.strip_prefix('^')) {
            (Some(left), Some(right)) => {
                (a, b) = (left, right);
                continue;
            }
            (Some(_), None) => return if b.is_empty() { Ordering::Greater } else { Ordering::Less },
            (None, Some(_)) => return if a.is_empty() { Ordering::Less } else { Ordering::Greater },
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let number = a.starts_with(|c: char| c.is_ascii_digit());
        let of_kind = |c: char| if number { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let split = |text: &'_ str| text.find(|c| !of_kind(c)).unwrap_or(text.len());
        let ((left, rest_a), (right, rest_b)) = (a.split_at(split(a)), b.split_at(split(b)));
        if right.is_empty() {
            // A number is newer than letters.
            return if number { Ordering::Greater } else { Ordering::Less };
        }
        let order = if number {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        } else {
            left.cmp(right)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const VERSIONS: [&str; 24] = [
        "1.0",
        "1.0.1",
        "1.00",
        "1.01",
        "1.10",
        "1.2",
        "2",
        "10",
        "1.0a",
        "1.0b",
        "1.a",
        "a",
        "b1",
        "1.0~rc1",
        "1.0~rc2",
        "1.0~",
        "1.0^git1",
        "1.0^",
        "1.0^git1~x",
        "1.0.^",
        "1_0",
        "16.1",
        "0016",
        "20240101",
    ];

    #[test]
    fn epoch_goes_before_version_before_release() {
        let rows = [
            ("1:1-1", "2-1", Ordering::Greater),
            ("0:1-1", "1-1", Ordering::Equal),
            ("2.12-40.fc43", "2.12-9.fc43", Ordering::Greater),
            ("16.1-5", "15.8-3", Ordering::Greater),
            ("1.0~rc1-9", "1.0-1", Ordering::Less),
            ("1-1.fc9", "1-1.fc10", Ordering::Less),
        ];
        for (a, b, expected) in rows {
            assert_eq!(compare(a, b), expected, "{a} {b}");
            assert_eq!(compare(b, a), expected.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn rpm_itself_agrees() {
        let pairs: Vec<_> = VERSIONS.iter().flat_map(|a| VERSIONS.iter().map(move |b| (*a, *b))).collect();
        let calls: String = pairs.iter().map(|(a, b)| format!("print(rpm.vercmp('{a}','{b}')..' ')")).collect();
        let run = Command::new("rpm").args(["--eval", &format!("%{{lua:{calls}}}")]).output();
        let output = match run {
            Ok(output) if output.status.success() => output,
            _ => {
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "rpm is missing");
                eprintln!("skipped: rpm is not installed");
                return;
            }
        };
        let answers = String::from_utf8(output.stdout).expect("text");
        let answers: Vec<i8> = answers.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        assert_eq!(answers.len(), pairs.len());
        for ((a, b), expected) in pairs.into_iter().zip(answers) {
            assert_eq!(segments(a, b) as i8, expected, "{a} {b}");
        }
    }
}
