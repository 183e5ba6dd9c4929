use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections that one client may hold at a time. dnf holds twenty at most, everything else fewer; this is for a dozen of them
/// behind one address, and leaves three quarters of all connections to the others.
const MOST: usize = 256;

/// Who holds how many connections, so that none holds them all.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders(Arc<Mutex<HashMap<IpAddr, Holder>>>);

#[derive(Debug, Default)]
struct Holder {
    connections: usize,
    told: bool,
}

/// A connection that a client holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    holders: Holders,
    client: IpAddr,
}

impl Holders {
    /// One more for this client, if it may.
    pub fn admit(&self, client: IpAddr) -> Option<Held> {
        let mut holders = self.holders();
        let holder = holders.entry(client).or_default();
        if holder.connections == MOST {
            if !holder.told {
                tracing::warn!("{client} holds {MOST} HTTP connections: further ones are closed");
                holder.told = true;
            }
            return None;
        }
        holder.connections += 1;
        Some(Held { holders: self.clone(), client })
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<IpAddr, Holder>> {
        // Every change is of one number: a panic elsewhere leaves nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.holders.holders();
        if let Some(holder) = holders.get_mut(&self.client) {
            holder.connections -= 1;
            if holder.connections == 0 {
                holders.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_holds_so_many_whatever_others_hold_and_nothing_is_remembered_of_who_left() {
        let (holders, [one, other]) = (Holders::default(), [1, 2].map(|last| IpAddr::from([192, 0, 2, last])));
        let mut held: Vec<_> = (0..MOST).map(|_| holders.admit(one).expect("not so many yet")).collect();
        assert!(holders.admit(one).is_none() && holders.admit(one).is_none());
        let others = holders.admit(other).expect("its first");
        held.pop();
        held.push(holders.admit(one).expect("one was dropped"));
        assert!(holders.admit(one).is_none());
        drop((held, others));
        assert!(holders.holders().is_empty());
    }
}
