//! Whose link this is. Two DHCP servers on a link confuse every machine there, and on a company's network ours would erase the
//! ones that boot from it: so we speak only where nobody else does, and find that out anew whenever it may have changed.
//!
//! A carrier is not yet a link. The port of a managed switch passes nothing for twice the forward delay of its spanning tree
//! (IEEE 802.1D: 2 × 15 s) after it came up, and other ports for longer: silence then means nothing. To wait for that long would
//! be wrong on a cable that goes straight to a machine: its carrier comes and goes with every stage of its boot, and firmware
//! asks for 28 s only (edk2 after 0, 4, 12 and 28 s). But a port that hides another server from us hides its machines, too. So
//! the silence is counted from the moment that a machine is heard, whenever that is, and its question waits until then.

use std::{convert::Infallible, net::Ipv4Addr, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{
    dhcp::{Gate, Heard, Probe},
    model::{Hinted, Mac},
    net::{
        Place,
        probe::{self, Interface},
    },
};

/// How long another DHCP server may take to give itself away. dnsmasq, which most routers run, first looks for three seconds
/// whether anybody has the address (its `PING_WAIT`), ISC dhcpd for one; and one question may be lost.
const RIVAL_PATIENCE: Duration = Duration::from_secs(6);

/// How often it is asked meanwhile.
const ASK: Duration = Duration::from_secs(2);

/// How often it is asked at other times: links are joined with no carrier lost, by a cable between two switches.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long two cards may take to agree on a speed after ours has been brought up (1000BASE-T: two to four seconds).
const CARRIER_PATIENCE: Duration = Duration::from_secs(6);

/// How often it is looked whether there is a carrier.
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
        timeout(CARRIER_PATIENCE, self.until_carrier(true)).await.is_ok()
    }

    /// Looks for another DHCP server, which is an error, as it is when we cannot know. That none answers now is no leave to
    /// speak yet: what is given goes on listening, for [`Link::keep`].
    pub async fn refuse_rival(&self) -> anyhow::Result<Probe> {
        let ear = self.listen()?;
        self.hears_no_rival(&ear).await?;
        Ok(ear)
    }

    /// SECURITY: keeps the server's gate for the whole run: open only while this link is known to be ours alone. `ear` has
    /// listened since the link was looked at. What the operator must know is told line by line.
    pub async fn keep(
        self,
        mut ear: Option<Probe>,
        gate: watch::Sender<Gate>,
        tell: mpsc::UnboundedSender<String>,
    ) -> Infallible {
        let mut refused = false;
        loop {
            let came = !self.has_carrier();
            self.until_carrier(true).await;
            // What was heard before the carrier was lost says nothing of this link.
            let ear = ear.take().filter(|_| !came);
            let why = match ear.map_or_else(|| self.listen(), Ok) {
                Ok(ear) => {
                    gate.send_replace(Gate::Held);
                    if came {
                        tracing::info!("{} has a carrier", self.name);
                    }
                    if std::mem::take(&mut refused) {
                        let silent = format!("no other DHCP server answers on {} any more", self.name);
                        tell_all(&tell, [format!("{silent}: machines are answered again")]);
                    }
                    tokio::select! {
                        () = self.until_carrier(false) => None,
                        refused = self.admit(&ear, &gate) => refused.err(),
                    }
                }
                Err(error) => Some(error),
            };
            gate.send_replace(Gate::Shut);
            match why {
                Some(error) if self.has_carrier() => {
                    tracing::error!("no machine is answered: {error:#}");
                    tell_all(&tell, refusal_lines(&error));
                    self.until_silent().await;
                    refused = true;
                }
                _ => tracing::info!("{} has no carrier", self.name),
            }
        }
    }

    /// Opens the gate once a machine has asked and nobody else answers, until somebody does.
    async fn admit(&self, ear: &Probe, gate: &watch::Sender<Gate>) -> anyhow::Result<Infallible> {
        if let Heard::Server(rival) = ear.until(ASK_AGAIN, Some).await? {
            return Err(self.refusal(rival));
        }
        tracing::info!("a machine asks on {}: it is answered unless another DHCP server is heard", self.name);
        self.hears_no_rival(ear).await?;
        gate.send_replace(Gate::Open);
        Err(self.refusal(ear.until(ASK_AGAIN, Heard::server).await?))
    }

    async fn hears_no_rival(&self, ear: &Probe) -> anyhow::Result<()> {
        match timeout(RIVAL_PATIENCE, ear.until(ASK, Heard::server)).await {
            Ok(rival) => Err(self.refusal(rival?)),
            Err(_) => Ok(()),
        }
    }

    /// Until another server, or what kept us from looking for it, is gone.
    async fn until_silent(&self) {
        loop {
            self.until_carrier(true).await;
            match self.refuse_rival().await {
                Ok(_) if self.has_carrier() => return,
                // Unplugged meanwhile: it may have been silent for that.
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!("still no machine is answered: {error:#}");
                    sleep(ASK).await;
                }
            }
        }
    }

    fn listen(&self) -> anyhow::Result<Probe> {
        let mac = self.mac.with_context(|| format!("{} has no hardware address to ask from", self.name))?;
        Probe::open(&self.place, &self.name, mac, self.address)
    }

    fn refusal(&self, rival: Ipv4Addr) -> anyhow::Error {
        Hinted::new(
            format!("{rival} already is the DHCP server on {}: this is not a link of its own", self.name),
            "connect the machines by a cable or a switch that nothing else is on, or stop that server",
        )
        .into()
    }

    async fn until_carrier(&self, is_there: bool) {
        while self.has_carrier() != is_there {
            sleep(PAUSE).await;
        }
    }

    fn has_carrier(&self) -> bool {
        probe::has_carrier(&self.place, &self.name)
    }
}

/// What happened and what next, for the operator.
fn refusal_lines(error: &anyhow::Error) -> Vec<String> {
    let what = format!("no machine is answered from now on: {error:#}");
    let next = error.downcast_ref::<Hinted>().map(|Hinted { hint, .. }| format!("{hint}; it then goes on by itself"));
    [what].into_iter().chain(next).collect()
}

fn tell_all(tell: &mpsc::UnboundedSender<String>, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        // When nobody listens the run ends.
        let _ = tell.send(line);
    }
}
