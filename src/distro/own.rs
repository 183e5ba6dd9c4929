use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use nix::errno::Errno;

use crate::model::Hinted;

/// The folder of the scripts that boot loaders run.
pub(super) const BOOT: &str = "boot";
/// The folder of templates that every family may include: scripts that any installer can run.
pub(super) const SHARED: &str = "shared";
/// The folder of the distributions, with a folder each.
pub(super) const DISTROS: &str = "distros";

/// The largest file, in bytes: a keyring has less than a tenth of it.
const LARGEST: u64 = 1 << 20;
/// The most files, and the most folders inside each other: more than that is some other tree, or a link that leads back.
const MOST_FILES: usize = 2000;
const DEEPEST: usize = 6;

/// The operator's own templates (`--templates`), read once: what is changed later is not seen half-way.
#[derive(Debug)]
pub(super) struct Own {
    folder: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
    /// What is beside the known folders. It is not read.
    beside: BTreeSet<String>,
}

impl Own {
    /// Reads a folder. Names that begin with a dot are left out: editors and version control keep their own things so.
    pub fn read(folder: &Path) -> Result<Self, Hinted> {
        let mut own = Self { folder: folder.to_owned(), files: BTreeMap::new(), beside: BTreeSet::new() };
        let (known, beside) =
            entries(folder)?.into_iter().partition(|name| [BOOT, SHARED, DISTROS].contains(&name.as_str()));
        own.beside = beside;
        for name in &known {
            own.walk(name, 0)?;
        }
        if own.files.is_empty() {
            let what = format!("--templates {}: there are no templates here", folder.display());
            let hint =
                "expected are the folders boot, shared and distros, as `provisioner templates export DIR` makes them";
            return Err(Hinted::new(what, hint));
        }
        Ok(own)
    }

    fn walk(&mut self, path: &str, depth: usize) -> Result<(), Hinted> {
        let place = self.folder.join(path);
        let found = fs::metadata(&place).map_err(|error| unreadable(&place, &error))?;
        if found.is_file() {
            let bytes = read(&place, found.len())?;
            self.files.insert(path.to_owned(), bytes);
            if self.files.len() > MOST_FILES {
                let what = format!("--templates {}: there are more than {MOST_FILES} files", self.folder.display());
                return Err(Hinted::new(what, "name the folder of templates itself"));
            }
            return Ok(());
        }
        if !found.is_dir() {
            let what = format!("{} is neither a file nor a folder", place.display());
            return Err(Hinted::new(what, "remove it from the folder of templates"));
        }
        if depth > DEEPEST {
            let what = format!("{}: there are too many folders inside each other", place.display());
            return Err(Hinted::new(what, "remove the link that leads back to where it is"));
        }
        entries(&place)?.iter().try_for_each(|name| self.walk(&format!("{path}/{name}"), depth + 1))
    }

    /// The path of every file and of what is beside the known folders.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().chain(&self.beside).map(String::as_str)
    }

    /// The folders below `distros/` that have a file of this name.
    pub fn distros(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let id = move |path: &'_ String| -> Option<std::ops::Range<usize>> {
            let id = path.strip_prefix(DISTROS)?.strip_prefix('/')?.strip_suffix(name)?.strip_suffix('/')?;
            (!id.contains('/')).then_some(DISTROS.len() + 1..DISTROS.len() + 1 + id.len())
        };
        self.files.keys().filter_map(move |path| id(path).map(|range| &path[range]))
    }

    /// The content of a file.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// A file as the operator knows it.
    pub fn shown(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }
}

/// The names in a folder.
fn entries(folder: &Path) -> Result<Vec<String>, Hinted> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let name = entry.map_err(|error| unreadable(folder, &error))?.file_name();
        let name = name.into_string().map_err(|name| {
            let what = format!("{}: a name that is not UTF-8", folder.join(name).display());
            Hinted::new(what, "rename it")
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

fn read(place: &Path, length: u64) -> Result<Vec<u8>, Hinted> {
    let mut bytes = Vec::new();
    if length <= LARGEST {
        // It may grow meanwhile.
        let read = File::open(place).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(place, &error))?;
    }
    if length.max(bytes.len() as u64) > LARGEST {
        let what = format!("{} is larger than {} KiB", place.display(), LARGEST / 1024);
        return Err(Hinted::new(what, "that is no template: remove it from the folder"));
    }
    Ok(bytes)
}

fn unreadable(place: &Path, error: &io::Error) -> Hinted {
    let hint = match error.kind() {
        _ if error.raw_os_error() == Some(Errno::ELOOP as i32) => "remove the link that leads to itself",
        io::ErrorKind::NotFound => "--templates takes a folder, as `provisioner templates export DIR` makes it",
        io::ErrorKind::NotADirectory => "--templates takes a folder, not a file",
        _ => "make it readable, or remove it",
    };
    Hinted::new(format!("reading the templates in {}: {error}", place.display()), hint)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("distros/x/keys")).expect("made");
        fs::write(folder.path().join("distros/x/distro.toml"), "text").expect("written");
        folder
    }

    fn refused(folder: &Path) -> (String, String) {
        let Hinted { what, hint } = Own::read(folder).expect_err("refused");
        (what.replace(&folder.display().to_string(), "DIR"), hint)
    }

    #[test]
    fn files_are_read_by_path_and_hidden_ones_are_not() {
        let folder = folder();
        fs::write(folder.path().join("distros/x/.distro.toml.swp"), [0xff]).expect("written");
        fs::write(folder.path().join("README"), "text").expect("written");
        symlink("distro.toml", folder.path().join("distros/x/link.cfg")).expect("a link");
        let own = Own::read(folder.path()).expect("a folder of templates");
        assert_eq!(own.paths().collect::<Vec<_>>(), ["distros/x/distro.toml", "distros/x/link.cfg", "README"]);
        assert_eq!(own.bytes("distros/x/link.cfg"), Some(&b"text"[..]));
        assert_eq!(own.distros("distro.toml").collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn what_is_no_folder_of_templates_is_refused_with_a_remedy() {
        let folder = folder();
        let (place, x) = (folder.path(), folder.path().join("distros/x"));
        let empty = tempfile::tempdir().expect("a folder");
        assert_eq!(refused(empty.path()).0, "--templates DIR: there are no templates here");
        assert!(refused(&place.join("gone")).0.ends_with("No such file or directory (os error 2)"));
        assert_eq!(refused(&x.join("distro.toml")).1, "--templates takes a folder, not a file");

        symlink("loop", x.join("loop")).expect("a link");
        assert_eq!(refused(place).1, "remove the link that leads to itself");
        fs::remove_file(x.join("loop")).expect("removed");

        symlink("..", x.join("up")).expect("a link");
        assert!(refused(place).0.ends_with("too many folders inside each other"), "{:?}", refused(place));
        fs::remove_file(x.join("up")).expect("removed");

        File::create(x.join("huge")).and_then(|file| file.set_len(LARGEST + 1)).expect("made");
        assert_eq!(refused(place).0, "DIR/distros/x/huge is larger than 1024 KiB");
        fs::remove_file(x.join("huge")).expect("removed");

        nix::unistd::mkfifo(&x.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert_eq!(refused(place).0, "DIR/distros/x/pipe is neither a file nor a folder");
    }
}
