use crate::distro::Distro;

/// Which files of a family's archives never change under their names.
#[derive(Debug, Clone, Default)]
pub struct Immutable {
    /// Ends of the names of package files, such as `.deb`.
    pub package_suffixes: Vec<String>,
    /// Folders in whose depth every file lasts, such as `pool`.
    pub folders: Vec<String>,
}

impl Immutable {
    /// Whether the file at a path, given by its components, is one of them.
    pub(super) fn covers(&self, components: &[&str]) -> bool {
        let Some((file, folders)) = components.split_last() else { return false };
        self.package_suffixes.iter().any(|suffix| file.ends_with(suffix.as_str()))
            || folders.iter().any(|folder| self.folders.iter().any(|lasting| lasting == folder))
    }
}

impl From<&Distro> for Immutable {
    fn from(distro: &Distro) -> Self {
        Self { package_suffixes: distro.package_suffixes.clone(), folders: distro.immutable_folders.clone() }
    }
}
