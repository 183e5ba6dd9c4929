//! The code of `--handoff-code`, as machines fetch it: one tar file, the same for the same tree.

use std::{
    fs::{self, File, Metadata},
    io::{self, BufWriter, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::model::{Handoff, Hinted, Sha256Digest};

/// The name that it is fetched by.
pub const NAME: &str = "handoff.tar";

/// Largest tree that is delivered. Every machine fetches all of it from one laptop, and more than this is an image or a mirror
/// that was caught by mistake.
const LIMIT: u64 = 1 << 30;

/// What runs the code when no `--handoff-exec` says what does.
const ENTRY: &str = "run";

/// The packed code. Its file has no name any more: however this process ends, nothing of it is left.
#[derive(Debug)]
pub struct Code {
    file: File,
    sha256: Sha256Digest,
}

impl Code {
    /// Packs what `handoff` delivers, if anything, into a file in `folder`.
    pub fn pack(handoff: &Handoff, folder: &Path) -> anyhow::Result<Option<Self>> {
        check(handoff)?;
        let Some(tree) = &handoff.code else { return Ok(None) };
        let path = folder.join(format!("handoff-{}.tar", process::id()));
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.and_then(|file| fs::remove_file(&path).map(|()| file));
        let file = file.with_context(|| format!("making {}", path.display()))?;
        let sha256 = pack(tree, BufWriter::new(&file)).map_err(|error| unpackable(tree, error))?;
        Ok(Some(Self { file, sha256 }))
    }

    /// Its digest.
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// By this path this process can open it, each time from its beginning (proc_pid_fd(5)).
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

/// The digest that the code has when it is packed, for showing what machines would be told.
pub fn digest(handoff: &Handoff) -> anyhow::Result<Option<Sha256Digest>> {
    check(handoff)?;
    let tree = handoff.code.as_ref();
    tree.map(|tree| pack(tree, io::sink()).map_err(|error| unpackable(tree, error))).transpose()
}

/// Whether there is something to run.
///
/// # Errors
/// For code without an entry script and without a command.
pub fn check(handoff: &Handoff) -> Result<(), Hinted> {
    let Handoff { exec: None, code: Some(tree) } = handoff else { return Ok(()) };
    let entry = tree.join(ENTRY);
    let what = match fs::metadata(&entry) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => return Ok(()),
        Ok(_) => format!("{} is not an executable file", entry.display()),
        Err(error) => format!("--handoff-code {} has no script {ENTRY}: {error}", tree.display()),
    };
    let hint = "machines run ./run of the directory (chmod +x it), or what --handoff-exec says";
    Err(Hinted::new(what, hint))
}

fn unpackable(tree: &Path, error: anyhow::Error) -> anyhow::Error {
    error.context(format!("packing --handoff-code {}", tree.display()))
}

/// Packs a tree: sorted, owned by root, with the files' own modes and times. Links stay links.
fn pack(tree: &Path, to: impl Write) -> anyhow::Result<Sha256Digest> {
    let mut archive = Builder::new(Hashing { to, hash: Sha256::new(), length: 0 });
    add_folder(&mut archive, tree, Path::new(""))?;
    let mut packed = archive.into_inner()?;
    packed.flush()?;
    Ok(Sha256Digest(packed.hash.finalize().into()))
}

fn add_folder<W: Write>(archive: &mut Builder<Hashing<W>>, tree: &Path, folder: &Path) -> anyhow::Result<()> {
    let shown = || tree.join(folder).display().to_string();
    let mut names = fs::read_dir(tree.join(folder))
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>())
        .with_context(|| format!("reading {}", shown()))?;
    names.sort();
    for name in names {
        let name = folder.join(name);
        add(archive, tree, &name).with_context(|| format!("reading {}", tree.join(&name).display()))?;
        if archive.get_ref().length > LIMIT {
            let what = format!("it is larger than {} MiB", LIMIT >> 20);
            let hint = "deliver less, and have the machine fetch the rest by itself";
            return Err(Hinted::new(what, hint).into());
        }
    }
    Ok(())
}

fn add<W: Write>(archive: &mut Builder<Hashing<W>>, tree: &Path, name: &Path) -> anyhow::Result<()> {
    let path = tree.join(name);
    let found = path.symlink_metadata()?;
    if found.is_dir() {
        archive.append_data(&mut header(&found, EntryType::Directory, 0), name, io::empty())?;
        return add_folder(archive, tree, name);
    }
    if found.is_symlink() {
        return Ok(archive.append_link(&mut header(&found, EntryType::Symlink, 0), name, fs::read_link(&path)?)?);
    }
    if !found.is_file() {
        let hint = "only files, directories and symbolic links can be delivered";
        return Err(Hinted::new("it is a device, a socket or a pipe", hint).into());
    }
    // Not through a link that was put there since, nor waiting for a pipe's other end.
    let file = File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path)?;
    let found = file.metadata()?;
    if found.len() > LIMIT {
        let what = format!("it is larger than {} MiB", LIMIT >> 20);
        return Err(Hinted::new(what, "have the machine fetch it by itself").into());
    }
    let mut content = file.take(found.len());
    archive.append_data(&mut header(&found, EntryType::Regular, found.len()), name, &mut content)?;
    anyhow::ensure!(content.limit() == 0, "it was shortened while it was read");
    Ok(())
}

fn header(found: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(found.mode() & 0o7777);
    header.set_mtime(found.mtime().max(0).unsigned_abs());
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Digests and counts what passes.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a folder");
        let path = |name: &str| tree.path().join(name);
        fs::create_dir(path("roles")).expect("made");
        fs::write(path("roles/web.yml"), "- hosts: all\n").expect("written");
        fs::write(path("run"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(path("run"), fs::Permissions::from_mode(0o755)).expect("ours");
        symlink("roles/web.yml", path("site.yml")).expect("a link");
        let long = "a-rather-long-name-".repeat(6);
        fs::create_dir_all(path(&long).join(&long)).expect("made");
        fs::write(path(&long).join(&long).join("file"), "deep").expect("written");
        tree
    }

    fn handoff(exec: Option<&str>, tree: &Path) -> Handoff {
        Handoff { exec: exec.map(str::to_owned), code: Some(tree.to_owned()) }
    }

    #[test]
    fn a_real_tar_unpacks_what_was_packed_and_no_file_is_left() {
        let (tree, prefix, out) =
            (tree(), tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let wanted = handoff(None, tree.path());
        let code = Code::pack(&wanted, prefix.path()).expect("packed").expect("code");
        assert_eq!(fs::read_dir(prefix.path()).expect("a folder").count(), 0);
        assert_eq!(digest(&wanted).expect("packed"), Some(code.sha256()), "the same tree, the same file");
        let bytes = fs::read(code.path()).expect("its content");
        assert_eq!(fs::read(code.path()).expect("again"), bytes, "from the beginning each time");
        assert_eq!(Sha256Digest(Sha256::digest(&bytes).into()), code.sha256());

        let packed = out.path().join(NAME);
        fs::write(&packed, bytes).expect("written");
        let unpacked = Command::new("tar").arg("-xf").arg(&packed).arg("-C").arg(out.path()).status();
        assert!(unpacked.expect("tar").success());
        fs::remove_file(packed).expect("ours");
        let same = Command::new("diff").args(["-r", "--no-dereference"]).args([tree.path(), out.path()]).status();
        assert!(same.expect("diff").success());
        let run = fs::metadata(out.path().join("run")).expect("the script");
        assert_eq!(run.permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn code_that_nothing_would_run_is_refused() {
        let tree = tree();
        fs::set_permissions(tree.path().join("run"), fs::Permissions::from_mode(0o644)).expect("ours");
        let refused = check(&handoff(None, tree.path())).expect_err("it cannot be run");
        assert!(refused.what.contains("run is not an executable file") && refused.hint.contains("chmod +x"));
        fs::remove_file(tree.path().join("run")).expect("ours");
        let refused = check(&handoff(None, tree.path())).expect_err("nothing to run");
        assert!(refused.what.contains("has no script run"), "{refused}");
        assert_eq!(check(&handoff(Some("make"), tree.path())), Ok(()));
        assert_eq!(check(&Handoff::default()), Ok(()));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_by_name() {
        let tree = tree();
        let socket = tree.path().join("roles/socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let refused = format!("{:#}", digest(&handoff(None, tree.path())).expect_err("a socket"));
        assert!(refused.contains("roles/socket: it is a device, a socket or a pipe"), "{refused}");
        fs::remove_file(socket).expect("ours");

        let large = tree.path().join("image.raw");
        File::create(&large).and_then(|file| file.set_len(LIMIT + 1)).expect("a sparse file");
        let refused = format!("{:#}", digest(&handoff(None, tree.path())).expect_err("too large"));
        assert!(refused.contains("image.raw: it is larger than 1024 MiB"), "{refused}");
    }
}
