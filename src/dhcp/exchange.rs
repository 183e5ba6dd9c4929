//! One message from arrival to reply, without sockets and clock.

use std::{fmt, net::Ipv4Addr, sync::Arc, time::Duration};

use super::{
    Config, Desk, Granted,
    lease::{Leases, Refusal},
    packet::{self, Malformed, Packet},
    reply::{Answer, Boot, Reply, compose},
    request::{BootNeed, LeaseNeed, NotForUs, Request, classify},
};
use crate::{
    model::{BootPlan, BootRequest, BootSpec, Mac, Reason},
    plan::Network,
};

/// The whole conversation of a server without its sockets and clock: bytes in, [`Outcome`] out.
pub struct Exchange {
    network: Network,
    leases: Leases,
    desk: Arc<dyn Desk>,
}

/// What came of one message.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The client, when the message could be read so far.
    pub mac: Option<Mac>,
    /// What to send.
    pub reply: Option<Reply>,
    /// What to tell the desk once the reply is sent.
    pub granted: Option<Granted>,
    /// What to log.
    pub note: Option<Note>,
}

/// Why a message got no answer, or not the one that a machine asking to boot hopes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is no DHCP message.
    Malformed(Malformed),
    /// It is not for us.
    NotForUs(NotForUs),
    /// The desk does not serve this machine.
    NotServed,
    /// The machine shall not boot.
    NotBooted(Reason),
    /// There is no row for this firmware: an address only.
    UnknownFirmware(Vec<u16>),
    /// The decision has no boot file: an address only.
    NoBootFile(BootSpec),
    /// No address for it; no answer.
    NoAddress(Refusal),
    /// It was told not to use an address.
    Nak(Refusal),
    /// It found this address in use.
    Declined(Ipv4Addr),
    /// It gave this address back.
    Released(Ipv4Addr),
    /// It declined or gave back an address that it does not have.
    NotItsAddress(Ipv4Addr),
}

impl Note {
    /// Whether the operator should see it without asking for details.
    pub fn is_loud(&self) -> bool {
        match self {
            Self::NotForUs(NotForUs::OtherServer(_))
            | Self::NotBooted(_)
            | Self::UnknownFirmware(_)
            | Self::NoBootFile(_)
            | Self::NoAddress(_)
            | Self::Declined(_) => true,
            Self::Malformed(_)
            | Self::NotForUs(_)
            | Self::NotServed
            | Self::Nak(_)
            | Self::Released(_)
            | Self::NotItsAddress(_) => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "ignored: {why}"),
            Self::NotForUs(NotForUs::OtherServer(server)) => write!(
                f,
                "another DHCP server, {server}, answers on this link: machines may boot from it instead; unplug it, or use \
                 a link of its own"
            ),
            Self::NotForUs(why) => write!(f, "ignored: {why}"),
            Self::NotServed => f.write_str("ignored: it is not the machine that --mac names"),
            Self::NotBooted(why) => write!(f, "not booted: {why}"),
            Self::UnknownFirmware(codes) => {
                write!(f, "given an address only: no loader is known for firmware of type {codes:?} (option 93)")
            }
            Self::NoBootFile(spec) => {
                write!(f, "given an address only: there is no boot file for {} on {}", spec.firmware, spec.arch)
            }
            Self::NoAddress(why) => write!(f, "not answered: {why}"),
            Self::Nak(why) => write!(f, "refused the address it asked for: {why}"),
            Self::Declined(address) => write!(f, "says that somebody else on this link uses {address}"),
            Self::Released(address) => write!(f, "gave {address} back"),
            Self::NotItsAddress(address) => write!(f, "ignored: {address} is not its address"),
        }
    }
}

impl Exchange {
    /// A server that has heard of nobody but those it was told of.
    pub fn new(config: &Config, desk: Arc<dyn Desk>) -> Self {
        let mut leases = Leases::new(&config.network, config.reservation);
        for &(mac, address) in &config.known {
            if let Err(why) = leases.claim(mac, address, Duration::ZERO) {
                tracing::debug!("{mac} does not keep {address}: {why}");
            }
        }
        Self { network: config.network.clone(), leases, desk }
    }

    /// Handles one message. `now` is a time since any fixed moment.
    pub fn answer(&mut self, bytes: &[u8], now: Duration) -> Outcome {
        let packet = match packet::decode(bytes) {
            Ok(packet) => packet,
            Err(why) => return Outcome { note: Some(Note::Malformed(why)), ..Outcome::default() },
        };
        let outcome = match self.desk.serves(packet.mac) {
            true => classify(&packet, &self.network)
                .map_err(Note::NotForUs)
                .and_then(|request| self.serve(&packet, &request, now)),
            false => Err(Note::NotServed),
        };
        let outcome = outcome.unwrap_or_else(|note| Outcome { note: Some(note), ..Outcome::default() });
        Outcome { mac: Some(packet.mac), ..outcome }
    }

    /// An error is why there is no reply.
    fn serve(&mut self, packet: &Packet, request: &Request, now: Duration) -> Result<Outcome, Note> {
        match request.lease {
            LeaseNeed::Offer(wants) => self.offer(packet, request, wants, now),
            LeaseNeed::Select(address) | LeaseNeed::Reboot(address) | LeaseNeed::Extend(address) => {
                self.acknowledge(packet, request, address, now)
            }
            LeaseNeed::Inform(_) => {
                Ok(Outcome { reply: Some(compose(packet, &self.network, &Answer::Inform)), ..Outcome::default() })
            }
            LeaseNeed::Decline(address) => Err(match self.leases.decline(request.mac, address, now) {
                true => Note::Declined(address),
                false => Note::NotItsAddress(address),
            }),
            LeaseNeed::Release(address) => Err(match self.leases.release(request.mac, address, now) {
                true => Note::Released(address),
                false => Note::NotItsAddress(address),
            }),
        }
    }

    fn offer(
        &mut self,
        packet: &Packet,
        request: &Request,
        wants: Option<Ipv4Addr>,
        now: Duration,
    ) -> Result<Outcome, Note> {
        let decision = self.decide(request)?;
        let address = self.leases.offer(request.mac, wants, now).map_err(Note::NoAddress)?;
        let reply = compose(packet, &self.network, &Answer::Offer(address, decision.boot(request)));
        Ok(Outcome { reply: Some(reply), note: decision.note, ..Outcome::default() })
    }

    fn acknowledge(
        &mut self,
        packet: &Packet,
        request: &Request,
        address: Ipv4Addr,
        now: Duration,
    ) -> Result<Outcome, Note> {
        let decision = self.decide(request)?;
        if let Err(why) = self.leases.claim(request.mac, address, now) {
            let reply = compose(packet, &self.network, &Answer::Nak);
            return Ok(Outcome { reply: Some(reply), note: Some(Note::Nak(why)), ..Outcome::default() });
        }
        let reply = compose(packet, &self.network, &Answer::Ack(address, decision.boot(request)));
        let granted = Granted {
            mac: request.mac,
            address,
            stage: request.stage,
            hostname: packet.hostname.clone(),
            boot: decision.made,
        };
        Ok(Outcome { reply: Some(reply), granted: Some(granted), note: decision.note, ..Outcome::default() })
    }

    /// Asks the desk. An error is why the machine gets no answer at all.
    fn decide(&self, request: &Request) -> Result<Decision, Note> {
        let asked = match &request.boot {
            BootNeed::None => return Ok(Decision::default()),
            BootNeed::Unknown(codes) => {
                return Ok(Decision { note: Some(Note::UnknownFirmware(codes.clone())), ..Decision::default() });
            }
            BootNeed::Boot(asked) => asked,
        };
        let plan = self.desk.decide(asked);
        let spec = match &plan {
            BootPlan::Ignore(why) => return Err(Note::NotBooted(*why)),
            BootPlan::LocalDisk(spec) | BootPlan::Install(spec) => *spec,
        };
        let file = self.desk.boot_file(&spec, request.mac);
        let note = file.is_none().then_some(Note::NoBootFile(spec));
        Ok(Decision { made: Some((asked.clone(), plan)), file, note })
    }
}

/// What the desk said about one request.
#[derive(Default)]
struct Decision {
    made: Option<(BootRequest, BootPlan)>,
    file: Option<String>,
    note: Option<Note>,
}

impl Decision {
    fn boot(&self, request: &Request) -> Option<Boot<'_>> {
        self.file.as_deref().map(|file| Boot { stage: request.stage, file })
    }
}

#[cfg(test)]
mod tests;
