use anyhow::Context as _;

use crate::distro::{AnswerContext, KickstartSelection, answers, installer_packages};

/// What an installation is told to install, and what its installer adds to that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The machine's architecture in RPM's spelling, such as `x86_64`.
    pub arch: String,
    /// Ids of environments.
    pub environments: Vec<String>,
    /// Ids or names of groups, `core` included.
    pub groups: Vec<String>,
    /// Packages, or what they provide; `*` stands for any part of a name.
    pub packages: Vec<String>,
    /// Packages that are not to be installed whatever needs them, and `@groups` that environments are to be without.
    pub excluded: Vec<String>,
    /// Packages and `@groups` that the installer adds where there are such.
    pub added: Vec<String>,
    /// POSIX locales, such as `de_DE.UTF-8`: the installer adds the packages of each language.
    pub languages: Vec<String>,
    /// Whether what is recommended is installed, too.
    pub weak: bool,
}

impl Asked {
    /// What the answers to an installer say, which may be the operator's own, with what it adds by itself.
    ///
    /// # Errors
    /// Answers that cannot be made of these values.
    pub fn new(context: &AnswerContext<'_>) -> anyhow::Result<Self> {
        let said = KickstartSelection::parse(&answers(context)?);
        let added = installer_packages(context).context("naming what the installer adds")?;
        Ok(Self {
            arch: context.release.arch.to_string(),
            environments: said.environments,
            groups: said.groups,
            packages: said.packages,
            excluded: said.excluded,
            added,
            languages: said.languages,
            weak: said.weak,
        })
    }
}

/// Names of packages with a language's support, best first: `pt_BR.UTF-8` → `langpacks-pt_BR`, `langpacks-pt`.
///
/// The installer takes the best match of these alone (`find_best_locale_match` of Anaconda).
pub(super) fn language_packs(locale: &str) -> [String; 2] {
    let place = locale.split(['.', '@']).next().unwrap_or(locale);
    let language = place.split('_').next().unwrap_or(place);
    [place, language].map(|name| format!("langpacks-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_the_packages_of_its_language() {
        for (locale, expected) in [
            ("pt_BR.UTF-8", ["langpacks-pt_BR", "langpacks-pt"]),
            ("sr_RS@latin", ["langpacks-sr_RS", "langpacks-sr"]),
            ("eo", ["langpacks-eo", "langpacks-eo"]),
        ] {
            assert_eq!(language_packs(locale), expected);
        }
    }
}
