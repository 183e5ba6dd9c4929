//! Which packages earlier installations took: `<prefix>/boot/<uid>/installs.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::InstallRecipe,
    plan::Plan,
    publish::{READABLE, replace},
};

/// The packages of one recipe, as `<archive>/<path below its root>`.
pub type Packages = BTreeSet<String>;

/// The packages of each recipe that was installed, the last whole installation of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Installs(BTreeMap<String, Packages>);

impl Installs {
    /// Where they are kept for the release of a plan.
    pub fn path(plan: &Plan) -> PathBuf {
        plan.prefix.join("boot").join(plan.release.uid()).join("installs.json")
    }

    /// Reads them; what is damaged is no better than none.
    pub fn read(path: &Path) -> Self {
        let Ok(bytes) = fs::read(path) else { return Self::default() };
        let damaged = |error: &_| tracing::warn!("{} is damaged and ignored: {error}", path.display());
        serde_json::from_slice(&bytes).inspect_err(damaged).unwrap_or_default()
    }

    /// The packages of a recipe.
    pub fn of(&self, recipe: &InstallRecipe) -> impl Iterator<Item = &str> {
        self.0.get(&key(recipe)).into_iter().flatten().map(String::as_str)
    }

    /// An installation has ended well. One that was not seen from its start to its end adds to what is known; another takes its
    /// place. So after a restart of this program in the middle, which no record of packages outlives, the list may have some
    /// of an older state of the archive, but never lacks what either of the two has taken. Blocks.
    pub fn learn(path: &Path, recipe: &InstallRecipe, taken: Packages, whole: bool) -> io::Result<()> {
        let mut installs = Self::read(path);
        let known = installs.0.entry(key(recipe)).or_default();
        if whole {
            *known = taken;
        } else {
            known.extend(taken);
        }
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        replace(path, READABLE, &serde_json::to_vec_pretty(&installs)?)
    }
}

/// What decides about packages, apart from those that are named one by one: their number is that of the flavours, times nine.
fn key(recipe: &InstallRecipe) -> String {
    let encryption = match &recipe.encryption {
        None => "",
        Some(encryption) if encryption.tpm2 => " tpm2",
        Some(_) => " luks",
    };
    format!("{} {}{encryption}", recipe.flavour, recipe.layout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Encryption, Layout};

    fn packages(names: &[&str]) -> Packages {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_installation_replaces_and_a_part_of_one_adds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("boot/x/installs.json");
        let minimal = InstallRecipe { flavour: "minimal".to_owned(), ..InstallRecipe::default() };
        let encryption = Some(Encryption { passphrase: None, tpm2: false });
        let lvm = InstallRecipe { layout: Layout::Lvm, encryption, ..minimal.clone() };
        let known = |recipe: &InstallRecipe| Installs::read(&path).of(recipe).map(str::to_owned).collect::<Vec<_>>();
        assert!(known(&minimal).is_empty());
        let learn =
            |recipe, taken: &[&str], whole| Installs::learn(&path, recipe, packages(taken), whole).expect("kept");
        learn(&minimal, &["debian/b"], false);
        learn(&minimal, &["debian/a"], false);
        learn(&lvm, &["debian/lvm2"], true);
        assert_eq!(
            (known(&minimal), known(&lvm)),
            (vec!["debian/a".into(), "debian/b".into()], vec!["debian/lvm2".into()])
        );
        learn(&minimal, &["debian/c"], true);
        assert_eq!(known(&minimal), ["debian/c"]);
        fs::write(&path, "{").expect("written");
        assert!(known(&minimal).is_empty(), "damaged");
        learn(&minimal, &["debian/d"], false);
        assert_eq!(known(&minimal), ["debian/d"]);
    }
}
