//! What a package needs, as RPM writes it: a name, a name with a version, or an expression of these (rich dependencies,
//! rpm-dependencies(7)). Pure.

use std::{cmp::Ordering, fmt};

use anyhow::{Context as _, bail, ensure};

use super::version;

/// How deep expressions may nest; those of distributions have three levels.
const DEPTH_LIMIT: usize = 16;

/// How a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// There is no version.
    Any,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    Greater,
}

impl Op {
    /// As `primary.xml` has it in `flags`.
    pub fn of_flags(flags: Option<&str>) -> Self {
        match flags {
            Some("LT") => Self::Less,
            Some("LE") => Self::AtMost,
            Some("EQ") => Self::Equal,
            Some("GE") => Self::AtLeast,
            Some("GT") => Self::Greater,
            _ => Self::Any,
        }
    }

    fn of_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "<" => Self::Less,
            "<=" => Self::AtMost,
            "=" | "==" => Self::Equal,
            ">=" => Self::AtLeast,
            ">" => Self::Greater,
            _ => return None,
        })
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }

    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Any => true,
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::AtLeast => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// Whether what is provided in a version satisfies what is wanted in one.
///
/// What has no version satisfies no wish for one. Releases count only where both say theirs.
pub fn satisfies((provided, has): (Op, &str), (wanted, wants): (Op, &str)) -> bool {
    match (provided, wanted) {
        (_, Op::Any) => true,
        (Op::Any, _) => false,
        (Op::Equal, _) => {
            let without = |version: &str| version.rsplit_once('-').map(|(version, _)| version.to_owned());
            wanted.allows(match (without(has), without(wants)) {
                (Some(has), None) => version::compare(&has, wants),
                (None, Some(wants)) => version::compare(has, &wants),
                _ => version::compare(has, wants),
            })
        }
        // Ranges are provided next to never: they are taken to meet.
        _ => true,
    }
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// Whatever provides the name, in such a version.
    One {
        /// `bash`, `libc.so.6()(64bit)`, `/usr/bin/sh`
        name: String,
        /// How its version is compared.
        op: Op,
        /// The version; empty where there is none.
        version: String,
    },
    /// `(a and b)`
    All(Vec<Self>),
    /// `(a or b)`
    Either(Vec<Self>),
    /// `(a if b else c)`
    If(Box<Self>, Box<Self>, Option<Box<Self>>),
    /// `(a unless b else c)`
    Unless(Box<Self>, Box<Self>, Option<Box<Self>>),
    /// `(a with b)`: one package that is both.
    With(Vec<Self>),
    /// `(a without b)`: a package that is the first and not the second.
    Without(Box<Self>, Box<Self>),
}

impl Dependency {
    /// A name in any version.
    pub fn on(name: &str) -> Self {
        Self::One { name: name.to_owned(), op: Op::Any, version: String::new() }
    }

    /// Reads an expression, which is in parentheses.
    ///
    /// # Errors
    /// What is not one.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let words = words(text);
        let mut rest = words.as_slice();
        let parsed = Self::operand(&mut rest, 0).with_context(|| format!("reading the dependency {text}"))?;
        ensure!(rest.is_empty(), "reading the dependency {text}: there is more behind its end");
        Ok(parsed)
    }

    fn operand(rest: &mut &[&str], depth: usize) -> anyhow::Result<Self> {
        ensure!(depth < DEPTH_LIMIT, "it nests deeper than {DEPTH_LIMIT}");
        match take(rest)? {
            "(" => Self::inside(rest, depth + 1),
            name => Ok(match rest {
                [sign, version, ..] if let Some(op) = Op::of_sign(sign) => {
                    let one = Self::One { name: name.to_owned(), op, version: (*version).to_owned() };
                    *rest = &rest[2..];
                    one
                }
                _ => Self::on(name),
            }),
        }
    }

    /// What follows an opening parenthesis, the closing one included.
    fn inside(rest: &mut &[&str], depth: usize) -> anyhow::Result<Self> {
        let first = Self::operand(rest, depth)?;
        let operator = take(rest)?;
        let boxed = |rest: &mut &[&str]| Self::operand(rest, depth).map(Box::new);
        let parsed = match operator {
            ")" => return Ok(first),
            "and" | "or" | "with" => {
                let mut all = vec![first, Self::operand(rest, depth)?];
                while rest.first() == Some(&operator) {
                    take(rest)?;
                    all.push(Self::operand(rest, depth)?);
                }
                match operator {
                    "and" => Self::All(all),
                    "or" => Self::Either(all),
                    _ => Self::With(all),
                }
            }
            "without" => Self::Without(Box::new(first), boxed(rest)?),
            "if" | "unless" => {
                let condition = boxed(rest)?;
                let other = match rest.first() {
                    Some(&"else") => {
                        take(rest)?;
                        Some(boxed(rest)?)
                    }
                    _ => None,
                };
                let first = Box::new(first);
                if operator == "if" { Self::If(first, condition, other) } else { Self::Unless(first, condition, other) }
            }
            other => bail!("{other:?} is no operator"),
        };
        let end = take(rest)?;
        ensure!(end == ")", "there is {end:?} where it should end");
        Ok(parsed)
    }
}

fn take<'t>(rest: &mut &[&'t str]) -> anyhow::Result<&'t str> {
    let (first, others) = rest.split_first().context("it ends in the middle")?;
    *rest = others;
    Ok(first)
}

/// The words of an expression. Parentheses that belong to a name, as in `libc.so.6()(64bit)`, follow it without a space.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut word in text.split_ascii_whitespace() {
        while let Some(inner) = word.strip_prefix('(') {
            words.push(&word[..1]);
            word = inner;
        }
        // What closes more than was opened within the word belongs to the expression.
        let mut own = word.len();
        while word[..own].ends_with(')') && word[..own].matches(')').count() > word[..own].matches('(').count() {
            own -= 1;
        }
        words.extend((own > 0).then_some(&word[..own]));
        words.extend((own..word.len()).map(|at| &word[at..=at]));
    }
    words
}

impl fmt::Display for Dependency {
    /// As RPM writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, all: &[Self], operator: &str| {
            f.write_str("(")?;
            for (at, one) in all.iter().enumerate() {
                let space = if at > 0 { format!(" {operator} ") } else { String::new() };
                write!(f, "{space}{one}")?;
            }
            f.write_str(")")
        };
        let conditional = |f: &mut fmt::Formatter<'_>, a: &Self, word: &str, b: &Self, c: &Option<Box<Self>>| match c {
            Some(c) => write!(f, "({a} {word} {b} else {c})"),
            None => write!(f, "({a} {word} {b})"),
        };
        match self {
            Self::One { name, op: Op::Any, .. } => f.write_str(name),
            Self::One { name, op, version } => write!(f, "{name} {} {version}", op.sign()),
            Self::All(all) => joined(f, all, "and"),
            Self::Either(all) => joined(f, all, "or"),
            Self::With(all) => joined(f, all, "with"),
            Self::Without(a, b) => write!(f, "({a} without {b})"),
            Self::If(a, b, c) => conditional(f, a, "if", b, c),
            Self::Unless(a, b, c) => conditional(f, a, "unless", b, c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_are_read_and_written_alike() {
        for text in [
            "(a and b and c)",
            "((a or b) and libc.so.6(GLIBC_2.4)(64bit))",
            "(font(:lang=de) if langpacks-de else font(:lang=en))",
            "(crate(x/default) >= 1.0 with crate(x/default) < 2.0~)",
            "(a without b)",
            "(a unless (b or c) else d)",
            "((glibc or glibc-headers) and (langpacks-de or langpacks-de_DE))",
        ] {
            assert_eq!(Dependency::parse(text).expect(text).to_string(), text);
        }
        let read = |text: &str| format!("{:#}", Dependency::parse(text).expect_err(text));
        for (text, expected) in [
            ("(a and", "it ends in the middle"),
            ("(a xor b)", "\"xor\" is no operator"),
            ("(a and b or c)", "where it should end"),
            ("(a) (b)", "there is more behind its end"),
            ("", "it ends in the middle"),
            (&"(".repeat(40), "nests deeper"),
        ] {
            assert!(read(text).contains(expected), "{text}: {}", read(text));
        }
    }

    #[test]
    fn a_version_is_compared_as_rpm_does() {
        let has = |version| (Op::Equal, version);
        for (provided, wanted, expected) in [
            (has("1.2-3"), (Op::Any, ""), true),
            ((Op::Any, ""), (Op::AtLeast, "1"), false),
            (has("1.2-3"), (Op::Equal, "1.2"), true),
            (has("1.2-3"), (Op::Equal, "1.2-4"), false),
            (has("1.2"), (Op::Equal, "1.2-4"), true),
            (has("1.2-3"), (Op::AtLeast, "1.10"), false),
            (has("1:1.2-3"), (Op::AtLeast, "2"), true),
            (has("1.2-3"), (Op::Less, "1.3"), true),
            (has("1.2-3"), (Op::Greater, "1.2"), false),
            (has("1.2-3"), (Op::AtMost, "1.2"), true),
            ((Op::AtLeast, "1"), (Op::Equal, "2"), true),
        ] {
            assert_eq!(satisfies(provided, wanted), expected, "{provided:?} {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends_in_a_verdict(text in "[(a-c) ]{0,20}( (and|or|if|else|with) [(a-c)]{0,6}){0,3}") {
            let _ = Dependency::parse(&text);
        }
    }
}
