use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ParseError;

/// The instruction set of a machine, in the kernel's own spelling (`uname -m`). It picks the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86 (`amd64` in Debian's spelling).
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm (`arm64` in Debian's spelling).
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        })
    }
}

impl FromStr for Arch {
    type Err = ParseError;

    /// Accepts the kernel's and Debian's spellings.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            "riscv64" => Ok(Self::Riscv64),
            _ => Err(ParseError::new(text, "an architecture such as x86_64 or aarch64")),
        }
    }
}
