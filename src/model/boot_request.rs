use super::{Arch, Firmware, Mac, Stage, SystemUuid};

/// Observed: a machine asks to boot. Nothing of DHCP is left in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRequest {
    /// The network card that asks.
    pub mac: Mac,
    /// The machine that the card is in, from option 97, when the firmware sends one.
    pub uuid: Option<SystemUuid>,
    /// The kind of firmware, from option 93.
    pub firmware: Firmware,
    /// The instruction set, from option 93.
    pub arch: Arch,
    /// [`Stage::Rom`] or [`Stage::Ipxe`].
    pub stage: Stage,
}
