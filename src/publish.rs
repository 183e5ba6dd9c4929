//! Small files that others read while they are written anew.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The mode of files that hold no secret.
pub const READABLE: u32 = 0o644;

/// Replaces a small file in one step, or makes it: whoever reads it, or a crash, finds the old content or the new. It has `mode`
/// then, whatever the umask.
///
/// Several may do so at once, in one process or many: each writes to a name of its own beside the file, and the last wins.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let (mut file, new) = beside(path, mode)?;
    let mut written = || {
        // The umask may have narrowed it.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().inspect_err(|_| {
        // What cannot be removed is only space lost.
        let _ = fs::remove_file(&new);
    })
}

/// A new file, `<path>.<process>-<number>.part`.
fn beside(path: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let mut name = OsString::from(path);
        name.push(format!(".{}-{}.part", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        // SECURITY: create_new follows no link that somebody has put there.
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&name) {
            // Left by a killed process that had this one's number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, name.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, thread};

    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn of_several_at_once_one_is_whole_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let contents: Vec<_> = (b'a'..=b'h').map(|letter| vec![letter; 20_000]).collect();
        thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| (0..20).try_for_each(|_| replace(&path, READABLE, content)).expect("written"));
            }
            for _ in 0..50 {
                if let Ok(read) = fs::read(&path) {
                    assert!(contents.contains(&read), "{} bytes", read.len());
                }
            }
        });
        assert!(contents.contains(&fs::read(&path).expect("a file")));
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_name_that_is_taken_is_let_alone_and_a_failure_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, secret) = (folder.path().join("a"), folder.path().join("secret"));
        fs::write(&secret, "kept").expect("written");
        // Whichever comes next of this process.
        for number in 0..2000 {
            let name = format!("a.{}-{number}.part", process::id());
            symlink(&secret, folder.path().join(name)).expect("linked");
        }
        replace(&path, 0o640, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("a file"), b"new");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(&secret).expect("a file"), b"kept");

        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("taken/full")).expect("made");
        replace(&folder.path().join("taken"), READABLE, b"new").expect_err("a folder is in the way");
        assert_eq!(names(folder.path()), ["taken"]);
        replace(&folder.path().join("no/folder"), READABLE, b"new").expect_err("there is no such folder");
    }
}
