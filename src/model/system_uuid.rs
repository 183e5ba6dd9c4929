use std::{fmt, str::FromStr};

use super::ParseError;

/// The UUID of a machine, whichever of its network cards asks: that of its SMBIOS (type 1), from option 97 (RFC 4578 §2.3).
///
/// Kept as it was sent. edk2 sends the bytes that SMBIOS has, whose first three fields are little-endian since SMBIOS 2.6; iPXE
/// sends those fields big-endian: two that differ in nothing but that are equal.
#[derive(Clone, Copy, Eq)]
pub struct SystemUuid(pub [u8; 16]);

/// What vendors have left in the boards of many machines, besides one byte repeated and a tail of ones. From the lists of those
/// whom that has hit: systemd (systemd#11137), FOG (its `HostManager`), CapaInstaller ("Non-Unique UUID").
const PLACEHOLDERS: [u128; 5] = [
    0x00020003_0004_0005_0006_000700080009,
    0x00010203_0405_0607_0809_0a0b0c0d0e0f,
    0x01020304_0506_0708_090a_0b0c0d0e0f10,
    0x07090201_0103_0301_0807_060504030201,
    0x12345678_1234_5678_90ab_cddeefaabbcc,
];

impl SystemUuid {
    /// Whether it tells one machine from another; false for what vendors put where a UUID should be.
    pub fn is_unique(self) -> bool {
        let [first, rest @ ..] = self.0;
        let repeats = rest.iter().all(|byte| *byte == first);
        // Several series of boards have four bytes of their own at most, the same in each.
        let unset = self.0[4..].iter().all(|byte| *byte == 0xff);
        !repeats && !unset && !PLACEHOLDERS.iter().any(|known| self == Self(known.to_be_bytes()))
    }

    /// The first three fields in the other byte order.
    fn swapped(mut self) -> Self {
        for field in [0..4, 4..6, 6..8] {
            self.0[field].reverse();
        }
        self
    }
}

impl PartialEq for SystemUuid {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0 == other.swapped().0
    }
}

impl fmt::Display for SystemUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", u128::from_be_bytes(self.0));
        let [low, mid, high, clock, node] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|field| &digits[field]);
        write!(f, "{low}-{mid}-{high}-{clock}-{node}")
    }
}

impl FromStr for SystemUuid {
    type Err = ParseError;

    /// 32 hexadecimal digits, with `-` between them or not.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(text, "a UUID such as 9f3c5a10-0c2e-4b71-8d6f-52540012ab34");
        let digits = text.replace('-', "");
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        u128::from_str_radix(&digits, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| error())
    }
}

as_text!(SystemUuid);

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> SystemUuid {
        text.parse().expect("a UUID")
    }

    #[test]
    fn one_machine_has_one_uuid_in_either_byte_order() {
        let (bios, uefi) = (uuid("00112233-4455-6677-8899-aabbccddeeff"), uuid("33221100-5544-7766-8899-aabbccddeeff"));
        assert_eq!((bios, uefi), (uefi, bios));
        assert_eq!(uefi.to_string(), "33221100-5544-7766-8899-aabbccddeeff", "kept as it was sent");
        for other in [
            "00112233-4455-6677-9988-aabbccddeeff",
            "33221100-4455-6677-8899-aabbccddeeff",
            "00112233-4455-6677-8899-aabbccddee00",
        ] {
            assert_ne!(bios, uuid(other));
        }
    }

    #[test]
    fn what_vendors_leave_in_many_boards_tells_no_machine() {
        for placeholder in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "fefefefe-fefe-fefe-fefe-fefefefefefe",
            "ffffff00-ffff-ffff-ffff-ffffffffffff",
            "56f49712-ffff-ffff-ffff-ffffffffffff",
            "00020003-0004-0005-0006-000700080009",
            "03000200-0400-0500-0006-000700080009",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "03020100-0504-0706-0809-0a0b0c0d0e0f",
            "12345678-1234-5678-90ab-cddeefaabbcc",
        ] {
            assert!(!uuid(placeholder).is_unique(), "{placeholder}");
        }
        for unique in [
            "9f3c5a10-0c2e-4b71-8d6f-52540012ab34",
            "4c4c4544-0051-3410-8051-b5c04f375931", // Dell: "LLED" and the service tag
            "00000000-0000-0000-0000-002590c7c000", // Supermicro: the MAC of its first card
        ] {
            assert!(uuid(unique).is_unique(), "{unique}");
        }
    }

    #[test]
    fn refuses_what_is_not_32_digits() {
        for text in ["", "9f3c5a10", "9f3c5a10-0c2e-4b71-8d6f-52540012ab3", "+f3c5a10-0c2e-4b71-8d6f-52540012ab34"] {
            assert!(text.parse::<SystemUuid>().is_err(), "{text}");
        }
    }
}
