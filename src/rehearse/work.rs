use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;
use jiff::Timestamp;

use super::Images;

/// The directory of one rehearsal: disk, variable store, journal, console. It is removed when dropped, unless it is kept.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    kept: bool,
}

impl WorkDir {
    /// Makes `<prefix>/rehearsal/<time>-<process id>`.
    pub fn create(prefix: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let all = prefix.join("rehearsal");
        let path = all.join(format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), process::id()));
        fs::create_dir_all(&all).with_context(|| format!("creating {}", all.display()))?;
        // SECURITY: the disk in it will hold a password hash and host keys; an installed system would not show them either.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine's disk.
    pub fn disk(&self) -> PathBuf {
        self.path.join("disk.raw")
    }

    /// Everything that came out of the machine's serial port, as it came.
    pub fn console_log(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// The journal: a virtual machine must not appear in the real one.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// What QEMU itself writes.
    pub fn complaints(&self) -> PathBuf {
        self.path.join("qemu.log")
    }

    /// Makes an empty disk; sparse, so it takes no room until something is written.
    pub fn make_disk(&self, gib: u32) -> anyhow::Result<()> {
        let path = self.disk();
        File::create_new(&path)
            .and_then(|disk| disk.set_len(u64::from(gib) << 30))
            .with_context(|| format!("making the disk image {}", path.display()))
    }

    /// The same firmware with a variable store of this machine's own.
    pub fn own_firmware(&self, images: &Images) -> anyhow::Result<Images> {
        let Images::Ovmf { code, vars } = images else { return Ok(images.clone()) };
        let own = self.path.join("variables.fd");
        // Read and written, not copied: the copy must be writable although the original is not.
        let fresh = fs::read(vars).with_context(|| format!("reading {}", vars.display()))?;
        fs::write(&own, fresh).with_context(|| format!("writing {}", own.display()))?;
        Ok(Images::Ovmf { code: code.clone(), vars: own })
    }

    /// Leaves it in place when dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("the rehearsal's directory {} could not be removed: {error}", self.path.display());
        }
        // The parent goes too when no other rehearsal left something in it.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn nothing_is_left_unless_it_is_kept() {
        let prefix = tempfile::tempdir().expect("a folder");
        let later = Timestamp::from_second(1).expect("a second");
        let mut kept = WorkDir::create(prefix.path(), Timestamp::UNIX_EPOCH).expect("a directory");
        let gone = WorkDir::create(prefix.path(), later).expect("another");
        assert!(WorkDir::create(prefix.path(), later).is_err(), "never shared");
        let path = gone.path().to_owned();
        drop(gone);
        assert!(!path.exists());

        kept.keep();
        let path = kept.path().to_owned();
        drop(kept);
        assert!(path.ends_with(format!("rehearsal/19700101T000000Z-{}", process::id())));
        assert_eq!(path.metadata().expect("kept").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn the_last_one_takes_the_common_directory_with_it() {
        let prefix = tempfile::tempdir().expect("a folder");
        drop(WorkDir::create(prefix.path(), Timestamp::UNIX_EPOCH).expect("a directory"));
        assert_eq!(fs::read_dir(prefix.path()).expect("the prefix").count(), 0);
    }

    #[test]
    fn the_disk_takes_no_room_and_the_variables_are_a_copy() {
        let prefix = tempfile::tempdir().expect("a folder");
        let work = WorkDir::create(prefix.path(), Timestamp::UNIX_EPOCH).expect("a directory");
        work.make_disk(20).expect("a disk");
        let disk = work.disk().metadata().expect("the disk");
        assert_eq!((disk.len(), disk.blocks()), (20 << 30, 0));

        let vars = prefix.path().join("vars.fd");
        fs::write(&vars, b"fresh").expect("a variable store");
        let original = Images::Ovmf { code: "/f/code.fd".into(), vars: vars.clone() };
        let Images::Ovmf { code, vars: own } = work.own_firmware(&original).expect("a copy") else {
            panic!("another firmware")
        };
        assert_eq!((code.as_path(), fs::read(&own).expect("the copy")), (Path::new("/f/code.fd"), b"fresh".to_vec()));
        assert_ne!(own, vars);
    }
}
