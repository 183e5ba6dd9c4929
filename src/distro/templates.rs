use std::{collections::BTreeMap, fmt::Write as _};
use std::{collections::BTreeSet, error::Error as _};

use minijinja::{Environment, Error, ErrorKind, Value};

use super::{
    render,
    scan::{self, Tag},
};
use crate::model::Hinted;

/// The text of a template, and the file that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Path, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Templates that may include each other, parsed. Whatever is wrong with one is told by file and line.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    sources: BTreeMap<String, Template>,
}

impl Templates {
    /// Parses them; the keys are the names by which they include each other.
    ///
    /// # Errors
    /// For one whose syntax is wrong.
    pub fn parse(sources: BTreeMap<String, Template>) -> Result<Self, Hinted> {
        let mut environment = render::bare().expect("the settings of the engine are sound");
        // Without it an error does not say which value there is none of. SECURITY: its errors know the values of variables
        // then, so none of them may be passed on: `explain` takes out of them what may be shown.
        environment.set_debug(true);
        for (name, Template { text, .. }) in &sources {
            let parsed = environment.add_template_owned(name.clone(), text.clone());
            parsed.map_err(|error| explain(&error, &sources))?;
        }
        Ok(Self { environment, sources })
    }

    /// Adds a filter that templates may use.
    #[must_use]
    pub fn with_filter(mut self, name: &'static str, filter: fn(&str) -> String) -> Self {
        self.environment.add_filter(name, move |text: &str| filter(text));
        self
    }

    /// Looks for names that mean nothing, also where filling in will not come by.
    ///
    /// # Errors
    /// For the first name that is not in `known`, and for the first included template that there is not.
    pub fn check<'n>(
        &self,
        templates: impl IntoIterator<Item = &'n str>,
        known: &BTreeSet<String>,
    ) -> Result<(), Hinted> {
        // An included template sees what its includer has set, so what any of them sets is known to all.
        let bound: BTreeSet<_> =
            self.sources.values().flat_map(|template| scan::tags(&template.text)).flat_map(|tag| tag.bound()).collect();
        for (name, Template { file, text }) in templates.into_iter().filter_map(|name| self.sources.get_key_value(name))
        {
            let tags = scan::tags(text);
            let template = self.environment.get_template(name).expect("it was parsed");
            let mut unknown = unknown(&template, &self.environment, known);
            unknown.retain(|name| !bound.contains(root(name)));
            let line = |name: &str| tags.iter().find_map(|tag| tag.line_of(root(name))).unwrap_or(1);
            if let Some(name) = unknown.into_iter().min_by_key(|name| line(name)) {
                let (what, hint) = nothing_named(&name, known);
                return Err(Hinted::new(format!("{file}:{}: {what}", line(&name)), hint));
            }
            let missing = |(_, name): &(usize, &str)| !self.sources.contains_key(*name);
            if let Some((line, name)) = tags.iter().filter_map(Tag::include).find(missing) {
                return Err(Hinted::new(format!("{file}:{line}: there is no template {name:?}"), NO_TEMPLATE));
            }
        }
        Ok(())
    }

    /// Fills one in.
    ///
    /// # Errors
    /// When a value is missing or has no place where the template puts it.
    pub fn render(&self, name: &str, values: &Value) -> Result<String, Hinted> {
        let filled = self.environment.get_template(name).and_then(|template| template.render(values));
        filled.map_err(|error| explain(&error, &self.sources))
    }
}

const NO_TEMPLATE: &str = "it may be beside this one, in shared/, or in the folder that templates_of names";

/// What is wrong with a template that stands in a description, and the remedy: its syntax, or a name that is not in `known`.
pub(super) fn objection(text: &str, known: &BTreeSet<String>) -> Option<(String, String)> {
    let environment = render::bare().expect("the settings of the engine are sound");
    match environment.template_from_str(text) {
        Ok(template) => unknown(&template, &environment, known).first().map(|name| nothing_named(name, known)),
        Err(error) => Some((words(&error), remedy(error.kind()).to_owned())),
    }
}

/// Every name that a template looks up and nobody provides, sorted.
fn unknown(
    template: &minijinja::Template<'_, '_>,
    environment: &Environment<'_>,
    known: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut names: BTreeSet<_> = template.undeclared_variables(true).into_iter().collect();
    names.retain(|name| !known.contains(name) && environment.globals().all(|(global, _)| global != root(name)));
    names
}

/// `value` of `value.attribute`.
fn root(name: &str) -> &str {
    name.split_once('.').map_or(name, |(root, _)| root)
}

fn nothing_named(name: &str, known: &BTreeSet<String>) -> (String, String) {
    if known.contains(root(name)) {
        return (format!("there is no value {name:?}"), format!("{} is a value without parts", root(name)));
    }
    let mut hint = String::new();
    let nearest = known.iter().map(|other| (distance(root(name), other), other)).min();
    if let Some((_, nearest)) = nearest.filter(|(distance, _)| *distance <= 2) {
        let _ = write!(hint, "did you mean {nearest}? ");
    }
    let _ = write!(hint, "there are {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    (format!("there is no value {:?}", root(name)), hint)
}

/// How many letters have to be added, taken away or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// The engine's error as ours: where, what and what next, and nothing of the values.
fn explain(error: &Error, sources: &BTreeMap<String, Template>) -> Hinted {
    // What went wrong in an included template is at the end of the chain.
    let mut innermost = error;
    while let Some(cause) = innermost.source().and_then(|cause| cause.downcast_ref::<Error>()) {
        innermost = cause;
    }
    let place = match (innermost.name(), innermost.line()) {
        (Some(name), Some(line)) => {
            let file = sources.get(name).map_or(name, |template| template.file.as_str());
            format!("{file}:{line}: ")
        }
        _ => String::new(),
    };
    Hinted::new(format!("{place}{}", words(innermost)), remedy(innermost.kind()))
}

fn words(error: &Error) -> String {
    let kind = error.kind();
    error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"))
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::SyntaxError => "templates are written {{ value }}, {% if value %} … {% endif %}, {# a comment #}",
        ErrorKind::UndefinedError => "correct the name, or ask first: {% if … is defined %}",
        ErrorKind::TemplateNotFound => NO_TEMPLATE,
        _ => "correct the template",
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn templates(texts: &[(&str, &str)]) -> Result<Templates, Hinted> {
        let template = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Template { file: format!("dir/{name}"), text: (*text).to_owned() })
        };
        Templates::parse(texts.iter().map(template).collect())
    }

    fn known() -> BTreeSet<String> {
        ["hostname", "repos", "layout"].map(str::to_owned).into()
    }

    #[test]
    fn what_is_wrong_is_told_by_file_and_line() {
        let error = templates(&[("a.cfg", "x\n{{ hostname }\n")]).expect_err("not closed");
        assert!(error.what.starts_with("dir/a.cfg:2: syntax error: "), "{}", error.what);

        let values = context! { repos => [context! { id => "one" }] };
        let outer = "\n{% for repo in repos %}{% include 'b.sh' %}{% endfor %}";
        let set = templates(&[("a.cfg", outer), ("b.sh", "\n\necho {{ repo.pubilc }}")]).expect("sound");
        let error = set.render("a.cfg", &values).expect_err("no such attribute");
        assert_eq!(error.what, "dir/b.sh:3: undefined value: `repo.pubilc` is undefined");
    }

    #[test]
    fn an_unknown_name_is_found_where_nobody_comes_by() {
        let rows = [
            (
                "\n\n{% if layout == 'zfs' %}\n{{ hostnam }}\n{% endif %}",
                Some((
                    "dir/a.cfg:4: there is no value \"hostnam\"",
                    "did you mean hostname? there are hostname, layout, repos",
                )),
            ),
            (
                "{{ nothing_like_it }}",
                Some(("dir/a.cfg:1: there is no value \"nothing_like_it\"", "there are hostname, layout, repos")),
            ),
            (
                "{{ hostname.short }}",
                Some(("dir/a.cfg:1: there is no value \"hostname.short\"", "hostname is a value without parts")),
            ),
            (
                "\n{% if 0 %}{% include 'c.sh' %}{% endif %}",
                Some(("dir/a.cfg:2: there is no template \"c.sh\"", NO_TEMPLATE)),
            ),
            (
                "{% for repo in repos %}{{ repo.id }}{{ loop.index }}{% include 'b.sh' %}{% endfor %}{{ repos[0].id }}",
                None,
            ),
            ("{% if layout %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}{{ range(3) }}", None),
            ("{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(1, 2) }}", None),
        ];
        for (text, expected) in rows {
            let set = templates(&[("a.cfg", text), ("b.sh", "{{ repo.id }}")]).expect(text);
            let found = set.check(["a.cfg"], &known()).err();
            let found = found.as_ref().map(|Hinted { what, hint }| (what.as_str(), hint.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_error_shows_no_values() {
        let set = templates(&[("a.cfg", "{% set more = secret %}{{ secret + 1 }}{{ other.x }}")]).expect("sound");
        let error = set.render("a.cfg", &context! { secret => "hunter2" }).expect_err("not a number");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn words_differ_by_letters() {
        for (one, other, expected) in [("", "ab", 2), ("codenam", "codename", 1), ("arhc", "arch", 2), ("x", "x", 0)] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
