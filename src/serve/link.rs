use std::{net::Ipv4Addr, time::Duration};

use anyhow::Context;

use crate::{
    dhcp,
    model::{Hinted, Mac},
    net::{
        Place,
        probe::{self, Interface},
    },
};

/// How long another DHCP server may take to give itself away. dnsmasq, which most routers run, first looks for three seconds
/// whether anybody has the address (its `PING_WAIT`), ISC dhcpd for one.
const RIVAL_PATIENCE: Duration = Duration::from_secs(5);

/// How long two cards may take to agree on a speed after ours has been brought up (1000BASE-T: two to four seconds).
const CARRIER_PATIENCE: Duration = Duration::from_secs(6);

/// How often it is looked whether there is a link.
const PAUSE: Duration = Duration::from_millis(250);

/// The link that the machines are on.
pub struct Link {
    place: Place,
    name: String,
    mac: Option<Mac>,
    /// Of our own server.
    address: Ipv4Addr,
}

impl Link {
    pub fn new(place: &Place, interface: &Interface, address: Ipv4Addr) -> Self {
        Self { place: place.clone(), name: interface.name.clone(), mac: interface.mac, address }
    }

    /// Whether something is at the other end. `raised`: we have just brought our end up, and it may take its time.
    pub async fn is_there(&self, raised: bool, say: &(dyn Fn(&str) + Sync)) -> bool {
        if self.has_carrier() || !raised {
            return self.has_carrier();
        }
        say(&format!("waiting for a link on {}", self.name));
        tokio::time::timeout(CARRIER_PATIENCE, self.until_carrier()).await.is_ok()
    }

    /// SECURITY: two DHCP servers on a link confuse every machine there, and on a company's network ours would erase the ones
    /// that boot from it. So the link must be silent before we speak.
    pub async fn refuse_rival(&self) -> anyhow::Result<()> {
        let mac = self.mac.with_context(|| format!("{} has no hardware address to ask from", self.name))?;
        match dhcp::other_server(&self.place, &self.name, mac, self.address, RIVAL_PATIENCE).await? {
            None => Ok(()),
            Some(rival) => Err(Hinted::new(
                format!("{rival} already is the DHCP server on {}: this is not a link of its own", self.name),
                "connect the machines by a cable or a switch that nothing else is on, or stop that server",
            )
            .into()),
        }
    }

    /// Waits until a cable is plugged in with no other DHCP server behind it, or until that one is gone.
    pub async fn until_silent(&self) {
        let mut told = false;
        loop {
            self.until_carrier().await;
            match self.refuse_rival().await {
                Ok(()) if self.has_carrier() => return,
                // Unplugged meanwhile: it may have been silent for that.
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!("no machine is answered yet: {error:#}");
                    }
                    tokio::time::sleep(RIVAL_PATIENCE).await;
                }
            }
        }
    }

    async fn until_carrier(&self) {
        while !self.has_carrier() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn has_carrier(&self) -> bool {
        probe::has_carrier(&self.place, &self.name)
    }
}
