use std::net::Ipv4Addr;

use rtnetlink::{Handle, packet_route::neighbour::NeighbourState};
use tokio_util::task::AbortOnDropHandle;

use crate::{model::Mac, net::Place};

/// This machine's neighbour (ARP) table for one interface.
///
/// A client that has no address yet cannot answer ARP. An entry made beforehand lets an ordinary socket send to it; the
/// alternative is a raw socket.
pub(super) struct Neighbours {
    handle: Handle,
    interface: u32,
    _connection: AbortOnDropHandle<()>,
}

impl Neighbours {
    /// Connects to the kernel inside `place`. Must be called within a runtime.
    pub(super) fn open(place: &Place, interface: u32) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = place.run(|| {
            let _runtime = runtime.enter();
            rtnetlink::new_connection()
        })?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Self { handle, interface, _connection: connection })
    }

    /// Says that `address` is at `mac`. The kernel forgets it by itself, unlike a permanent entry.
    pub(super) async fn set(&self, address: Ipv4Addr, mac: Mac) -> Result<(), rtnetlink::Error> {
        self.handle
            .neighbours()
            .add(self.interface, address.into())
            .link_layer_address(&mac.0)
            .state(NeighbourState::Reachable)
            .replace()
            .execute()
            .await
    }
}
