use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    Change, Integrations, Tools,
    applied::undo,
    changer::Changer,
    record::{self, Found, Header, Left},
};
use crate::{
    model::Hinted,
    net::{
        Place,
        probe::{self, Interface},
    },
};

/// The folder in which every run on this host records what it changes, in one file for each interface.
#[derive(Debug, Clone)]
pub struct Records(PathBuf);

impl Records {
    /// Those in this folder, which need not be there yet.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The file for an interface.
    pub fn of(&self, interface: &str) -> PathBuf {
        self.0.join(format!("provisioner-{interface}.changes"))
    }

    fn all(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
        let mut paths = paths?;
        paths.retain(|path| is_record(path));
        paths.sort_unstable();
        Ok(paths)
    }
}

fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("provisioner-") && name.ends_with(".changes"))
}

/// What became of something that a killed run had left. Its `Display` is a line for the operator.
#[derive(Debug)]
pub enum Recovered {
    /// This change was undone.
    PutBack {
        /// The interface that was changed.
        interface: String,
        /// What had been done.
        change: Change,
    },
    /// The interface was unplugged since, and nothing of what was changed is left.
    Gone {
        /// The name it had.
        interface: String,
    },
    /// Something is still changed on an interface that is not ours. The record stays, so that the next run tries again.
    Failed(anyhow::Error),
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutBack { interface, change } => {
                write!(f, "put back what an earlier run had left: {}", change.on(interface))
            }
            Self::Gone { interface } => {
                write!(f, "{interface} was unplugged after an earlier run had changed it: nothing is left to put back")
            }
            Self::Failed(error) => match error.downcast_ref::<Hinted>() {
                Some(Hinted { what, hint }) => write!(f, "{what} ({hint})"),
                None => write!(f, "{error:#}"),
            },
        }
    }
}

/// Puts back what runs that were killed have left, on `interface` and on every other one. To be called before looking at
/// the interfaces: an address that was left on another one may be in the way.
///
/// A record of another boot describes nothing that is still there, and is dropped; so is one of a network namespace that is
/// not `place`, but for another interface: a run there will find it. Other interfaces may be in use by runs that live.
///
/// # Errors
/// [`Hinted`] when `interface` is in use ("another provisioner (pid …) uses interface …") or when something on it cannot be
/// put back.
pub fn recover(place: &Place, tools: &Tools, records: &Records, interface: &str) -> anyhow::Result<Vec<Recovered>> {
    let ours = records.of(interface);
    let mut recovered = match record::find(place, &ours)? {
        Found::Held(busy) => return Err(busy.into()),
        found => put_back(place, tools, found)?,
    };
    let all = records.all().with_context(|| format!("looking for records of changes in {}", records.0.display()))?;
    for other in all.iter().filter(|path| **path != ours) {
        match recover_other(place, tools, other) {
            Ok(more) => recovered.extend(more),
            Err(error) => recovered.push(Recovered::Failed(error)),
        }
    }
    Ok(recovered)
}

fn recover_other(place: &Place, tools: &Tools, path: &Path) -> anyhow::Result<Vec<Recovered>> {
    match record::find(place, path)? {
        Found::Left(left) if left.header.is_elsewhere(place).context(TELLING_APART)? => Ok(Vec::new()),
        found => put_back(place, tools, found),
    }
}

const TELLING_APART: &str = "telling this boot from others";

fn put_back(place: &Place, tools: &Tools, found: Found) -> anyhow::Result<Vec<Recovered>> {
    let Left { header, changes, record } = match found {
        Found::Nothing | Found::Held(_) => return Ok(Vec::new()),
        Found::Empty(record) => return record.remove(place).map(|()| Vec::new()),
        Found::Left(left) => left,
    };
    if !header.is_current(place).context(TELLING_APART)? {
        return record.remove(place).map(|()| Vec::new());
    }
    let Header { interface, index, .. } = header;
    let changer = Changer { place: place.clone(), tools: tools.clone(), interface: interface.clone(), index };
    let outcome = undo(&changer, &changes);
    let gone = probe::interfaces(place)?.iter().all(|interface| interface.index != index);
    match outcome {
        Err(error) if !gone => {
            return Err(Hinted::new(
                format!("an earlier run was killed and not everything it changed can be put back: {error:#}"),
                format!("put it back by hand, then remove {}", record.path().display()),
            )
            .into());
        }
        // Services may not want to hear of it any more.
        Err(error) => tracing::debug!("{error:#}"),
        Ok(()) => {}
    }
    record.remove(place)?;
    Ok(if gone && !changes.is_empty() {
        vec![Recovered::Gone { interface }]
    } else {
        changes.into_iter().map(|change| Recovered::PutBack { interface: interface.clone(), change }).collect()
    })
}

/// What a killed run has left on an interface and the next one will put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The interface's name.
    pub interface: String,
    /// The interface's number.
    pub index: u32,
    /// What was done, in its order.
    pub changes: Vec<Change>,
}

/// What [`recover`] would put back. Changes nothing; what cannot be understood is for `recover` to report.
pub fn leftovers(place: &Place, records: &Records) -> anyhow::Result<Vec<Leftover>> {
    let mut leftovers = Vec::new();
    for path in records.all().unwrap_or_default() {
        if let Ok(Found::Left(Left { header, changes, .. })) = record::find(place, &path)
            && header.is_current(place).context(TELLING_APART)?
        {
            leftovers.push(Leftover { interface: header.interface, index: header.index, changes });
        }
    }
    Ok(leftovers)
}

impl Leftover {
    /// Has `interfaces`, and the `integrations` of the one that is `named`, as they will be once it is put back.
    pub fn put_back_in(&self, interfaces: &mut [Interface], named: &str, integrations: &mut Integrations) {
        let interface = &mut interfaces.iter_mut().find(|interface| interface.index == self.index);
        for change in &self.changes {
            match (change, &mut *interface) {
                (Change::LinkUp, Some(interface)) => interface.up = false,
                (Change::Address(address), Some(interface)) => {
                    interface.addresses.retain(|there| *there != (*address).into());
                }
                (Change::Unmanage, _) if self.interface == named => integrations.network_manager = true,
                (Change::Trust { zone_before }, _) if self.interface == named => {
                    integrations.firewalld_zone = Some(zone_before.clone());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::probe::Kind;

    #[test]
    fn records_are_told_by_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = Records::in_folder(folder.path().join("run"));
        assert_eq!(records.all().expect("no folder, no record"), Vec::<PathBuf>::new());
        fs::create_dir(folder.path().join("run")).expect("made");
        let mut paths = ["lan0", "enp3s0", "br-0.7"].map(|interface| records.of(interface));
        for path in &paths {
            fs::write(path, "").expect("written");
        }
        for other in ["provisioner.pid", "provisioner-lan0.changes~", "other-lan0.changes"] {
            fs::write(folder.path().join("run").join(other), "").expect("written");
        }
        paths.sort_unstable();
        assert_eq!(records.all().expect("a folder"), paths);
    }

    #[test]
    fn a_plan_is_for_the_host_as_it_will_be_once_everything_is_put_back() {
        let address = "192.168.42.1/24".parse().expect("an address");
        let zone_before = Some("public".to_owned());
        let changes = [
            Change::Unmanage,
            Change::LinkUp,
            Change::Address(address),
            Change::Trust { zone_before: zone_before.clone() },
        ];
        let leftover = Leftover { interface: "enp3s0".to_owned(), index: 2, changes: changes.into() };
        let interface = |name: &str, index| Interface {
            name: name.to_owned(),
            index,
            mac: None,
            kind: Kind::Wired,
            up: true,
            carrier: true,
            addresses: vec![address.into(), "fe80::1/64".parse().expect("an address")],
            default_route: false,
            port_of: None,
        };
        let before = [interface("enp3s0", 2), interface("eth1", 3)];
        let put_back = Interface { up: false, addresses: vec![before[0].addresses[1]], ..before[0].clone() };
        for (named, network_manager, firewalld_zone) in
            [("enp3s0", true, Some(zone_before)), ("eth1", false, Some(Some("trusted".to_owned())))]
        {
            let mut interfaces = before.clone();
            let trusted = Some(Some("trusted".to_owned()));
            let mut integrations = Integrations { network_manager: false, firewalld_zone: trusted };
            leftover.put_back_in(&mut interfaces, named, &mut integrations);
            assert_eq!(interfaces, [put_back.clone(), before[1].clone()]);
            assert_eq!(integrations, Integrations { network_manager, firewalld_zone });
        }
        // Another card has the name now.
        let mut interfaces = [interface("enp3s0", 4)];
        leftover.put_back_in(&mut interfaces, "eth1", &mut Integrations::default());
        assert_eq!(interfaces, [interface("enp3s0", 4)]);
    }
}
