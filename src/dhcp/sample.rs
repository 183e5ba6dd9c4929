//! Messages for tests, synthesized: what the named client sends as far as its documentation and source say. Messages that
//! were captured from real firmware are in `golden/*.hex`.

use std::net::Ipv4Addr;

use crate::{model::Mac, plan::Network};

pub(super) const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
pub(super) const DISCOVER: u8 = 1;
pub(super) const REQUEST: u8 = 3;
pub(super) const DECLINE: u8 = 4;
pub(super) const RELEASE: u8 = 7;
pub(super) const INFORM: u8 = 8;

pub(super) fn network() -> Network {
    Network {
        subnet: "192.168.42.0/24".parse().expect("a network"),
        router: SERVER,
        dns: vec![Ipv4Addr::new(192, 168, 42, 1), Ipv4Addr::new(9, 9, 9, 9)],
    }
}

/// A client's message under construction.
#[derive(Clone)]
pub(super) struct Sample(Vec<u8>);

impl Sample {
    pub(super) fn new(kind: u8) -> Self {
        let mut bytes = vec![0; 240];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        bytes[28..34].copy_from_slice(&MAC.0);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        Self(bytes).option(53, &[kind])
    }

    pub(super) fn option(mut self, code: u8, value: &[u8]) -> Self {
        self.0.extend([code, value.len() as u8]);
        self.0.extend(value);
        self
    }

    pub(super) fn set(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn mac(self, mac: Mac) -> Self {
        self.set(28, &mac.0)
    }

    pub(super) fn broadcast(self) -> Self {
        self.set(10, &[0x80, 0])
    }

    pub(super) fn ciaddr(self, address: Ipv4Addr) -> Self {
        self.set(12, &address.octets())
    }

    pub(super) fn giaddr(self, address: Ipv4Addr) -> Self {
        self.set(24, &address.octets())
    }

    pub(super) fn wants(self, address: Ipv4Addr) -> Self {
        self.option(50, &address.octets())
    }

    pub(super) fn server(self, address: Ipv4Addr) -> Self {
        self.option(54, &address.octets())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.push(255);
        bytes
    }
}

/// edk2's `PxeBcDhcp4.c`, asking for less than it does.
pub(super) fn ovmf_pxe(kind: u8) -> Sample {
    firmware(kind, 7, "PXEClient:Arch:00007:UNDI:003000").broadcast()
}

/// edk2's `HttpBootDhcp4.c`, asking for less than it does.
pub(super) fn ovmf_http(kind: u8) -> Sample {
    firmware(kind, 16, "HTTPClient:Arch:00016:UNDI:003000").broadcast()
}

/// An Intel boot agent of the PXE 2.1 time.
pub(super) fn bios_pxe(kind: u8) -> Sample {
    firmware(kind, 0, "PXEClient:Arch:00000:UNDI:002001").broadcast()
}

/// Code 20 of option 93: a BIOS that boots by HTTP.
pub(super) fn bios_http(kind: u8) -> Sample {
    firmware(kind, 20, "HTTPClient:Arch:00020:UNDI:003001").broadcast()
}

fn firmware(kind: u8, arch: u16, class: &str) -> Sample {
    Sample::new(kind)
        .option(57, &1472_u16.to_be_bytes())
        .option(55, &[1, 3, 6, 43, 54, 60, 66, 67, 97])
        .option(97, &machine_id())
        .option(94, &[1, 3, 0])
        .option(93, &arch.to_be_bytes())
        .option(60, class.as_bytes())
}

pub(super) fn machine_id() -> [u8; 17] {
    std::array::from_fn(|at| at as u8)
}

/// iPXE's `dhcp.c`, built for EFI: a raw user class, its own options in 175.
pub(super) fn ipxe(kind: u8) -> Sample {
    Sample::new(kind)
        .option(57, &1472_u16.to_be_bytes())
        .option(93, &7_u16.to_be_bytes())
        .option(94, &[1, 3, 10])
        .option(60, b"PXEClient:Arch:00007:UNDI:003010")
        .option(77, b"iPXE")
        .option(55, &[1, 3, 6, 7, 12, 15, 17, 43, 60, 66, 67, 119, 128, 175, 203])
        .option(175, &[177, 5, 1, 0x1a, 0xf4, 0x10, 0, 36, 1, 1, 19, 1, 1])
        .option(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        .option(97, &machine_id())
}

/// debian-installer's udhcpc, as netcfg starts it.
pub(super) fn debian_installer(kind: u8) -> Sample {
    Sample::new(kind)
        .option(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        .option(55, &[1, 3, 6, 12, 15, 28, 42, 66, 67])
        .option(57, &576_u16.to_be_bytes())
        .option(60, b"d-i")
        .option(12, b"debian")
}

/// [`ovmf_pxe`] through a relay that adds option 82.
pub(super) fn relayed(kind: u8) -> Sample {
    ovmf_pxe(kind).giaddr(Ipv4Addr::new(192, 168, 42, 254)).option(82, b"\x01\x04port\x02\x02ab")
}
