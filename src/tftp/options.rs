//! What was asked → what is granted (RFC 2347 and the options of 2348, 2349, 7440).
//!
//! Only what was asked is acknowledged: edk2 aborts on an option that it did not ask for, on a larger block or window
//! than it asked for, and on another timeout (`Mtftp4Rrq.c`). An option that is unknown, or whose value makes no sense, is
//! left out of the answer, which is how RFC 2347 says no.

use std::{fmt, time::Duration};

/// Bytes of a block when nothing was negotiated (RFC 1350 §2).
const BLOCK: usize = 512;

/// IP (20), UDP (8) and TFTP (4) headers: what a block may not use of the interface's MTU, lest it be fragmented. Many
/// ROMs cannot put fragments together.
const HEADERS: usize = 32;

/// The largest block of RFC 2348.
const LARGEST_BLOCK: usize = 65464;

/// The largest window granted. More gains nothing on a local network and overruns the buffers of small network cards.
const LARGEST_WINDOW: u64 = 64;

/// The options that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// RFC 2348.
    BlockSize,
    /// RFC 2349.
    TransferSize,
    /// RFC 2349.
    Timeout,
    /// RFC 7440.
    WindowSize,
}

impl Name {
    fn parse(name: &[u8]) -> Option<Self> {
        let known = [Self::BlockSize, Self::TransferSize, Self::Timeout, Self::WindowSize];
        known.into_iter().find(|option| option.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::BlockSize => "blksize",
            Self::TransferSize => "tsize",
            Self::Timeout => "timeout",
            Self::WindowSize => "windowsize",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An option that a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    name: Name,
    /// `None` if it is no number.
    value: Option<u64>,
}

impl Asked {
    /// The options of a request that this server knows, in its order.
    pub fn parse(options: &[(&[u8], &[u8])]) -> Vec<Self> {
        let known = |&(name, value): &(&[u8], &[u8])| {
            let value = str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
            Name::parse(name).map(|name| Self { name, value })
        };
        options.iter().filter_map(known).collect()
    }
}

/// How one transfer will go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// Bytes of every block but the last.
    pub block_size: usize,
    /// Blocks sent before an acknowledgment is due.
    pub window: u64,
    /// The retransmission timeout that the client wants; ours adapts otherwise.
    pub timeout: Option<Duration>,
    /// What the OACK says. Empty means that there is none.
    pub granted: Vec<(Name, u64)>,
}

impl Terms {
    /// The terms for a file of `size` bytes on an interface that carries packets of `mtu` bytes.
    pub fn negotiate(asked: &[Asked], size: u64, mtu: usize) -> Self {
        let mut terms = Self { block_size: BLOCK, window: 1, timeout: None, granted: Vec::new() };
        for &Asked { name, value } in asked {
            // An option may only be asked once (RFC 2347); the first one counts.
            if terms.granted.iter().all(|(granted, _)| *granted != name) {
                let granted = terms.grant(name, value, size, mtu);
                terms.granted.extend(granted.map(|value| (name, value)));
            }
        }
        terms
    }

    fn grant(&mut self, name: Name, asked: Option<u64>, size: u64, mtu: usize) -> Option<u64> {
        match name {
            // Whatever the value: the client wants to know (it should say 0, and not all do).
            Name::TransferSize => Some(size),
            Name::BlockSize => {
                let limit = mtu.saturating_sub(HEADERS).clamp(BLOCK, LARGEST_BLOCK) as u64;
                let granted = asked.filter(|&asked| asked >= 8)?.min(limit);
                self.block_size = granted as usize;
                Some(granted)
            }
            Name::WindowSize => {
                self.window = asked.filter(|&asked| asked >= 1)?.min(LARGEST_WINDOW);
                Some(self.window)
            }
            Name::Timeout => {
                let seconds = asked.filter(|asked| (1..=255).contains(asked))?;
                self.timeout = Some(Duration::from_secs(seconds));
                Some(seconds)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terms = Terms { block_size: 512, window: 1, timeout: None, granted: Vec::new() };

    fn negotiate(asked: &[(&str, &str)], mtu: usize) -> Terms {
        let asked: Vec<_> = asked.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        Terms::negotiate(&Asked::parse(&asked), 1000, mtu)
    }

    #[test]
    fn each_option_within_its_bounds() {
        use Name::*;
        for (name, value, granted) in [
            ("blksize", "1428", Some((BlockSize, 1428))),
            ("BLKSIZE", "1428", Some((BlockSize, 1428))),
            ("blksize", " 512 ", Some((BlockSize, 512))),
            ("blksize", "8", Some((BlockSize, 8))),
            ("blksize", "7", None),
            ("blksize", "1469", Some((BlockSize, 1468))),
            ("blksize", "65464", Some((BlockSize, 1468))),
            ("blksize", "99999999999", Some((BlockSize, 1468))),
            ("blksize", "99999999999999999999999", None),
            ("blksize", "-1", None),
            ("blksize", "", None),
            ("tsize", "0", Some((TransferSize, 1000))),
            ("tsize", "4096", Some((TransferSize, 1000))),
            ("tSize", "", Some((TransferSize, 1000))),
            ("windowsize", "4", Some((WindowSize, 4))),
            ("windowsize", "65535", Some((WindowSize, 64))),
            ("windowsize", "0", None),
            ("timeout", "5", Some((Timeout, 5))),
            ("timeout", "255", Some((Timeout, 255))),
            ("timeout", "256", None),
            ("timeout", "0", None),
            ("rollover", "0", None),
            ("multicast", "", None),
            ("", "", None),
        ] {
            let terms = negotiate(&[(name, value)], 1500);
            assert_eq!(terms.granted, Vec::from_iter(granted), "{name}={value}");
            if granted.is_none() {
                assert_eq!(terms, PLAIN, "{name}={value}");
            }
        }
    }

    #[test]
    fn granted_options_are_used_and_keep_their_order() {
        let asked =
            [("windowsize", "4"), ("tsize", "0"), ("x", "y"), ("timeout", "3"), ("blksize", "1024"), ("blksize", "8")];
        let granted =
            vec![(Name::WindowSize, 4), (Name::TransferSize, 1000), (Name::Timeout, 3), (Name::BlockSize, 1024)];
        let terms = Terms { block_size: 1024, window: 4, timeout: Some(Duration::from_secs(3)), granted };
        assert_eq!(negotiate(&asked, 1500), terms);
    }

    #[test]
    fn the_largest_block_follows_the_interface() {
        for (mtu, block_size) in [(1500, 1468), (9000, 8968), (65536, 65464), (1_000_000, 65464), (0, 512)] {
            assert_eq!(negotiate(&[("blksize", "65464")], mtu).block_size, block_size, "{mtu}");
        }
    }
}
