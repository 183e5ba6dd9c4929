//! Relations between packages: `a (>= 1) | b, c` (Debian Policy 7.1). Pure.

use std::cmp::Ordering;

use super::version;

/// One package of a relation, and which versions of it will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative<'a> {
    /// Its name, without the architecture that may follow it.
    pub name: &'a str,
    /// `>=` and a version.
    pub version: Option<(&'a str, &'a str)>,
}

/// The groups of a field, each of which one alternative has to fulfil.
pub fn groups(field: &str) -> impl Iterator<Item = Vec<Alternative<'_>>> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(Alternative::parse).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
}

impl<'a> Alternative<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once('(').unwrap_or((text, ""));
        let name = name.split_whitespace().next()?.split(':').next()?;
        let version = rest.split_once(')').map(|(version, _)| version.trim()).and_then(|version| {
            let operator = version.find(|c| !matches!(c, '<' | '>' | '='))?;
            Some((&version[..operator], version[operator..].trim()))
        });
        Some(Self { name, version })
    }

    /// Whether this version will do.
    pub fn takes(&self, version: &str) -> bool {
        self.version.is_none_or(|(operator, bound)| {
            let order = version::compare(version, bound);
            match operator {
                "<<" => order == Ordering::Less,
                "<=" | "<" => order != Ordering::Greater,
                "=" => order == Ordering::Equal,
                ">=" | ">" => order != Ordering::Less,
                ">>" => order == Ordering::Greater,
                _ => false,
            }
        })
    }

    /// Whether something provided will do, which is without a version unless it says one (`= 1`).
    pub fn takes_provided(&self, provided: &Alternative<'_>) -> bool {
        provided.name == self.name
            && (self.version.is_none() || provided.version.is_some_and(|(_, version)| self.takes(version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_groups_of_alternatives() {
        let field = "libc6 (>= 2.36), perl:any, a [amd64] <!nocheck> | b (<< 1:2~), ";
        let parsed: Vec<_> =
            groups(field).map(|group| group.iter().map(|a| (a.name, a.version)).collect::<Vec<_>>()).collect();
        let expected: [Vec<_>; 3] = [
            vec![("libc6", Some((">=", "2.36")))],
            vec![("perl", None)],
            vec![("a", None), ("b", Some(("<<", "1:2~")))],
        ];
        assert_eq!(parsed, expected);
        assert_eq!(groups(" ").count(), 0);
    }

    #[test]
    fn versions_are_compared_as_the_operator_says() {
        for (relation, version, takes) in [
            ("a", "1", true),
            ("a (>= 1.10)", "1.9", false),
            ("a (>= 1.10)", "1.10", true),
            ("a (= 1)", "1-0", true),
            ("a (<< 2)", "2", false),
            ("a (<< 2)", "2~rc1", true),
            ("a (<= 2)", "2", true),
            ("a (>> 2)", "2", false),
            ("a (!= 2)", "1", false),
        ] {
            let group = groups(relation).next().expect("a group");
            assert_eq!(group[0].takes(version), takes, "{relation} {version}");
        }
    }

    #[test]
    fn what_is_provided_has_no_version_unless_it_says_so() {
        let takes = |wanted: &str, provided: &str| {
            let (wanted, provided) = (groups(wanted).next().expect("one"), groups(provided).next().expect("one"));
            wanted[0].takes_provided(&provided[0])
        };
        assert!(takes("mta", "mta") && takes("mta", "mta (= 1)") && takes("mta (>= 1)", "mta (= 2)"));
        assert!(!takes("mta (>= 1)", "mta") && !takes("mta (>= 3)", "mta (= 2)") && !takes("mta", "mda"));
    }
}
