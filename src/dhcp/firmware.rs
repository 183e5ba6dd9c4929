//! The firmware table: what each code of option 93 means, and how we know.

use crate::model::{
    Arch::{self, Aarch64, Riscv64, X86_64},
    Firmware::{self, Bios, Uefi, UefiHttp},
};

/// One code of option 93, from IANA's "Processor Architecture Types" (RFC 4578 §2.1 with erratum 4624).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The code.
    pub code: u16,
    /// The kind of firmware that sends it.
    pub firmware: Firmware,
    /// Its instruction set.
    pub arch: Arch,
    /// How we know that machines which send it take our answer.
    pub evidence: Evidence,
}

/// How sure a [`Row`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Real firmware took our answer and asked for its boot file; its messages are among the test data
    /// (`golden/<name>-{discover,request}.hex`).
    Captured(&'static str),
    /// Written from the registry and the sources of firmware; no packet was seen.
    Unverified,
}

use Evidence::{Captured, Unverified};

const fn row(code: u16, firmware: Firmware, arch: Arch, evidence: Evidence) -> Row {
    Row { code, firmware, arch, evidence }
}

/// Every kind of firmware that can be sent a loader. Others get an address only: 20 is BIOS HTTP, for which there is no
/// loader; 6 and 15 are 32-bit x86, 10 and 18 are 32-bit Arm, for which there is no [`Arch`].
pub const TABLE: [Row; 8] = [
    row(0, Bios, X86_64, Captured("ipxe-bios")),
    row(7, Uefi, X86_64, Captured("ovmf-pxe")),
    // EBC in the registry; old x64 firmware sends it because the RFC's text has 7 and 9 swapped.
    row(9, Uefi, X86_64, Unverified),
    row(11, Uefi, Aarch64, Unverified),
    row(16, UefiHttp, X86_64, Captured("ovmf-http")),
    row(19, UefiHttp, Aarch64, Unverified),
    row(27, Uefi, Riscv64, Unverified),
    row(28, UefiHttp, Riscv64, Unverified),
];

/// The first code of the client's list that is in the table.
pub fn first_known(codes: &[u16]) -> Option<Row> {
    codes.iter().find_map(|code| TABLE.into_iter().find(|row| row.code == *code))
}
