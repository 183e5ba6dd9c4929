use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::flight::Outcome;
use crate::model::Sha256Digest;

/// Files that are fetched at the same time. Fifty targets of which each wants two files that no other one wants have them at
/// once. It bounds what nobody has to wait for any more: a client that hangs up ends no fetch, and each costs a connection to
/// upstream and a part in the store.
const FETCHES: usize = 128;

/// What a flight brings: a file, and, where that is known, which one and by whose word. A file that changes while it is fetched
/// is two flights, and so is one that two ledgers have to learn from.
pub(super) type Name = (String, Option<(Sha256Digest, u64)>);

/// Where a flight's outcome will be told. Its end closes the channel, after it left the list.
pub(super) type Awaited = watch::Receiver<Option<Outcome>>;

/// The flights that are under way.
#[derive(Clone)]
pub(super) struct UnderWay {
    list: Arc<Mutex<HashMap<Name, Awaited>>>,
    turns: Arc<Semaphore>,
    /// Told of each that is off the list.
    ended: Arc<Notify>,
}

/// A flight's place in the list. Dropped, it is off: also if its task panics or its runtime ends.
pub(super) struct Listing {
    under_way: UnderWay,
    name: Option<Name>,
}

impl UnderWay {
    /// None, and room for as many fetches as there may be.
    pub fn none() -> Self {
        Self { list: Arc::default(), turns: Arc::new(Semaphore::new(FETCHES)), ended: Arc::default() }
    }

    /// The flight of this name, started if there is none.
    pub fn join(&self, name: Name, start: impl FnOnce(watch::Sender<Option<Outcome>>, Listing)) -> Awaited {
        let mut list = self.list();
        if let Some(flight) = list.get(&name) {
            return flight.clone();
        }
        let (announce, outcome) = watch::channel(None);
        list.insert(name.clone(), outcome.clone());
        // It may be dropped right here, which takes it off the list.
        drop(list);
        start(announce, Listing { under_way: self.clone(), name: Some(name) });
        outcome
    }

    /// The flight of this name, if there is one.
    pub fn get(&self, name: &Name) -> Option<Awaited> {
        self.list().get(name).cloned()
    }

    /// Waits until there is none. It wants none of them: who waits for its turn is still struck if nobody else does.
    pub async fn landed(&self) {
        loop {
            // Before the look, so that no end is missed in between.
            let ended = self.ended.notified();
            if self.list().is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<Name, Awaited>> {
        // Every change is a single insertion or removal: a panic elsewhere leaves nothing half-done.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listing {
    /// Waits until the flight may fetch, which it may until what this returns is dropped.
    ///
    /// `None`: it had to wait, and by its turn nobody waited for it any more. It is off the list. Without that, a client that asks
    /// for every package of an archive and hangs up would have everybody wait for all of them.
    pub async fn turn(&mut self, announce: &watch::Sender<Option<Outcome>>) -> Option<OwnedSemaphorePermit> {
        let turns = &self.under_way.turns;
        if let Ok(turn) = Arc::clone(turns).try_acquire_owned() {
            return Some(turn);
        }
        let turn = Arc::clone(turns).acquire_owned().await.expect("turns are never closed");
        // Whoever joins does so under this lock. The list itself holds one end.
        let mut list = self.under_way.list();
        if announce.receiver_count() > 1 {
            return Some(turn);
        }
        list.remove(&self.name.take()?);
        self.under_way.ended.notify_waiters();
        None
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.under_way.list().remove(&name);
            self.under_way.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn start(under_way: &UnderWay, name: &str) -> (Awaited, watch::Sender<Option<Outcome>>, Listing) {
        let mut started = None;
        let name = (name.to_owned(), None);
        let awaited = under_way.join(name, |announce, listing| started = Some((announce, listing)));
        let (announce, listing) = started.expect("there was none");
        (awaited, announce, listing)
    }

    #[tokio::test]
    async fn who_waited_in_vain_is_off_the_list_and_who_is_wanted_has_its_turn() {
        let under_way = UnderWay { turns: Arc::new(Semaphore::new(1)), ..UnderWay::none() };
        // A client that hangs up before the fetch begins does not end it, where nothing has to be waited for.
        let (hung_up, announce, mut first) = start(&under_way, "first");
        drop(hung_up);
        let turn = first.turn(&announce).await.expect("there is room");

        let (hung_up, announce, mut in_vain) = start(&under_way, "in vain");
        let (_waiting, wanted_announce, mut wanted) = start(&under_way, "wanted");
        let mut in_vain_turn = Box::pin(in_vain.turn(&announce));
        let mut wanted_turn = Box::pin(wanted.turn(&wanted_announce));
        assert!((&mut in_vain_turn).now_or_never().is_none() && (&mut wanted_turn).now_or_never().is_none());
        drop((hung_up, turn, first));
        assert!(in_vain_turn.await.is_none());
        let _turn = wanted_turn.await.expect("its turn");

        // The next of that name is another one, which the end of the former leaves alone.
        let (_waiting, _announce, _listing) = start(&under_way, "in vain");
        drop(in_vain);
        let names = |name: &str| under_way.get(&(name.to_owned(), None)).is_some();
        assert_eq!(["first", "in vain", "wanted"].map(names), [false, true, true]);
    }
}
