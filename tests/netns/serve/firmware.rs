//! A machine's firmware as DHCP sees it, synthesized: the messages of edk2's `PxeBcDhcp4.c` and of iPXE's `dhcp.c`, asking
//! for less than they do.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use provisioner::model::Mac;
use socket2::{Domain, Protocol, Socket, Type};

use crate::guard::Lan;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// Who on a machine asks.
#[derive(Clone, Copy)]
pub enum Voice {
    /// UEFI x64, from its own PXE client.
    Uefi,
    /// A BIOS, from the ROM of its network card.
    Bios,
    /// iPXE, loaded by that ROM.
    Ipxe,
}

impl Voice {
    fn options(self) -> Vec<(u8, &'static [u8])> {
        let parameters: (u8, &[u8]) = (55, &[1, 3, 6, 43, 54, 60, 66, 67, 97]);
        match self {
            Self::Uefi => vec![parameters, (93, &[0, 7]), (94, &[1, 3, 0]), (60, b"PXEClient:Arch:00007:UNDI:003000")],
            Self::Bios => vec![parameters, (93, &[0, 0]), (94, &[1, 2, 1]), (60, b"PXEClient:Arch:00000:UNDI:002001")],
            Self::Ipxe => vec![
                parameters,
                (93, &[0, 0]),
                (94, &[1, 2, 1]),
                (60, b"PXEClient:Arch:00000:UNDI:002001"),
                (77, b"iPXE"),
                (175, &[177, 5, 1, 0x1a, 0xf4, 0x10, 0]),
            ],
        }
    }
}

/// A network card at the client's end of the cable.
pub struct Card {
    socket: UdpSocket,
    mac: Mac,
    /// Of the machine that it is in, as its SMBIOS has it.
    uuid: Option<[u8; 16]>,
    /// Of the last message.
    xid: Cell<u32>,
}

/// What a server told.
#[derive(Debug)]
pub struct Told {
    pub address: Ipv4Addr,
    /// `siaddr`
    pub next_server: Ipv4Addr,
    /// The field `file`.
    pub file: String,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Told {
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    pub fn text(&self, code: u8) -> &str {
        self.option(code).and_then(|value| str::from_utf8(value).ok()).unwrap_or_default()
    }
}

impl Card {
    /// A card with this address.
    pub fn plug(lan: &Lan, mac: Mac) -> Self {
        let socket = lan.client_place().run(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind_device(Some(Lan::CLIENT_END.as_bytes()))?;
            socket.set_broadcast(true)?;
            socket.set_reuse_address(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
            Ok(socket.into())
        });
        Self { socket: socket.expect("a free port"), mac, uuid: None, xid: Cell::new(0) }
    }

    /// In a machine that has a UUID.
    pub fn in_machine(self, uuid: [u8; 16]) -> Self {
        Self { uuid: Some(uuid), ..self }
    }

    /// Asks for an address and a boot file, and takes what is offered first.
    pub fn asks_to_boot(&self, voice: Voice) -> Told {
        self.discovers(voice);
        let offer = self.hears(OFFER);
        let server = offer.option(54).expect("a server identifier").to_vec();
        self.sends(REQUEST, voice, &[(50, &offer.address.octets()), (54, &server)]);
        let ack = self.hears(ACK);
        assert_eq!((ack.address, ack.option(54)), (offer.address, Some(&server[..])));
        ack
    }

    /// Asks, and does not wait for the answer.
    pub fn discovers(&self, voice: Voice) {
        self.sends(DISCOVER, voice, &[]);
    }

    /// Asks until there is an offer, as firmware does, and tells whose comes first, whatever others are told meanwhile.
    pub fn is_offered(&self, voice: Voice) -> Vec<u8> {
        self.socket.set_read_timeout(Some(Duration::from_secs(4))).expect("a socket");
        let mut buffer = [0; 1500];
        for _ in 0..8 {
            self.discovers(voice);
            while let Ok(length) = self.socket.recv(&mut buffer) {
                if buffer[28..34] == self.mac.0 {
                    return options(&buffer[240..length]).remove(&54).expect("a server identifier");
                }
            }
        }
        panic!("nobody makes an offer")
    }

    /// Takes an offer that another server made.
    pub fn takes_offer_of(&self, server: [u8; 4]) {
        self.sends(REQUEST, Voice::Uefi, &[(50, &[10, 9, 8, 7]), (54, &server)]);
    }

    /// Option 97, as edk2's `NetLibGetSystemGuid` and iPXE's `smbios_settings.c` make it.
    fn machine_id(&self, voice: Voice) -> Vec<u8> {
        let id = self.uuid.map(|mut uuid| {
            if matches!(voice, Voice::Ipxe) {
                [0..4, 4..6, 6..8].into_iter().for_each(|field| uuid[field].reverse());
            }
            [&[0][..], &uuid].concat()
        });
        id.unwrap_or_default()
    }

    fn sends(&self, kind: u8, voice: Voice, more: &[(u8, &[u8])]) {
        let machine_id = self.machine_id(voice);
        let machine_id = Some((97, &machine_id[..])).filter(|(_, id)| !id.is_empty());
        let options = voice.options().into_iter().chain(machine_id);
        self.xid.set(self.xid.get() + 1);
        let mut message = vec![0; 240];
        message[..4].copy_from_slice(&[1, 1, 6, 0]);
        message[4..8].copy_from_slice(&self.xid.get().to_be_bytes());
        message[10] = 0x80; // To everybody: the card has no address yet.
        message[28..34].copy_from_slice(&self.mac.0);
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        for (code, value) in [(53, &[kind][..])].into_iter().chain(more.iter().copied()).chain(options) {
            message.extend([code, value.len() as u8]);
            message.extend(value);
        }
        message.push(255);
        self.socket.send_to(&message, (Ipv4Addr::BROADCAST, 67)).expect("a link");
    }

    /// The very next message on the link, which must be this one, and for this card.
    fn hears(&self, kind: u8) -> Told {
        let mut buffer = [0; 1500];
        let length = self.socket.recv(&mut buffer).expect("an answer");
        let message = &buffer[..length];
        assert_eq!((message[0], &message[28..34]), (2, &self.mac.0[..]), "a reply to this card");
        assert_eq!(message[4..8], self.xid.get().to_be_bytes(), "a reply to the last message");
        let address = |at: usize| Ipv4Addr::from([message[at], message[at + 1], message[at + 2], message[at + 3]]);
        let file = message[108..236].split(|byte| *byte == 0).next().unwrap_or_default();
        let file = String::from_utf8(file.to_vec()).expect("text");
        let told = Told { address: address(16), next_server: address(20), file, options: options(&message[240..]) };
        assert_eq!(told.option(53), Some(&[kind][..]), "{told:?}");
        told
    }
}

fn options(mut rest: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut options = BTreeMap::new();
    while let [code, after @ ..] = rest {
        rest = match code {
            0 => after,
            255 => break,
            _ => {
                let (value, next) = after[1..].split_at(after[0].into());
                options.insert(*code, value.to_vec());
                next
            }
        };
    }
    options
}
