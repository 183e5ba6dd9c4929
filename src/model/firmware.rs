use std::fmt;

use serde::{Deserialize, Serialize};

/// How a machine's firmware boots from the network. It picks the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// Legacy BIOS PXE: a real-mode boot program over TFTP.
    Bios,
    /// UEFI PXE: an EFI application over TFTP.
    Uefi,
    /// UEFI HTTP Boot: an EFI application from a URL.
    UefiHttp,
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
            Self::UefiHttp => "UEFI HTTP",
        })
    }
}

/// Who on a machine is talking to us. The same network card speaks with five voices between power-on and login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The firmware's own PXE or HTTP Boot client.
    Rom,
    /// iPXE, either ours or one built into the network card or the hypervisor.
    Ipxe,
    /// The distribution's installer.
    Installer,
    /// Anything else that wants an address, most often an installed operating system.
    Os,
}
