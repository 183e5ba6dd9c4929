use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{Journal, Writer};
use crate::model::{Event, EventKind, Known, Mac, Machine, SystemUuid};

/// How many events a slow viewer may lag behind before it misses some.
const BACKLOG: usize = 1024;

/// All machines, shared by the servers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: broadcast::Sender<Event>,
}

#[derive(Debug)]
struct State {
    machines: BTreeMap<Mac, Machine>,
    journal: Option<Writer>,
}

impl Registry {
    /// Rebuilds every machine from the journal and goes on writing it. What was recorded is on the disk when the last clone is
    /// dropped, or when [`Registry::settled`] says so.
    pub fn open(journal: &Path) -> anyhow::Result<Self> {
        let (journal, events) = Journal::open(journal)?;
        let mut machines = BTreeMap::new();
        events.iter().for_each(|event| fold(&mut machines, event));
        machines.values_mut().for_each(Machine::begin_run);
        Ok(Self::with(State { machines, journal: Some(Writer::start(journal)?) }))
    }

    /// A registry that forgets: for tests and for what must not touch the disk.
    pub fn in_memory() -> Self {
        Self::with(State { machines: BTreeMap::new(), journal: None })
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), news: broadcast::channel(BACKLOG).0 }))
    }

    /// Records what a machine did, now.
    pub fn record(&self, mac: Mac, kind: EventKind) {
        let event = Event { at: Timestamp::now(), mac, kind };
        let mut state = self.state();
        fold(&mut state.machines, &event);
        if let Some(journal) = &state.journal {
            journal.append(event.clone());
        }
        // Sent under the lock, so that every viewer sees the order of the journal. No receiver is no error.
        let _ = self.0.news.send(event);
    }

    /// Records what a machine did, unless that is what it last did: firmware asks for a file's size first and then for the
    /// file, installers ask twice for their answers.
    pub fn record_change(&self, mac: Mac, kind: EventKind) {
        let again = self.machine(mac).is_some_and(|machine| machine.last.as_ref() == Some(&kind));
        if !again {
            self.record(mac, kind);
        }
    }

    /// Has `task` done on the journal's thread, when everything recorded so far is on the disk: whoever writes a file that follows
    /// from what machines do must not keep them waiting for the disk. [`Registry::settled`] waits for it.
    pub fn afterwards(&self, task: impl FnOnce() + Send + 'static) {
        let state = self.state();
        if let Some(journal) = &state.journal {
            return journal.then(task);
        }
        drop(state);
        task();
    }

    /// Returns when everything recorded so far is on the disk. A machine that said `installed` restarts as soon as it is
    /// answered: were that lost with this host's power, it would be installed again.
    pub async fn settled(&self) {
        let mark = self.state().journal.as_ref().map(Writer::mark);
        if let Some(mark) = mark {
            // An error means that the writer is gone, which it has said itself.
            let _ = mark.await;
        }
    }

    /// What is known of one machine.
    pub fn machine(&self, mac: Mac) -> Option<Machine> {
        self.state().machines.get(&mac).cloned()
    }

    /// What is known of the machine that asks with this card and, if it says one, this UUID.
    pub fn known(&self, mac: Mac, uuid: Option<SystemUuid>) -> Known {
        Known::among(&self.state().machines, mac, uuid)
    }

    /// The machine that was last given an address; the one heard of last, if several were.
    pub fn machine_at(&self, address: Ipv4Addr) -> Option<Machine> {
        let state = self.state();
        let here = state.machines.values().filter(|machine| machine.address == Some(address));
        here.max_by_key(|machine| machine.last_seen).cloned()
    }

    /// Every machine, by MAC.
    pub fn machines(&self) -> Vec<Machine> {
        self.state().machines.values().cloned().collect()
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.news.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while holding the lock cannot leave a half-folded machine that matters more than the others.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fold(machines: &mut BTreeMap<Mac, Machine>, event: &Event) {
    machines.entry(event.mac).or_insert_with(|| Machine::new(event.mac, event.at)).apply(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_settled_is_on_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let registry = Registry::open(&path).expect("a registry");
        for count in 1..=20 {
            registry.record(Mac([2, 0, 0, 0, 0, 7]), EventKind::Packages { count, bytes: 0, unverified: 0 });
        }
        registry.settled().await;
        let (_, events) = Journal::open(&path).expect("the journal");
        let counts: Vec<_> = events
            .iter()
            .map(|event| match event.kind {
                EventKind::Packages { count, .. } => count,
                _ => 0,
            })
            .collect();
        assert_eq!(counts, (1..=20).collect::<Vec<_>>());
    }

    #[test]
    fn a_restart_remembers_what_was_installed_and_who_has_which_address() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let (mac, address) = (Mac([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(192, 168, 42, 100));
        {
            let registry = Registry::open(&path).expect("a registry");
            let mut news = registry.subscribe();
            registry.record(mac, EventKind::Leased { address });
            registry.record(mac, EventKind::Installed);
            assert_eq!(news.try_recv().map(|event| event.kind), Ok(EventKind::Leased { address }));
        }
        let registry = Registry::open(&path).expect("the registry again");
        assert!(registry.machine(mac).is_some_and(|machine| machine.is_installed()));
        assert_eq!(registry.machine_at(address).map(|machine| machine.mac), Some(mac));
        assert_eq!(registry.machine_at(Ipv4Addr::LOCALHOST), None);
    }
}
