use super::{Arch, Firmware, Mac, Stage};

/// Observed: a machine asks to boot. Nothing of DHCP is left in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRequest {
    /// The network card that asks.
    pub mac: Mac,
    /// SMBIOS system UUID from option 97, when the firmware sends one.
    pub uuid: Option<[u8; 16]>,
    /// The kind of firmware, from option 93.
    pub firmware: Firmware,
    /// The instruction set, from option 93.
    pub arch: Arch,
    /// [`Stage::Rom`] or [`Stage::Ipxe`].
    pub stage: Stage,
}
