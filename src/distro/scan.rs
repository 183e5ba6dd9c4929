//! Where a template says what. The engine tells which names a template looks up, but neither on which line nor which ones its
//! fellows bring along by `include`: this reads its tags for that, and nothing else of its language.

/// What stands in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Name(&'t str),
    /// `name` in `value.name`.
    Attribute,
    Text(&'t str),
    Other(u8),
}

/// A `{{ … }}` or `{% … %}`.
#[derive(Debug)]
pub(super) struct Tag<'t> {
    statement: bool,
    /// With the lines they are on, which count from 1.
    tokens: Vec<(usize, Token<'t>)>,
}

impl<'t> Tag<'t> {
    /// The line on which it looks up `name`.
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.tokens.iter().find(|(_, token)| *token == Token::Name(name)).map(|(line, _)| *line)
    }

    /// Every piece of quoted text in it: names of other templates among them.
    pub fn texts(&self) -> impl Iterator<Item = &'t str> {
        self.tokens.iter().filter_map(|(_, token)| if let Token::Text(text) = token { Some(*text) } else { None })
    }

    /// The template that it includes, and on which line, where it names one and must have it.
    pub fn include(&self) -> Option<(usize, &'t str)> {
        let [(_, Token::Name("include" | "import" | "from" | "extends")), (line, Token::Text(name)), rest @ ..] =
            &self.tokens[..]
        else {
            return None;
        };
        let optional = rest.iter().any(|(_, token)| *token == Token::Name("ignore"));
        (self.statement && !optional).then_some((*line, *name))
    }

    /// The names that it gives a meaning to: a loop's, a macro's, what is `set`.
    pub fn bound(&self) -> Vec<&'t str> {
        let mut tokens = self.tokens.iter().map(|(_, token)| *token);
        let end = match tokens.next() {
            Some(Token::Name("set")) => Token::Other(b'='),
            Some(Token::Name("for")) => Token::Name("in"),
            // These bind some of their names and look up others. To take all of them as bound misses a mistake at worst.
            Some(Token::Name("with" | "macro" | "import" | "from" | "call")) => Token::Other(0),
            _ => return Vec::new(),
        };
        let names = tokens.take_while(|token| *token != end);
        let names = names.filter_map(|token| if let Token::Name(name) = token { Some(name) } else { None });
        if self.statement { names.collect() } else { Vec::new() }
    }
}

/// The tags of a template, in order. Comments are left out.
pub(super) fn tags(text: &str) -> Vec<Tag<'_>> {
    let bytes = text.as_bytes();
    let (mut tags, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        match bytes[at..] {
            [b'{', b'#', ..] => {
                let end = text[at..].find("#}").map_or(bytes.len(), |length| at + length);
                line += lines(&bytes[at..end]);
                at = end;
            }
            [b'{', kind @ (b'{' | b'%'), ..] => {
                let (tokens, mut end) = tokens(text, at + 2, line, if kind == b'%' { b'%' } else { b'}' });
                if matches!(tokens[..], [(_, Token::Name("raw"))]) {
                    end = text[end..].find("endraw").map_or(bytes.len(), |length| end + length);
                }
                tags.push(Tag { statement: kind == b'%', tokens });
                line += lines(&bytes[at..end]);
                at = end;
            }
            [byte, ..] => {
                line += usize::from(byte == b'\n');
                at += 1;
            }
            [] => break,
        }
    }
    tags
}

/// The tokens of the tag whose inside begins at `at`, and where it ends.
fn tokens(text: &str, mut at: usize, mut line: usize, end: u8) -> (Vec<(usize, Token<'_>)>, usize) {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut dotted = false;
    while at < bytes.len() {
        let from = at;
        at += 1;
        match bytes[from] {
            byte if byte == end && bytes.get(at) == Some(&b'}') => return (tokens, at + 1),
            quote @ (b'"' | b'\'') => {
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = at.min(bytes.len());
                // A quote is never inside another character; a backslash may stand before one of several bytes.
                tokens.push((line, Token::Text(text.get(from + 1..at).unwrap_or_default())));
                line += lines(&bytes[from..at]);
                at += 1;
                dotted = false;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                while bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    at += 1;
                }
                tokens.push((line, if dotted { Token::Attribute } else { Token::Name(&text[from..at]) }));
                dotted = false;
            }
            byte if byte.is_ascii_whitespace() => line += usize::from(byte == b'\n'),
            // `{%- … -%}` and `{%+` are about blanks only.
            b'-' | b'+' if tokens.is_empty() => {}
            byte => {
                dotted = byte == b'.';
                tokens.push((line, Token::Other(byte)));
            }
        }
    }
    (tokens, bytes.len())
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "é ${x} {# {{ no }} #}{% raw %}${#x}{{ no }}{% endraw %}\n{% set a, b = c.d %}{{ 'q }}' ~ e\n | f }}\n{%- for g in h %}{% include \"i.sh\" %}\n\
                        {% include \"j\" ignore missing %}{{ \"\\\"\" }}{% macro k(l) %}{% endmacro %} {{ unclosed";

    #[test]
    fn names_are_found_on_their_lines() {
        let line = |name| tags(TEXT).iter().find_map(|tag| tag.line_of(name));
        let rows = [
            ("a", Some(2)),
            ("c", Some(2)),
            ("d", None),
            ("e", Some(2)),
            ("f", Some(3)),
            ("h", Some(4)),
            ("no", None),
            ("q", None),
            ("x", None),
            ("unclosed", Some(5)),
        ];
        for (name, expected) in rows {
            assert_eq!(line(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_bound_and_what_is_included_is_told() {
        let tags = tags(TEXT);
        assert_eq!(tags.iter().flat_map(Tag::bound).collect::<Vec<_>>(), ["a", "b", "g", "k", "l"]);
        assert_eq!(tags.iter().filter_map(Tag::include).collect::<Vec<_>>(), [(4, "i.sh")]);
        assert_eq!(tags.iter().flat_map(Tag::texts).collect::<Vec<_>>(), ["q }}", "i.sh", "j", "\\\""]);
    }
}
