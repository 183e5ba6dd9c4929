//! Templates of answer files, scripts and names.
//!
//! Escaping goes by the name of the file that a value lands in, and happens to every value without being asked for: a
//! template cannot forget it.

use std::borrow::Cow;

use anyhow::Context as _;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, syntax::SyntaxConfig,
};

/// A value becomes one single-quoted word.
const SHELL: AutoEscape = AutoEscape::Custom(Cow::Borrowed("shell"));
/// A value becomes one word of a kickstart: of a command's line, which pykickstart takes apart by the shell's rules
/// (`shlex.split`), or of a script in one of its sections. Plain words stay as they are, which leaves lists of packages alone.
const KICKSTART: AutoEscape = AutoEscape::Custom(Cow::Borrowed("kickstart"));
/// A value must fit on its line.
const LINE: AutoEscape = AutoEscape::Custom(Cow::Borrowed("line"));

/// Renders one short string of a description, such as a path.
pub(super) fn string(template: &str, values: impl Into<Value>) -> anyhow::Result<String> {
    bare()?.render_str(template, values).with_context(|| format!("filling in {template:?}"))
}

/// The engine, with the rules for every template there is.
pub(super) fn bare() -> anyhow::Result<Environment<'static>> {
    let mut environment = Environment::new();
    // A misspelt variable must be an error: an answer that renders empty is a question on a screen nobody watches.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "sh")) => SHELL,
        Some((_, "ks")) => KICKSTART,
        _ => LINE,
    });
    environment.set_formatter(escape);
    Ok(environment)
}

/// SECURITY: the one place where a value enters a file that root executes on another machine.
fn escape(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |what| Err(Error::new(ErrorKind::InvalidOperation, what));
    if value.is_undefined() || value.is_none() {
        return Err(Error::new(ErrorKind::UndefinedError, "there is no such value"));
    }
    let text = value.to_string();
    if text.chars().any(char::is_control) {
        return refuse("a value with a line break or another control character cannot be an answer");
    }
    if *state.auto_escape() == SHELL || *state.auto_escape() == KICKSTART && !is_plain(&text) {
        return Ok(write!(out, "{}", quoted(&text))?);
    }
    // debconf-set-selections joins a line that ends so with the next one.
    if text.ends_with('\\') {
        return refuse("a value that ends with a backslash cannot be an answer");
    }
    Ok(out.write_str(&text)?)
}

/// Whether neither a shell nor pykickstart sees more than a word in it, wherever it stands: `%` would start a section, `#` a
/// comment.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"@^_+=:,./-".contains(&b))
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn render(name: &str, template: &str, value: &str) -> Result<String, Error> {
        let mut environment = bare().expect("an engine");
        environment.add_template_owned(name.to_owned(), template.to_owned())?;
        environment.get_template(name)?.render(context! { value })
    }

    #[test]
    fn every_value_in_a_script_is_one_quoted_word() {
        for (value, word) in [("plain", "'plain'"), ("", "''"), ("it's $(x) `y` \\", r"'it'\''s $(x) `y` \'")] {
            assert_eq!(render("a.sh", "echo {{ value }}\n", value).expect(value), format!("echo {word}\n"));
        }
    }

    #[test]
    fn every_value_in_a_kickstart_is_one_word_and_quoted_only_where_it_must_be() {
        for (value, word) in [
            ("http://192.0.2.1:80/x", "http://192.0.2.1:80/x"),
            ("@^a-b", "@^a-b"),
            ("", "''"),
            ("%end", "'%end'"),
            ("a # b", "'a # b'"),
            ("$6$salt$hash", "'$6$salt$hash'"),
            ("it's", r"'it'\''s'"),
            ("ends with \\", r"'ends with \'"),
        ] {
            assert_eq!(render("a.ks", "lang {{ value }}\n", value).expect(value), format!("lang {word}\n"));
        }
    }

    #[test]
    fn no_value_can_start_a_line_of_its_own() {
        for value in ["a\nd-i x", "a\r", "a\u{7f}", "a\u{85}"] {
            for name in ["a.sh", "a.ks", "a.cfg"] {
                assert!(render(name, "{{ value }}", value).is_err(), "{name} {value:?}");
            }
        }
        assert!(render("a.cfg", "{{ value }}", "joined to the next line \\").is_err());
        assert_eq!(render("a.cfg", "k {{ value }}\n", "it's").expect("a value"), "k it's\n");
    }

    #[test]
    fn an_undefined_value_is_an_error_wherever_it_is_used() {
        for template in ["{{ nothing }}", "{% if nothing %}{% endif %}", "{{ value.nothing }}", "{{ none }}"] {
            assert!(render("a.cfg", template, "").is_err(), "{template}");
        }
        assert!(string("dists/{{ codenam }}", context! { codename => "trixie" }).is_err());
    }
}
