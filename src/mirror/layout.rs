use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use crate::model::Sha256Digest;

/// What is being written has this prefix; the mirrors' folders never begin with a dot.
pub(super) const PART: &str = ".part-";
/// Folder of the sidecars, beside the mirrors' folders and with the same tree below it.
const SIDECARS: &str = ".meta";
/// What is locked while bodies and sidecars get their names or lose them.
const LOCK: &str = ".lock";
/// Longest file name on the usual file systems, less the room for `.json`.
const LONGEST_NAME: usize = 250;
/// Longest key that is kept as a path; `PATH_MAX` is 4096 with the folder's own path in it.
const LONGEST_KEY: usize = 2048;

/// Where in the store's folder everything is.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub folder: PathBuf,
}

/// A body of the store, as it was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    /// Its path below the store's folder; [`stored_name`] of its key.
    pub name: PathBuf,
    /// Bytes.
    pub length: u64,
    /// When it was last used; when it was fetched, if nothing tells.
    pub used: SystemTime,
    inode: (u64, u64),
}

impl Layout {
    pub fn body(&self, name: &Path) -> PathBuf {
        self.folder.join(name)
    }

    pub fn sidecar(&self, name: &Path) -> PathBuf {
        let mut path = self.folder.join(SIDECARS).join(name).into_os_string();
        path.push(".json");
        path.into()
    }

    /// What whoever names files here locks shared, and whoever removes named ones alone: so that no removal meant for one body
    /// hits its successor. Held for moments. Each caller has a lock of its own, since threads of one process share none.
    pub fn lock(&self) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))
    }

    /// Every body. Blocks: two system calls for each.
    pub fn bodies(&self) -> io::Result<Vec<Body>> {
        let mut bodies = Vec::new();
        for archive in entries(&self.folder)?.filter(|(name, _)| !is_own(name)) {
            walk(&self.folder, &archive.0, &mut |name, metadata| bodies.push(self.found(name, metadata)))?;
        }
        Ok(bodies)
    }

    /// The body of that name, if there is one.
    pub fn find(&self, name: &Path) -> Option<Body> {
        let metadata = self.body(name).symlink_metadata().ok().filter(Metadata::is_file)?;
        Some(self.found(name, &metadata))
    }

    /// Sidecars without bodies. One whose body is just getting its name looks the same, unless [`Layout::lock`] is held.
    pub fn widows(&self) -> io::Result<Vec<PathBuf>> {
        let mut widows = Vec::new();
        let folder = self.folder.join(SIDECARS);
        walk(&folder, Path::new(""), &mut |name, _| {
            let body = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if body.is_some_and(|body| self.body(Path::new(body)).symlink_metadata().is_err()) {
                widows.push(folder.join(name));
            }
        })?;
        Ok(widows)
    }

    /// What is being written, or was when its writer died.
    pub fn parts(&self) -> io::Result<Vec<PathBuf>> {
        let parts = entries(&self.folder)?.filter(|(name, _)| name.to_string_lossy().starts_with(PART));
        Ok(parts.map(|(name, _)| self.folder.join(name)).collect())
    }

    fn found(&self, name: &Path, metadata: &Metadata) -> Body {
        let modified = |metadata: Metadata| metadata.modified();
        let used = self.sidecar(name).symlink_metadata().and_then(modified).or_else(|_| metadata.modified());
        Body {
            name: name.to_owned(),
            length: metadata.len(),
            used: used.unwrap_or(SystemTime::UNIX_EPOCH),
            inode: inode(metadata),
        }
    }
}

impl Body {
    /// Whether that is what is there under its name.
    pub fn is(&self, metadata: &Metadata) -> bool {
        self.inode == inode(metadata)
    }

    /// The archive it is of, and its path there.
    pub fn place(&self) -> (String, String) {
        let name = self.name.to_string_lossy();
        let (archive, path) = name.split_once('/').unwrap_or(("", &name));
        (archive.to_owned(), path.to_owned())
    }
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn is_own(name: &Path) -> bool {
    name.to_string_lossy().starts_with('.')
}

/// What a folder holds, by name; nothing, if it is gone.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = (PathBuf, fs::FileType)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => return Err(error),
    };
    // An entry that vanishes while it is looked at was somebody's to remove.
    let named = |entry: fs::DirEntry| Some((PathBuf::from(entry.file_name()), entry.file_type().ok()?));
    Ok(entries.into_iter().flatten().flatten().filter_map(named))
}

/// Shows every plain file below `root/below`, by its path below `root`. Links are not followed: there are none of ours.
fn walk(root: &Path, below: &Path, show: &mut dyn FnMut(&Path, &Metadata)) -> io::Result<()> {
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        for (name, kind) in entries(&root.join(&folder))? {
            let name = folder.join(name);
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file()
                && let Ok(metadata) = root.join(&name).symlink_metadata()
            {
                show(&name, &metadata);
            }
        }
    }
    Ok(())
}

/// A key as a path that the file system takes. Different keys have different paths: a component with `%` in it, the mark of
/// a hashed one, is hashed too.
pub(super) fn stored_name(key: &str) -> PathBuf {
    let name: Vec<_> = key.split('/').map(stored_component).collect();
    let name = name.join("/");
    if name.len() <= LONGEST_KEY {
        return name.into();
    }
    let (mirror, path) = key.split_once('/').expect("a key is a mirror's id and a path");
    format!("{mirror}/{}", hashed(path)).into()
}

fn stored_component(component: &str) -> String {
    if component.len() > LONGEST_NAME || component.contains('%') { hashed(component) } else { component.to_owned() }
}

fn hashed(text: &str) -> String {
    format!("%{}", Sha256Digest(Sha256::digest(text).into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn any_key_has_a_path_of_its_own_that_the_file_system_takes() {
        let (long, folder) = ("x".repeat(300), tempfile::tempdir().expect("a folder"));
        let keys = [
            format!("debian/{long}"),
            format!("debian/{long}y"),
            format!("debian/{}", hashed(&long)),
            format!("debian/{}end", "folder/".repeat(600)),
            "debian/a%b".to_owned(),
            format!("debian/{}", "y".repeat(LONGEST_NAME)),
        ];
        let layout = Layout { folder: folder.path().to_owned() };
        let names: BTreeSet<_> = keys.iter().map(|key| stored_name(key)).collect();
        assert_eq!(names.len(), keys.len());
        for name in &names {
            for path in [layout.body(name), layout.sidecar(name)] {
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, "").expect("written");
            }
        }
        let found: BTreeSet<_> = layout.bodies().expect("a walk").into_iter().map(|body| body.name).collect();
        assert_eq!(found, names);
        assert_eq!(layout.widows().expect("a walk"), Vec::<PathBuf>::new());
        fs::remove_file(layout.body(&stored_name(&keys[4]))).expect("removed");
        assert_eq!(layout.widows().expect("a walk"), [layout.sidecar(&stored_name(&keys[4]))]);
    }
}
