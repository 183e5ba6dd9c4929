//! Answers for debian-installer: what it is told to install. Pure.

/// The answer to a question, if the file has one; the last one counts.
///
/// A line is owner, question, type and value (debconf-set-selections(1)); one that ends in a backslash goes on in the next.
pub fn answer(preseed: &str, question: &str) -> Option<String> {
    let text = preseed.replace("\\\n", " ");
    let value = |line: &str| {
        let line = line.trim_start();
        let mut words = line.split_whitespace();
        let (owner, asked) = (words.next()?, words.next()?);
        (!owner.starts_with('#') && asked == question).then(|| words.skip(1).collect::<Vec<_>>().join(" "))
    };
    text.lines().filter_map(value).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_counts() {
        let text = "# d-i pkgsel/include string no\nd-i pkgsel/include string vim\n  d-i pkgsel/include  string  curl \\\n  jq\n\
                    d-i mirror/http/proxy string\n";
        assert_eq!(answer(text, "pkgsel/include").as_deref(), Some("curl jq"));
        assert_eq!(answer(text, "mirror/http/proxy").as_deref(), Some(""));
        assert_eq!(answer(text, "pkgsel"), None);
    }
}
