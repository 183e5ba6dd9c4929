use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use include_dir::{Dir, DirEntry, include_dir};

use super::{
    Distro, Template, Templates, answers,
    description::Description,
    own::{BOOT, DISTROS, Own, SHARED},
    scan,
};
use crate::model::Hinted;

/// Everything that is compiled in.
static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The file that describes a family.
const DESCRIPTION: &str = "distro.toml";

/// The distributions, a folder each with a `distro.toml`, the templates of the answer file and the keys of the archive; and
/// the scripts that boot loaders run. The operator's own files, if there are any, take the place of the embedded ones file by
/// file. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    own: Option<Arc<Own>>,
}

impl Catalogue {
    /// What is compiled in.
    pub fn embedded() -> Self {
        Self::default()
    }

    /// What is compiled in, but for the files that `folder` has.
    ///
    /// # Errors
    /// For a folder that is not one of templates, or cannot be read.
    pub fn with(folder: &Path) -> Result<Self, Hinted> {
        Ok(Self { own: Some(Arc::new(Own::read(folder)?)) })
    }

    /// Every file that is compiled in, with its path below a folder of templates.
    pub fn embedded_files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
        fn below(dir: &'static Dir<'static>) -> Vec<(&'static str, &'static [u8])> {
            let file = |entry: &'static DirEntry<'static>| match entry {
                DirEntry::File(file) => vec![(file.path().to_str().expect("a plain name"), file.contents())],
                DirEntry::Dir(dir) => below(dir),
            };
            dir.entries().iter().flat_map(file).collect()
        }
        below(&EMBEDDED).into_iter()
    }

    /// Names of all families, sorted.
    pub fn ids(&self) -> Vec<&str> {
        let id = |path: &'static str| {
            path.strip_prefix(DISTROS)?.strip_prefix('/')?.strip_suffix(DESCRIPTION)?.strip_suffix('/')
        };
        let embedded = Self::embedded_files().filter_map(|(path, _)| id(path));
        let own = self.own.iter().flat_map(|own| own.distros(DESCRIPTION));
        embedded.chain(own).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A family by its name, its templates parsed and all names in them known.
    ///
    /// # Errors
    /// For any other name (the hint lists those there are), and for a description or a template that cannot be used (the error
    /// names file and line, the hint says what is expected there).
    pub fn distro(&self, id: &str) -> Result<Arc<Distro>, Hinted> {
        let (file, text) = self.description(id)?;
        let description = Description { file: &file, text };
        let mut distro = description.parse()?;
        let base = self.base(description, &distro)?;
        distro.templates = self.texts(&folders(id, base))?;
        distro.catalogue = self.clone();
        description.check(id, &distro, |name| self.bytes(&below(id, name)).is_some())?;
        let templates = Templates::parse(distro.templates.clone())?;
        templates.check(distro.templates.keys().map(String::as_str), &answers::names())?;
        Ok(Arc::new(distro))
    }

    /// A file of a family's folder: `keys/archive.pgp`, say.
    ///
    /// # Errors
    /// For an unknown family, and when its folder has no such file.
    pub fn file(&self, id: &str, name: &str) -> Result<&[u8], Hinted> {
        self.description(id)?;
        let path = below(id, name);
        let hint = "add it, in a folder for --templates";
        self.bytes(&path).ok_or_else(|| Hinted::new(format!("there is no file {}", self.shown(&path)), hint))
    }

    /// The scripts that boot loaders run, by file name.
    ///
    /// # Errors
    /// For one that is not text.
    pub fn boot_scripts(&self) -> Result<BTreeMap<String, Template>, Hinted> {
        self.texts(&[BOOT.to_owned()])
    }

    /// The operator's files that nothing uses, as far as one can tell: misspelt names, most likely.
    pub fn unused(&self) -> Vec<&str> {
        let Some(own) = &self.own else { return Vec::new() };
        let mut used: BTreeSet<_> = Self::embedded_files().map(|(path, _)| path.to_owned()).collect();
        // Only those of the loader's scripts that are compiled in are asked for by name.
        let scripts = used.iter().filter_map(|path| path.strip_prefix(BOOT)?.strip_prefix('/')).map(str::to_owned);
        used.extend(self.reached(scripts.collect(), &[BOOT.to_owned()]));
        let mut unclear = Vec::new();
        for id in self.ids() {
            match self.uses(id) {
                Ok(paths) => used.extend(paths),
                // Whoever asks for it will hear what is wrong with it.
                Err(_) => unclear.push(below(id, "")),
            }
        }
        let unused = |path: &&str| !used.contains(*path) && !unclear.iter().any(|folder| path.starts_with(folder));
        own.paths().filter(unused).collect()
    }

    /// Every file that a family uses.
    fn uses(&self, id: &str) -> Result<BTreeSet<String>, Hinted> {
        let (file, text) = self.description(id)?;
        let description = Description { file: &file, text };
        let distro = description.parse()?;
        let base = self.base(description, &distro)?;
        let named = [&distro.answers, &distro.callbacks].into_iter().chain(&distro.scripts).cloned().collect();
        let mut used = self.reached(named, &folders(id, base));
        used.extend([below(id, DESCRIPTION), below(id, &distro.archive.keys)]);
        Ok(used)
    }

    /// The files of `folders` (the last has precedence) that templates of these names lead to.
    fn reached(&self, mut names: Vec<String>, folders: &[String]) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        while let Some(name) = names.pop() {
            let mut paths = folders.iter().rev().map(|folder| format!("{folder}/{name}"));
            let Some((path, bytes)) = paths.find_map(|path| self.bytes(&path).map(|bytes| (path, bytes))) else {
                continue;
            };
            if reached.insert(path) {
                let text = String::from_utf8_lossy(bytes);
                names.extend(scan::tags(&text).iter().flat_map(scan::Tag::texts).map(str::to_owned));
            }
        }
        reached
    }

    /// The family whose templates `distro` uses where it has none of its own.
    fn base<'d>(&self, description: Description<'_>, distro: &'d Distro) -> Result<Option<&'d str>, Hinted> {
        let Some(base) = distro.templates_of.as_deref() else { return Ok(None) };
        let wrong = |what: &str, hint: String| {
            Err(description.wrong(&["templates_of"], format!("templates_of = {base:?}: {what}"), hint))
        };
        if base == distro.id {
            return wrong("that is this distribution itself", "leave it out, or name another".into());
        }
        let Ok((file, text)) = self.description(base) else {
            return wrong("there is no such distribution", format!("there are {}", self.ids().join(", ")));
        };
        let base_description = Description { file: &file, text };
        match base_description.parse()?.templates_of {
            Some(further) => wrong("that one uses templates of another itself", format!("name {further:?}")),
            None => Ok(Some(base)),
        }
    }

    /// A family's `distro.toml`, and how it is called in messages.
    fn description(&self, id: &str) -> Result<(String, &str), Hinted> {
        if !self.ids().contains(&id) {
            let hint = format!("--distro takes {}", self.ids().join(" or "));
            return Err(Hinted::new(format!("there is no distribution {id:?}"), hint));
        }
        let path = below(id, DESCRIPTION);
        Ok((self.shown(&path), self.text(&path)?))
    }

    /// The texts directly in some folders, by file name. What a later folder has counts more.
    fn texts(&self, folders: &[String]) -> Result<BTreeMap<String, Template>, Hinted> {
        let embedded = Self::embedded_files().map(|(path, _)| path);
        let paths: BTreeSet<_> = embedded.chain(self.own.iter().flat_map(|own| own.paths())).collect();
        let mut texts = BTreeMap::new();
        for folder in folders {
            let names = paths.iter().filter_map(|path| path.strip_prefix(folder.as_str())?.strip_prefix('/'));
            for name in names.filter(|name| !name.contains('/') && *name != DESCRIPTION) {
                let path = format!("{folder}/{name}");
                let text = self.text(&path)?.to_owned();
                texts.insert(name.to_owned(), Template { file: self.shown(&path), text });
            }
        }
        Ok(texts)
    }

    fn text(&self, path: &str) -> Result<&str, Hinted> {
        std::str::from_utf8(self.bytes(path).unwrap_or_default()).map_err(|error| {
            let bytes = &self.bytes(path).unwrap_or_default()[..error.valid_up_to()];
            let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            let hint = "save it as UTF-8; what is not text, such as keys, belongs in a folder of its own (keys/)";
            Hinted::new(format!("{}:{line}: this is not UTF-8 text", self.shown(path)), hint)
        })
    }

    fn bytes(&self, path: &str) -> Option<&[u8]> {
        let own = self.own.as_ref().and_then(|own| own.bytes(path));
        own.or_else(|| EMBEDDED.get_file(path).map(include_dir::File::contents))
    }

    /// How people know a file: by its own path, or by that in the source of this program.
    fn shown(&self, path: &str) -> String {
        match &self.own {
            Some(own) if own.bytes(path).is_some() => own.shown(path),
            _ => format!("templates/{path}"),
        }
    }
}

/// The path of a file of a family's folder.
fn below(id: &str, name: &str) -> String {
    format!("{DISTROS}/{id}/{name}")
}

/// Where a family's templates are: the closer to it, the later, and the more it counts.
fn folders(id: &str, base: Option<&str>) -> Vec<String> {
    let distros = base.into_iter().chain([id]).map(|id| format!("{DISTROS}/{id}"));
    std::iter::once(SHARED.to_owned()).chain(distros).collect()
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
        assert!(catalogue.boot_scripts().expect("text").contains_key("grub-install.cfg"));
        assert!(Catalogue::embedded_files().any(|(path, _)| path == "distros/debian/keys/archive.pgp"));
    }

    #[test]
    fn every_embedded_file_is_used() {
        let catalogue = Catalogue::embedded();
        let mut used: BTreeSet<_> = catalogue.ids().iter().flat_map(|id| catalogue.uses(id).expect(id)).collect();
        used.extend(catalogue.boot_scripts().expect("text").keys().map(|name| format!("{BOOT}/{name}")));
        for (path, _) in Catalogue::embedded_files() {
            assert!(used.contains(path), "nothing uses {path}");
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
}
