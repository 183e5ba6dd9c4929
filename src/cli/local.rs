//! What a plan needs of this machine: its files, its home, its name servers. Reads only.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

use super::password;
use crate::{
    distro::Catalogue,
    fetch::{self, Keyring},
    model::Hinted,
    net::{Place, probe},
    plan::{Local, Settings},
    sudo::{self, Invoker},
};

/// Distribution when none is asked for.
pub const DEFAULT_DISTRO: &str = "fedora";

/// Which interface a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The port that targets are plugged into.
    Real,
    /// One that is made later.
    Named(&'static str),
    /// None: nothing is served.
    None,
}

/// The distributions and loader scripts: ours, and the operator's own.
pub fn catalogue(settings: &Settings) -> Result<Catalogue, Hinted> {
    let folder = settings.templates.as_deref();
    sudo::with_own_files(|| folder.map_or_else(|| Ok(Catalogue::embedded()), Catalogue::with))
}

/// Gathers it. Whatever is missing or wrong is left as an error in its place, to be reported with all the others.
///
/// Files that the operator named are read with the rights of this process: under sudo they may be root's.
pub fn gather(settings: &Settings, catalogue: &Catalogue, link: Link) -> Local {
    let distro = settings.distro.as_deref().unwrap_or(DEFAULT_DISTRO);
    // A directory is read later with the rights on files that this thread has.
    let mirror = settings.mirror.as_ref().map_or(Ok(()), |mirror| fetch::check_mirror(mirror, distro));
    sudo::with_own_files(|| look(settings, catalogue, link, distro, mirror))
}

fn look(settings: &Settings, catalogue: &Catalogue, link: Link, distro: &str, mirror: Result<(), Hinted>) -> Local {
    Local {
        interface: match link {
            Link::Named(name) => Ok(name.to_owned()),
            Link::Real => choose_interface(settings.interface.as_deref()),
            Link::None => Ok("none".to_owned()),
        },
        resolvers: (link != Link::None).then(probe::resolvers),
        default_prefix: default_prefix(),
        mirror,
        distro: catalogue.distro(distro),
        password: settings.password_file.as_deref().map(password::read),
        ssh_keys: read_ssh_keys(&settings.ssh_keys),
        passphrase: settings.luks_passphrase_file.as_deref().map(password::read_passphrase),
        handoff_code: settings.handoff_code.as_deref().map_or(Ok(()), check_handoff_code),
        own_answers: settings.answers.as_deref().map(read_answers),
        append_answers: settings.append_answers.as_ref().map(|path| {
            let text = fs::read_to_string(path);
            text.map_err(|error| unreadable("--append-answers", path, &error))
        }),
        keyrings: settings.keyrings.iter().map(|path| read_keyring(path)).collect(),
    }
}

fn choose_interface(asked: Option<&str>) -> Result<String, Hinted> {
    let interfaces = probe::interfaces(&Place::Here)
        .map_err(|error| Hinted::new(format!("{error:#}"), "name the interface with --interface"))?;
    probe::choose(&interfaces, asked).map(|interface| interface.name.clone())
}

/// `--ssh-key` is a key, or a file of keys as `authorized_keys` and `id_….pub` are.
fn read_ssh_keys(given: &[String]) -> Result<Vec<String>, Hinted> {
    let mut keys = Vec::new();
    for key in given {
        // A key has its type and its base64 separated by a blank; no path that one gives here has.
        if key.contains(' ') {
            keys.push(key.trim().to_owned());
            continue;
        }
        let path = PathBuf::from(key);
        let text = fs::read_to_string(&path).map_err(|error| unreadable("--ssh-key", &path, &error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(lines.map(str::to_owned));
    }
    Ok(keys)
}

fn read_answers(path: &Path) -> Result<String, Hinted> {
    let text = fs::read_to_string(path).map_err(|error| unreadable("--answers", path, &error))?;
    if text.trim().is_empty() {
        let hint = "`provisioner render answers` writes ours, to begin with; without --answers they are used";
        return Err(Hinted::new(format!("--answers {}: it is empty", path.display()), hint));
    }
    Ok(text)
}

fn read_keyring(path: &Path) -> Result<Vec<u8>, Hinted> {
    let bytes = fs::read(path).map_err(|error| unreadable("--keyring", path, &error))?;
    let checked = Keyring::load(&bytes, &[]);
    checked.map(|_| bytes).map_err(|error| {
        let what = format!("--keyring {}: {error:#}", path.display());
        Hinted::new(what, "give a file of OpenPGP public keys, as `gpg --export` writes it, armoured or not")
    })
}

fn check_handoff_code(folder: &Path) -> Result<(), Hinted> {
    let readable = fs::read_dir(folder).map(drop);
    readable.map_err(|error| {
        let what = format!("--handoff-code {}: {error}", folder.display());
        Hinted::new(what, "give a directory that can be read")
    })
}

fn unreadable(flag: &str, path: &std::path::Path, error: &std::io::Error) -> Hinted {
    Hinted::new(format!("{flag} {}: {error}", path.display()), "give a file that can be read")
}

/// Where things are kept when `--prefix` is not given: `~/.cache/provisioner/` of whoever sits at the keyboard, who under sudo
/// is not root. A plain root session (a service) has `/var/cache/provisioner/`.
///
/// Under sudo `XDG_CACHE_HOME` does not count: what sudo leaves of the environment may be root's as well as its caller's.
pub fn default_prefix() -> PathBuf {
    let cache = match Invoker::of_this_process() {
        Some(invoker) => invoker.home().map(|home| home.join(".cache")),
        None if Uid::effective().is_root() => None,
        None => cache_home(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")),
    };
    cache.unwrap_or_else(|| PathBuf::from("/var/cache")).join("provisioner")
}

/// A user's caches by the XDG Base Directory Specification, which has what is no absolute path ignored: it would be another
/// place in every directory.
fn cache_home(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(xdg).or_else(|| Some(absolute(home)?.join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_where_the_user_says_and_never_below_the_working_directory() {
        for (xdg, home, expected) in [
            (None, Some("/home/ada"), Some("/home/ada/.cache")),
            (Some("/fast"), Some("/home/ada"), Some("/fast")),
            (Some("/fast"), None, Some("/fast")),
            (Some(""), Some("/home/ada"), Some("/home/ada/.cache")),
            (Some("caches"), Some("/home/ada"), Some("/home/ada/.cache")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let found = cache_home(xdg.map(OsString::from), home.map(OsString::from));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{xdg:?} {home:?}");
        }
    }
}
