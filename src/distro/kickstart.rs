//! What a kickstart selects for installation: its `%packages` sections and its `lang` line. Pure.

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KickstartSelection {
    /// `@^id`
    pub environments: Vec<String>,
    /// `@id` or `@name`; `core` is among them unless the kickstart says otherwise.
    pub groups: Vec<String>,
    /// Packages, or patterns with `*`.
    pub packages: Vec<String>,
    /// What stands behind a `-`: packages and `@groups`.
    pub excluded: Vec<String>,
    /// POSIX locales.
    pub languages: Vec<String>,
    /// Recommended packages are installed, too.
    pub weak: bool,
}

impl KickstartSelection {
    /// Reads a kickstart, in which whatever else there is does not matter.
    pub fn parse(text: &str) -> Self {
        let (environments, groups, packages, excluded, languages) = Default::default();
        let mut selection = Self { environments, groups, packages, excluded, languages, weak: true };
        let (mut section, mut core) = ("", true);
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let word = line.split_ascii_whitespace().next().unwrap_or_default();
            match (section, word) {
                (_, "%end") => section = "",
                ("", "%packages") => {
                    section = word;
                    for option in line.split_ascii_whitespace() {
                        match option {
                            "--nocore" => core = false,
                            "--exclude-weakdeps" | "--excludeWeakdeps" => selection.weak = false,
                            _ => {}
                        }
                    }
                }
                ("", "lang") => selection.languages = languages_of(line),
                ("", _) if word.starts_with('%') && !matches!(word, "%include" | "%ksappend") => section = word,
                ("%packages", _) if !word.is_empty() => selection.select(line),
                _ => {}
            }
        }
        if core && !selection.groups.iter().any(|group| group == "core") {
            selection.groups.insert(0, "core".to_owned());
        }
        selection
    }

    /// A line of `%packages`.
    fn select(&mut self, line: &str) {
        // A group's name may have spaces; options follow it.
        let what = line.split(" --").next().unwrap_or(line).trim();
        let (list, what) = if let Some(excluded) = what.strip_prefix('-') {
            (&mut self.excluded, excluded)
        } else if let Some(environment) = what.strip_prefix("@^") {
            (&mut self.environments, environment)
        } else if let Some(group) = what.strip_prefix('@') {
            (&mut self.groups, group)
        } else {
            (&mut self.packages, what)
        };
        // With a colon it is a stream of a module, which is no group.
        let is_module = line.starts_with('@') && what.contains(':');
        if !what.is_empty() && !what.starts_with('%') && !is_module {
            list.push(what.trim().to_owned());
        }
    }
}

/// `lang de_DE.UTF-8 --addsupport=fr_FR,cs_CZ`
fn languages_of(line: &str) -> Vec<String> {
    let words = line.split_ascii_whitespace().skip(1);
    let more = words.flat_map(|word| word.strip_prefix("--addsupport=").unwrap_or(word).split(','));
    more.filter(|word| !word.is_empty() && !word.starts_with("--")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_packages_are_read_and_others_are_not() {
        let text = "lang de_DE.UTF-8 --addsupport=fr_FR.UTF-8,cs_CZ\n%pre\n%packages\nno\n%end\n%include /tmp/x\n\
                    %packages --excludedocs\n@^server-environment\n@Web Server --nodefaults\n@nodejs:20\n# no\n\
                    vim-*  # an editor\n-nano\n-@printing\n%end\n%post\nno\n%end\n%packages --exclude-weakdeps\ntar\n%end\n";
        let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = KickstartSelection {
            environments: strings(&["server-environment"]),
            groups: strings(&["core", "Web Server"]),
            packages: strings(&["vim-*", "tar"]),
            excluded: strings(&["nano", "@printing"]),
            languages: strings(&["de_DE.UTF-8", "fr_FR.UTF-8", "cs_CZ"]),
            weak: false,
        };
        assert_eq!(KickstartSelection::parse(text), expected);
    }

    #[test]
    fn core_comes_with_every_kickstart_that_does_not_refuse_it() {
        let groups = |text| KickstartSelection::parse(text).groups;
        assert_eq!(groups("reboot\n"), ["core"]);
        assert_eq!(groups("%packages\n@core\n%end\n"), ["core"]);
        assert_eq!(groups("%packages --nocore\n%end\n"), [""; 0]);
    }
}
