//! Whose files they are when the program runs under sudo.
//!
//! The cache is then in the home of whoever called sudo, and two things must hold. What is made there must be theirs, or a
//! later run by file capabilities could not go on with it. And no link that somebody planted there may lead root anywhere:
//! not the journal to `/etc/shadow`, not a folder of the mirror to `/etc`.
//!
//! Linux has one answer to both: a thread's *filesystem* identity (setfsuid(2), made for file servers). With it every file
//! is opened, made and owned as the user, with the user's rights at each step of its path, while the network stays root's.
//! It is a property of the thread, and threads begin with that of the thread that starts them; so it is taken on before the
//! runtime is made, and laid down only on threads that are made for it. Child processes begin with root's again.
//!
//! It shields files, it is no sandbox: the process can have root's identity back at any time. Rejected: making files as root
//! and giving them away afterwards, which leaves every open(2) of three servers and two caches to be guarded against links,
//! and a folder above it can still be exchanged meanwhile.

use std::{
    env,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{self, Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, ensure};
use nix::unistd::{Gid, Uid, User, getegid, geteuid, setfsgid, setfsuid, setgroups};

/// Who called sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invoker {
    uid: Uid,
    gid: Gid,
}

impl Invoker {
    /// Whoever called sudo to make this process root's; `None` when nobody did, or root itself.
    pub fn of_this_process() -> Option<Self> {
        let number = |name| env::var(name).ok()?.parse().ok();
        let uid = Uid::from_raw(number("SUDO_UID")?);
        (geteuid().is_root() && !uid.is_root())
            .then(|| Some(Self { uid, gid: Gid::from_raw(number("SUDO_GID")?) }))
            .flatten()
    }

    /// Their home, if this machine's accounts tell it.
    pub fn home(self) -> Option<PathBuf> {
        User::from_uid(self.uid).ok().flatten().map(|user| user.dir)
    }

    /// Has a command run as them and nobody more: their user and group, no further groups, their home.
    pub fn run_as_them(self, command: &mut Command) {
        // SECURITY: for root, std gives up all groups before it takes on the user, and a step that fails starts nothing.
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        if let Ok(Some(user)) = User::from_uid(self.uid) {
            command.env("HOME", user.dir).env("USER", &user.name).env("LOGNAME", user.name);
        }
    }

    /// Has this thread, and every one that it starts from now on, act as them on files, if `folder` is theirs: if they own
    /// it or anything on the way to it, so that they could put a link there. Elsewhere root's files stay root's.
    ///
    /// To be called before there are other threads.
    ///
    /// # Errors
    /// When the kernel refuses, as it does in a container without CAP_SETUID and CAP_SETGID.
    pub fn take_on_files(self, folder: &Path) -> anyhow::Result<()> {
        if self.has_a_hand_in(folder) {
            // Root's groups would open to a planted link what those may write.
            setgroups(&[self.gid]).context("giving up root's groups")?;
            self.assume()?;
        }
        Ok(())
    }

    /// Along the path as it is named and as it resolves: a link on it may be root's and lead into a folder of theirs.
    fn has_a_hand_in(self, folder: &Path) -> bool {
        let named = path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let resolved = named.ancestors().find_map(|existing| existing.canonicalize().ok()).unwrap_or_default();
        let owns = |step: &Path| step.symlink_metadata().is_ok_and(|found| found.uid() == self.uid.as_raw());
        named.ancestors().chain(resolved.ancestors()).any(owns)
    }

    fn assume(self) -> anyhow::Result<()> {
        // Neither call reports a failure: each tells what was before, and so the second time what is.
        setfsgid(self.gid);
        setfsuid(self.uid);
        let assumed = setfsgid(self.gid) == self.gid && setfsuid(self.uid) == self.uid;
        ensure!(assumed, "the kernel does not let this process act on files as user {}", self.uid);
        Ok(())
    }
}

/// Runs `work` with this process's own identity on files, on a thread of its own: for what is root's business, such as
/// devices and `/run`, and for files that the operator named to root.
pub fn with_own_files<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setfsuid(geteuid());
            setfsgid(getegid());
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        io,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

    use tempfile::TempDir;

    use super::*;

    /// Nobody's on any machine.
    const SOMEBODY: Invoker = Invoker { uid: Uid::from_raw(612_345), gid: Gid::from_raw(612_346) };

    /// A folder that everybody may enter, and whose it is.
    fn folder(owner: Option<Invoker>) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder of ours");
        if let Some(Invoker { uid, gid }) = owner {
            chown(folder.path(), Some(uid.as_raw()), Some(gid.as_raw())).expect("we are root");
        }
        folder
    }

    fn is_root() -> bool {
        geteuid().is_root() || {
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "only root can act as another");
            eprintln!("skipped: only root can act as another");
            false
        }
    }

    /// On a thread of its own: the tests after this one are root's.
    fn as_somebody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                SOMEBODY.assume().expect("we are root");
                work()
            });
            thread.join().expect("no panic")
        })
    }

    #[test]
    fn what_is_made_is_theirs_also_by_threads_and_a_planted_link_leads_nowhere() {
        if !is_root() {
            return;
        }
        let (home, roots) = (folder(Some(SOMEBODY)), folder(None));
        let secret = roots.path().join("shadow");
        fs::write(&secret, "root's").expect("written");
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("a file of ours");
        symlink(&secret, home.path().join("journal")).expect("planted");
        symlink(roots.path(), home.path().join("mirror")).expect("planted");

        as_somebody(|| {
            thread::scope(|scope| scope.spawn(|| fs::write(home.path().join("new"), "")).join().expect("no panic"))
                .expect("their own folder");
            for planted in ["journal", "mirror/part"] {
                let opened = fs::File::options().append(true).create(true).open(home.path().join(planted));
                assert_eq!(
                    opened.map_err(|error| error.kind()).err(),
                    Some(io::ErrorKind::PermissionDenied),
                    "{planted}"
                );
            }
            assert_eq!(with_own_files(|| fs::read_to_string(&secret)).expect("root may"), "root's");
            assert!(fs::read(&secret).is_err(), "and only where it is asked for");
        });
        let made = fs::metadata(home.path().join("new")).expect("made");
        assert_eq!((made.uid(), made.gid()), (SOMEBODY.uid.as_raw(), SOMEBODY.gid.as_raw()));
        assert_eq!(fs::read_dir(roots.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_command_of_theirs_has_nothing_of_roots() {
        if !is_root() {
            return;
        }
        let mut command = Command::new("id");
        SOMEBODY.run_as_them(&mut command);
        let printed = String::from_utf8(command.output().expect("id").stdout).expect("text");
        assert_eq!(printed.trim(), "uid=612345 gid=612346 groups=612346");
    }

    #[test]
    fn a_folder_is_theirs_if_they_could_plant_a_link_on_the_way() {
        if !is_root() {
            return;
        }
        let (home, roots) = (folder(Some(SOMEBODY)), folder(None));
        fs::create_dir(home.path().join("roots-own")).expect("made");
        symlink(home.path().join("roots-own"), roots.path().join("into-home")).expect("a link");
        symlink(roots.path(), home.path().join("out")).expect("a link");
        for (folder, theirs) in [
            (home.path().join("a/b"), true),
            (home.path().join("roots-own/b"), true),
            (home.path().join("out/b"), true),
            (roots.path().join("into-home/b"), true),
            (roots.path().join("a/b"), false),
        ] {
            assert_eq!(SOMEBODY.has_a_hand_in(&folder), theirs, "{}", folder.display());
        }
    }
}
