use std::collections::BTreeMap;

use super::{Mac, Machine, SystemUuid};

/// Observed: what is known of the machine that asks with a network card. A machine may have several cards, and firmware asks
/// with whichever it likes: what was done by one of them holds for all.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its UUID: as it says itself now, or else as it last said with this card.
    pub uuid: Option<SystemUuid>,
    /// By this card.
    pub machine: Option<Machine>,
    /// By the other cards of the same UUID.
    pub others: Vec<Machine>,
}

impl Known {
    /// Picks it from all `machines`.
    pub fn among(machines: &BTreeMap<Mac, Machine>, mac: Mac, uuid: Option<SystemUuid>) -> Self {
        let machine = machines.get(&mac).cloned();
        let uuid = uuid.or_else(|| machine.as_ref()?.uuid);
        let others = uuid.filter(|uuid| uuid.is_unique()).map(|uuid| {
            machines.values().filter(|other| other.mac != mac && other.uuid == Some(uuid)).cloned().collect()
        });
        Self { uuid, machine, others: others.unwrap_or_default() }
    }
}
