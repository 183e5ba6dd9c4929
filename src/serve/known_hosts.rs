//! `known_hosts` (sshd(8)): the SSH host keys that machines told by their token, so that the first login is not on trust.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    model::Machine,
    publish::{READABLE, replace},
};

/// What its first line says to whoever would edit it.
const NOTE: &str = "# Made from the journal beside it, again and again: what is changed here is lost.\n";

/// The file, which follows what machines do.
#[derive(Debug)]
pub struct KnownHosts {
    path: PathBuf,
    /// What it has in it.
    written: Mutex<String>,
}

impl KnownHosts {
    /// Beside `journal`, from which it can be made again at any time.
    pub fn beside(journal: &Path) -> Self {
        let path = path_beside(journal);
        let written = Mutex::new(fs::read_to_string(&path).unwrap_or_default());
        Self { path, written }
    }

    /// Writes it, if it has changed. Blocks. A file that cannot be written is an error in the log: it stops no installation.
    pub fn keep(&self, machines: &[Machine]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text(machines);
        if *written == text {
            return;
        }
        match replace(&self.path, READABLE, text.as_bytes()) {
            Ok(()) => *written = text,
            Err(error) => tracing::error!("writing {}: {error}", self.path.display()),
        }
    }
}

/// Where it is.
pub fn path_beside(journal: &Path) -> PathBuf {
    journal.with_file_name("known_hosts")
}

/// An address, and a name, is that of the machine that was heard of last: it may have gone from another one to it.
fn text(machines: &[Machine]) -> String {
    let mut by_time: Vec<_> = machines.iter().collect();
    by_time.sort_by_key(|machine| machine.last_seen);
    let mut owners = BTreeMap::new();
    for machine in &by_time {
        owners.extend(names(machine).into_iter().map(|name| (name, machine.mac)));
    }
    let mut text = String::new();
    for machine in machines {
        let mut names = names(machine);
        names.retain(|name| owners.get(name) == Some(&machine.mac));
        if !names.is_empty() {
            text.extend(machine.host_keys.iter().map(|key| format!("{} {key} {}\n", names.join(","), machine.mac)));
        }
    }
    if text.is_empty() { text } else { NOTE.to_owned() + &text }
}

fn names(machine: &Machine) -> Vec<String> {
    let address = machine.address.map(|address| address.to_string());
    let full = machine.hostname.clone();
    let short = full.as_deref().and_then(|name| name.split_once('.')).map(|(short, _)| short.to_owned());
    address.into_iter().chain(full).chain(short).collect()
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt};

    use jiff::Timestamp;

    use super::*;
    use crate::model::{Event, EventKind, Mac};

    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TWO: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn machine(mac: Mac, second: i64, address: u8, key: &str, hostname: Option<&str>) -> Machine {
        let at = Timestamp::from_second(second).expect("a second");
        let mut machine = Machine::new(mac, at);
        for kind in [
            EventKind::HostKeys { keys: vec![key.to_owned()], hostname: hostname.map(str::to_owned) },
            EventKind::Leased { address: Ipv4Addr::new(192, 168, 42, address) },
        ] {
            machine.apply(&Event { at, mac, kind });
        }
        machine
    }

    #[test]
    fn a_machine_is_known_by_its_address_and_its_names() {
        let web = machine(ONE, 1, 7, "ssh-ed25519 AAAA", Some("web1.lab"));
        let expected = format!("{NOTE}192.168.42.7,web1.lab,web1 ssh-ed25519 AAAA {ONE}\n");
        assert_eq!(text(&[web]), expected);
        assert_eq!(text(&[Machine::new(ONE, Timestamp::UNIX_EPOCH)]), "");
    }

    #[test]
    fn an_address_that_goes_to_another_machine_takes_no_key_with_it() {
        let machines = [machine(ONE, 2, 7, "one", Some("web1")), machine(TWO, 1, 7, "two", Some("web2"))];
        let expected = format!("{NOTE}192.168.42.7,web1 one {ONE}\nweb2 two {TWO}\n");
        assert_eq!(text(&machines), expected);
        let mut silent = machine(TWO, 3, 7, "", None);
        silent.host_keys.clear();
        assert_eq!(text(&[machines[0].clone(), silent]), format!("{NOTE}web1 one {ONE}\n"));
    }

    #[test]
    fn it_is_written_when_there_is_something_and_again_when_that_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.jsonl");
        let file = KnownHosts::beside(&journal);
        file.keep(&[]);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        file.keep(&[machine(ONE, 1, 7, "one", None)]);
        let path = path_beside(&journal);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o644);
        KnownHosts::beside(&journal).keep(&[]);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "");
    }
}
