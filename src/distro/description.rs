use std::collections::BTreeSet;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Distro, answers, release, templates};
use crate::model::Hinted;

/// The text of a `distro.toml`. Whatever is wrong in it is told by file and line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Description<'t> {
    /// Path, for messages.
    pub file: &'t str,
    pub text: &'t str,
}

/// A string in it.
struct Text<'t> {
    /// The keys that lead to it. Places in lists do not count.
    keys: Vec<&'t str>,
    at: usize,
    value: &'t str,
}

impl Description<'_> {
    /// What it says.
    pub fn parse(self) -> Result<Distro, Hinted> {
        toml::from_str(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let mut words = error.message().splitn(2, ", ");
            let what = words.next().unwrap_or_default();
            self.wrong_at(at, what, words.next().unwrap_or("`provisioner templates export` writes examples"))
        })
    }

    /// Refuses what contradicts itself, or the folder and the templates it is with. `has` tells of the family's other files.
    pub fn check(self, id: &str, distro: &Distro, has: impl Fn(&str) -> bool) -> Result<(), Hinted> {
        let (keys, what, hint) = match contradiction(distro, id, has) {
            Some(contradiction) => contradiction,
            None => return self.check_strings(),
        };
        Err(self.wrong(keys, what, hint))
    }

    /// The error about what stands at `keys`.
    pub fn wrong(self, keys: &[&str], what: impl AsRef<str>, hint: impl Into<String>) -> Hinted {
        let root = DeTable::parse(self.text).ok();
        let at = root.map_or(0, |root| offset(&root, keys));
        self.wrong_at(at, what.as_ref(), hint)
    }

    fn wrong_at(self, at: usize, what: &str, hint: impl Into<String>) -> Hinted {
        // Lines count from 1, as editors do.
        let line = self.text[..at].matches('\n').count() + 1;
        Hinted::new(format!("{}:{line}: {what}", self.file), hint)
    }

    /// Refuses strings with templates in them that cannot be filled in, whichever release and architecture they are for.
    fn check_strings(self) -> Result<(), Hinted> {
        let Ok(root) = DeTable::parse(self.text) else { return Ok(()) };
        let mut texts = Vec::new();
        for (key, value) in root.get_ref() {
            strings(value, &[key.get_ref()], &mut texts);
        }
        texts.sort_by_key(|text| text.at);
        let is_template = |text: &Text<'_>| ["{{", "{%", "{#"].iter().any(|start| text.value.contains(start));
        for Text { keys, at, value } in texts.into_iter().filter(is_template) {
            let objection = match values(&keys) {
                Some(known) => templates::objection(value, &known),
                None => Some((format!("{} takes no template", keys.join(".")), "write the value itself".to_owned())),
            };
            if let Some((what, hint)) = objection {
                return Err(self.wrong_at(at, &what, hint));
            }
        }
        Ok(())
    }
}

/// The names that the string at `keys` may use; `None` where it is taken as it stands.
fn values(keys: &[&str]) -> Option<BTreeSet<String>> {
    let these = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
    match keys {
        ["kernel_args" | "installer_packages"] => Some(answers::names()),
        ["mirrors", "probe" | "suites"] | ["archive", "debian", "suites"] => these(&["codename"]),
        ["archive", "rpm", "metalink"] => these(&["repo", "arch"]),
        ["archive", "rpm", "repos", "id"] | ["archive", "rpm", "releases" | "ended"] => None,
        ["archive", "rpm", ..] => these(&release::NAMES),
        ["arches", _, "name" | "disk_loaders"] | ["arches", .., "repo"] => None,
        ["arches", ..] => these(&release::NAMES),
        _ => None,
    }
}

/// Every string in a value.
fn strings<'t>(value: &'t Spanned<DeValue<'t>>, keys: &[&'t str], found: &mut Vec<Text<'t>>) {
    match value.get_ref() {
        DeValue::String(text) => found.push(Text { keys: keys.to_vec(), at: value.span().start, value: text }),
        DeValue::Array(items) => items.iter().for_each(|item| strings(item, keys, found)),
        DeValue::Table(table) => {
            for (key, value) in table {
                strings(value, &[keys, &[key.get_ref()]].concat(), found);
            }
        }
        _ => {}
    }
}

/// Where the value at `keys` begins, or whatever of it there is.
fn offset(root: &Spanned<DeTable<'_>>, keys: &[&str]) -> usize {
    let (mut table, mut at) = (root.get_ref(), 0);
    for key in keys {
        let Some(value) = table.get(*key) else { break };
        at = value.span().start;
        let Some(inner) = value.get_ref().as_table() else { break };
        table = inner;
    }
    at
}

type Contradiction = (&'static [&'static str], String, String);

/// The first contradiction within a description: at which keys, what, and its remedy.
fn contradiction(distro: &Distro, id: &str, has: impl Fn(&str) -> bool) -> Option<Contradiction> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if distro.id != id {
        return Some((&["id"], format!("id = {:?} in the folder {id}", distro.id), "name the folder as the id".into()));
    }
    // It becomes part of paths, addresses and file names.
    if id.is_empty() || !id.bytes().all(plain) {
        let hint = "lower-case letters, digits and hyphens, such as almalinux";
        return Some((&["id"], format!("id = {id:?} cannot name a distribution"), hint.into()));
    }
    if !distro.flavours.contains_key(&distro.default_flavour) {
        let known: Vec<_> = distro.flavours.keys().map(String::as_str).collect();
        let what = format!("there is no flavour {:?}", distro.default_flavour);
        return Some((&["default_flavour"], what, format!("known: {}", known.join(", "))));
    }
    if distro.layouts.is_empty() {
        return Some((&["layouts"], "layouts is empty".into(), "name at least one".into()));
    }
    if distro.releases.is_empty() {
        return Some((&["releases"], "there is no [[releases]]".into(), "name at least one".into()));
    }
    match (&distro.archive.debian, &distro.archive.rpm) {
        (Some(debian), None) if distro.release(&debian.loaders).is_err() => {
            let what = format!("archive.debian.loaders = {:?} is not one of the releases", debian.loaders);
            return Some((&["archive", "debian", "loaders"], what, "add the release, or name another".into()));
        }
        (Some(_), None) | (None, Some(_)) => {}
        _ => {
            let what = "it does not say how the archive's files are vouched for".into();
            return Some((&["archive"], what, "write either [archive.debian] or [archive.rpm]".into()));
        }
    }
    let templates: [(&'static [&'static str], _); 3] = [
        (&["answers"], std::slice::from_ref(&distro.answers)),
        (&["callbacks"], std::slice::from_ref(&distro.callbacks)),
        (&["scripts"], &distro.scripts[..]),
    ];
    for (keys, names) in templates {
        if let Some(name) = names.iter().find(|name| !distro.templates.contains_key(*name)) {
            return Some((keys, format!("there is no file {name}"), "put it beside the description".into()));
        }
    }
    if !has(&distro.archive.keys) {
        let what = format!("there is no file {}", distro.archive.keys);
        return Some((&["archive", "keys"], what, "put the archive's OpenPGP keys there".into()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::Catalogue;

    /// What is wrong with Debian's description when some text in it is replaced.
    fn spoilt(old: &str, new: &str) -> Hinted {
        let catalogue = Catalogue::embedded();
        let text = String::from_utf8_lossy(catalogue.file("debian", "distro.toml").expect("debian"));
        assert!(text.contains(old), "{old}");
        let text = text.replacen(old, new, 1);
        let description = Description { file: "distro.toml", text: &text };
        let checked = description.parse().and_then(|distro| {
            let templates = catalogue.distro("debian").expect("debian").templates.clone();
            let has = |name: &str| catalogue.file("debian", name).is_ok();
            description.check("debian", &Distro { templates, ..distro }, has)
        });
        let Hinted { what, hint } = checked.expect_err(new);
        // The line is that of the mistake.
        let line = text[..text.find(new).expect("there")].matches('\n').count() + 1;
        Hinted { what: what.replace(&format!("distro.toml:{line}: "), "HERE: "), hint }
    }

    #[test]
    fn a_bad_description_names_file_line_and_what_is_expected() {
        let rows = [
            ("stable =", "stabel =", "HERE: unknown field `stabel`", "`stable`"),
            ("default_flavour = ", "default_flavour == ", "HERE: ", ""),
            ("\"lvm\"", "\"raid\"", "\"raid\" is not a layout", ""),
            ("\"debian\"", "\"Debian\"", "HERE: id = \"Debian\" in the folder debian", "name the folder"),
            (
                "loaders = \"13\"",
                "loaders = \"99\"",
                "HERE: archive.debian.loaders = \"99\" is not one",
                "add the release",
            ),
            ("\"standard\"", "\"big\"", "HERE: there is no flavour \"big\"", "known: gnome, minimal, standard"),
            ("\"preseed.cfg\"", "\"answers.cfg\"", "HERE: there is no file answers.cfg", "beside"),
            ("keys/archive.pgp", "keys/own.pgp", "there is no file keys/own.pgp", "OpenPGP keys"),
        ];
        for (old, new, what, hint) in rows {
            let error = spoilt(old, new);
            assert!(error.what.contains(what), "{what} not in: {}", error.what);
            assert!(error.hint.contains(hint), "{hint} not in: {}", error.hint);
        }
    }

    #[test]
    fn every_string_that_is_a_template_is_checked_whether_this_run_needs_it_or_not() {
        let rows = [
            ("url={{ answers_url }}", "url={{ answer_url }}", "HERE: there is no value \"answer_url\"", "answers_url"),
            ("{% if domain %}", "{% if domain }", "HERE: syntax error: ", "{% if value %}"),
            ("{{ codename }}-security", "{{ version }}-security", "HERE: there is no value \"version\"", "codename"),
            (
                "debian-installer-{{ version }}-netboot-arm64",
                "debian-installer-{{ versoin }}-netboot-arm64",
                "HERE: there is no value \"versoin\"",
                "did you mean version? there are arch, codename, label, uid, variant, version",
            ),
            ("name = \"Debian\"", "name = \"{{ id }}\"", "HERE: name takes no template", "write the value itself"),
        ];
        for (old, new, what, hint) in rows {
            let error = spoilt(old, new);
            assert!(error.what.contains(what), "{what} not in: {}", error.what);
            assert!(error.hint.contains(hint), "{hint} not in: {}", error.hint);
        }
    }
}
