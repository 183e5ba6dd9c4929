use std::{collections::BTreeMap, sync::Arc};

use include_dir::{Dir, include_dir};

use super::{Distro, render};
use crate::model::Hinted;

/// Every distribution that is compiled in.
static DISTROS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/distros");

/// Templates that every family may include: scripts that any installer can run.
static SHARED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/shared");

/// The file that describes a family.
const DESCRIPTION: &str = "distro.toml";

/// The distributions of `templates/distros/`: a folder each, with a `distro.toml`, the templates of the answer file and the
/// keys of the archive.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    root: &'static Dir<'static>,
}

impl Catalogue {
    /// The distributions that are compiled in.
    pub fn embedded() -> Self {
        Self { root: &DISTROS }
    }

    /// Names of all families, sorted.
    pub fn ids(self) -> Vec<&'static str> {
        let mut ids: Vec<_> = self.root.dirs().filter_map(|dir| dir.path().to_str()).collect();
        ids.sort_unstable();
        ids
    }

    /// A family by its name.
    ///
    /// # Errors
    /// For any other name (the hint lists those there are), and for a description that cannot be used (the error names the
    /// line, the hint says what is expected there).
    pub fn distro(self, id: &str) -> Result<Arc<Distro>, Hinted> {
        let dir = self.dir(id)?;
        let text = String::from_utf8_lossy(self.file(id, DESCRIPTION)?);
        let mut distro = parse(id, &text)?;
        // The closer a template is to the family, the more it counts.
        let base = distro.templates_of.as_deref().map(|base| self.dir(base)).transpose()?;
        for folder in [Some(&SHARED), base, Some(dir)].into_iter().flatten() {
            distro.templates.extend(texts(folder));
        }
        consistent(id, distro).map(Arc::new)
    }

    /// A file of a family's folder: `keys/archive.pgp`, say.
    ///
    /// # Errors
    /// For an unknown family, and when its folder has no such file.
    pub fn file(self, id: &str, name: &str) -> Result<&'static [u8], Hinted> {
        let dir = self.dir(id)?;
        let file = dir.get_file(dir.path().join(name)).ok_or_else(|| {
            Hinted::new(format!("there is no file {name} in templates/distros/{id}"), "add it and build again")
        })?;
        Ok(file.contents())
    }

    fn dir(self, id: &str) -> Result<&'static Dir<'static>, Hinted> {
        self.root.dirs().find(|dir| dir.path().to_str() == Some(id)).ok_or_else(|| {
            let hint = format!("--distro takes {}", self.ids().join(" or "));
            Hinted::new(format!("there is no distribution {id:?}"), hint)
        })
    }
}

/// The templates in a folder, by file name.
fn texts(folder: &Dir<'_>) -> BTreeMap<String, String> {
    let text = |file: &include_dir::File<'_>| {
        let name = file.path().file_name()?.to_str()?;
        (name != DESCRIPTION).then_some((name.to_owned(), file.contents_utf8()?.to_owned()))
    };
    folder.files().filter_map(text).collect()
}

/// A description from its text.
fn parse(id: &str, text: &str) -> Result<Distro, Hinted> {
    let file = format!("templates/distros/{id}/{DESCRIPTION}");
    toml::from_str(text).map_err(|error| {
        // Lines count from 1, as editors do.
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let mut words = error.message().splitn(2, ", ");
        let what = words.next().unwrap_or_default();
        let hint = words.next().unwrap_or("see the other descriptions, and src/distro/data.rs for what each key means");
        Hinted::new(format!("{file}:{line}: {what}"), hint)
    })
}

/// The family, unless its description and its templates contradict each other.
fn consistent(id: &str, distro: Distro) -> Result<Distro, Hinted> {
    match inconsistency(&distro, id) {
        Some((what, hint)) => Err(Hinted::new(format!("templates/distros/{id}/{DESCRIPTION}: {what}"), hint)),
        None => Ok(distro),
    }
}

/// The first contradiction within a description, and its remedy.
fn inconsistency(distro: &Distro, id: &str) -> Option<(String, String)> {
    let flavours = || distro.flavours.keys().cloned().collect::<Vec<_>>().join(", ");
    if distro.id != id {
        return Some((format!("id = {:?} in the folder {id}", distro.id), "name the folder as the id".into()));
    }
    if !distro.flavours.contains_key(&distro.default_flavour) {
        return Some((format!("there is no flavour {:?}", distro.default_flavour), format!("known: {}", flavours())));
    }
    if distro.layouts.is_empty() {
        return Some(("layouts is empty".into(), "name at least one".into()));
    }
    if distro.releases.is_empty() {
        return Some(("there is no [[releases]]".into(), "name at least one".into()));
    }
    match (&distro.archive.debian, &distro.archive.rpm) {
        (Some(debian), None) if distro.release(&debian.loaders).is_err() => {
            let what = format!("archive.debian.loaders = {:?} is not one of the releases", debian.loaders);
            return Some((what, "add the release, or name another".into()));
        }
        (Some(_), None) | (None, Some(_)) => {}
        _ => {
            let what = "it does not say how the archive's files are vouched for".into();
            return Some((what, "write either [archive.debian] or [archive.rpm]".into()));
        }
    }
    let mut files = [&distro.answers, &distro.callbacks].into_iter().chain(&distro.scripts);
    if let Some(name) = files.find(|name| !distro.templates.contains_key(*name)) {
        return Some((format!("there is no file {name}"), "put it beside the description".into()));
    }
    render::environment(distro).err().map(|error| (format!("{error:#}"), "correct the template".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_distribution_can_be_used() {
        let catalogue = Catalogue::embedded();
        assert!(catalogue.ids().contains(&"debian"), "{:?}", catalogue.ids());
        for id in catalogue.ids() {
            assert_eq!(catalogue.distro(id).expect(id).id, id);
        }
    }

    #[test]
    fn an_unknown_one_is_answered_with_the_list() {
        let Hinted { what, hint } = Catalogue::embedded().distro("debain").expect_err("misspelt");
        assert_eq!(what, "there is no distribution \"debain\"");
        assert!(hint.starts_with("--distro takes ") && hint.contains("debian or "), "{hint}");
        assert!(Catalogue::embedded().distro("debian/keys").is_err());
        assert!(Catalogue::embedded().file("debian", "../debian/distro.toml").is_err());
    }

    #[test]
    fn a_bad_description_names_file_line_and_what_is_expected() {
        let text =
            String::from_utf8_lossy(Catalogue::embedded().file("debian", DESCRIPTION).expect("debian")).into_owned();
        let templates = Catalogue::embedded().distro("debian").expect("debian").templates.clone();
        let parse = |text: &str, templates: &BTreeMap<String, String>| {
            let distro = parse("debian", text)?;
            consistent("debian", Distro { templates: templates.clone(), ..distro })
        };
        let line = text.lines().position(|line| line.starts_with("stable =")).expect("a line") + 1;
        let cases = [
            (text.replace("stable =", "stabel ="), format!("distro.toml:{line}: unknown field `stabel`"), "`stable`"),
            (
                text.replace("loaders = \"13\"", "loaders = \"99\""),
                "distro.toml: archive.debian.loaders".into(),
                "release",
            ),
            (text.replace("\"lvm\"", "\"raid\""), "\"raid\" is not a layout".into(), ""),
            (text.replace("default_flavour = \"standard\"", "default_flavour = \"big\""), "\"big\"".into(), "minimal"),
            (text.replace("\"preseed.cfg\"", "\"answers.cfg\""), "there is no file answers.cfg".into(), "beside"),
        ];
        for (text, what, hint) in cases {
            let error = parse(&text, &templates).expect_err(&what);
            assert!(error.what.contains(&what), "{what} not in: {}", error.what);
            assert!(error.hint.contains(hint), "{hint} not in: {}", error.hint);
        }
        let broken = templates.into_iter().chain([("preseed.cfg".into(), "{{ x".into())]).collect();
        let error = parse(&text, &broken).expect_err("an unclosed expression");
        assert!(error.what.contains("preseed.cfg"), "{}", error.what);
    }
}
