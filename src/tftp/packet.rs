//! The wire format: RFC 1350 §5, RFC 2347.

use std::{fmt, iter};

/// What a client may send, borrowed from its datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// RRQ.
    Read(ReadRequest<'a>),
    /// WRQ. What it would write does not matter: nothing is ever written.
    Write,
    /// DATA or OACK: what a server says to a reader, never a reader to a server.
    ServerOnly,
    /// ACK, with the block number as it is on the wire.
    Ack(u16),
    /// ERROR, the end of a transfer.
    Error {
        /// The wire code; unknown ones are possible.
        code: u16,
        /// The client's words, if any.
        message: String,
    },
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadRequest<'a> {
    /// The name, as sent.
    pub name: &'a [u8],
    /// Option names and values in the order sent, known or not.
    pub options: Vec<(&'a [u8], &'a [u8])>,
}

/// A datagram that is not TFTP; the text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

impl<'a> Packet<'a> {
    /// Reads any datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (opcode, body) = split_number(datagram).ok_or(Malformed("shorter than an opcode"))?;
        match opcode {
            1 => ReadRequest::parse(body).map(Self::Read),
            2 => Ok(Self::Write),
            3 | 6 => Ok(Self::ServerOnly),
            4 => split_number(body).map(|(block, _)| Self::Ack(block)).ok_or(Malformed("ACK without a block number")),
            5 => {
                // An ERROR ends a transfer even when the client was too short of space to say why.
                let (code, message) = split_number(body).unwrap_or_default();
                let message = strings(message).next().unwrap_or_default();
                Ok(Self::Error { code, message: String::from_utf8_lossy(message).into_owned() })
            }
            _ => Err(Malformed("unknown opcode")),
        }
    }
}

impl<'a> ReadRequest<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut strings = strings(body);
        let (Some(name), Some(mode)) = (strings.next(), strings.next()) else {
            return Err(Malformed("request without a mode"));
        };
        // Firmware that asks for netascii wants the file as it is: it is sent as octet, as every boot server does.
        if !mode.eq_ignore_ascii_case(b"octet") && !mode.eq_ignore_ascii_case(b"netascii") {
            return Err(Malformed("mode is neither octet nor netascii"));
        }
        // QUIRK: some ROMs pad their requests with NULs. They read as an empty option name, and nothing comes after it.
        let options = iter::from_fn(|| {
            let name = strings.next().filter(|name| !name.is_empty())?;
            Some((name, strings.next()?))
        });
        let options = options.collect();
        Ok(Self { name, options })
    }
}

fn split_number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u16::from_be_bytes(*number), rest))
}

/// The NUL-terminated strings of a body, then an empty one. The last terminator may be missing.
fn strings(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|&byte| byte == 0)
}

/// The ERROR codes that a read-only server has a use for (RFC 1350, appendix I).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum ErrorCode {
    /// See the message.
    NotDefined = 0,
    NotFound = 1,
    AccessViolation = 2,
    IllegalOperation = 4,
    UnknownTransfer = 5,
}

/// Bytes of an ERROR message, at most: a screenful for the operator, and always one small datagram.
const MESSAGE: usize = 200;

/// An ERROR packet. Of a long message the beginning is sent.
pub(super) fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let message = &message[..message.floor_char_boundary(MESSAGE)];
    let mut datagram = vec![0, 5];
    datagram.extend((code as u16).to_be_bytes());
    datagram.extend(message.bytes().map(|byte| if byte == 0 { b' ' } else { byte }));
    datagram.push(0);
    datagram
}

/// An OACK packet: each option that is granted, in the order it was asked.
pub(super) fn option_ack<N: fmt::Display>(granted: &[(N, u64)]) -> Vec<u8> {
    let words = granted.iter().map(|(name, value)| format!("{name}\0{value}\0"));
    [0, 6].into_iter().chain(words.flat_map(String::into_bytes)).collect()
}

/// Writes a DATA packet into `datagram`, in place of what was there.
pub(super) fn data(datagram: &mut Vec<u8>, block: u16, payload: &[u8]) {
    datagram.clear();
    datagram.extend([0, 3]);
    datagram.extend(block.to_be_bytes());
    datagram.extend(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(name: &'a [u8], options: &[(&'a [u8], &'a [u8])]) -> Result<Packet<'a>, Malformed> {
        Ok(Packet::Read(ReadRequest { name, options: options.to_vec() }))
    }

    #[test]
    fn requests_as_clients_write_them() {
        for (datagram, packet) in [
            (&b"\0\x01a\0octet\0"[..], read(b"a", &[])),
            (b"\0\x01a\0OcTeT\0", read(b"a", &[])),
            (b"\0\x01a\0netascii\0", read(b"a", &[])),
            (b"\0\x01a\0octet", read(b"a", &[])),
            (b"\0\x01\xff\0octet\0", read(b"\xff", &[])),
            // edk2's probe, in its order.
            (b"\0\x01a\0octet\0tsize\x000\0blksize\x001468\0", read(b"a", &[(b"tsize", b"0"), (b"blksize", b"1468")])),
            (b"\0\x01a\0octet\0TSize\x000", read(b"a", &[(b"TSize", b"0")])),
            (b"\0\x01a\0octet\0tsize\0\0x\0y\0", read(b"a", &[(b"tsize", b""), (b"x", b"y")])),
            (b"\0\x01a\0octet\0x\0y\0\0\0\0\0", read(b"a", &[(b"x", b"y")])),
            (b"\0\x01a\0octet\0x", read(b"a", &[])),
            (b"\0\x01a\0mail\0", Err(Malformed("mode is neither octet nor netascii"))),
            (b"\0\x01a\0", Err(Malformed("mode is neither octet nor netascii"))),
            (b"\0\x01a", Err(Malformed("request without a mode"))),
            (b"\0\x01", Err(Malformed("request without a mode"))),
        ] {
            assert_eq!(Packet::parse(datagram), packet, "{}", datagram.escape_ascii());
        }
    }

    #[test]
    fn everything_else_that_may_arrive() {
        let aborted = Packet::Error { code: 8, message: "User aborted the transfer".into() };
        for (datagram, packet) in [
            (&b"\0\x02a\0octet\0"[..], Ok(Packet::Write)),
            (b"\0\x03\0\x01payload", Ok(Packet::ServerOnly)),
            (b"\0\x06blksize\x008\0", Ok(Packet::ServerOnly)),
            (b"\0\x04\x12\x34", Ok(Packet::Ack(0x1234))),
            (b"\0\x04\x12\x34padding", Ok(Packet::Ack(0x1234))),
            (b"\0\x04\x12", Err(Malformed("ACK without a block number"))),
            (b"\0\x05\0\x08User aborted the transfer\0", Ok(aborted.clone())),
            (b"\0\x05\0\x08User aborted the transfer", Ok(aborted)),
            (b"\0\x05\0\x08\xff", Ok(Packet::Error { code: 8, message: "\u{fffd}".into() })),
            (b"\0\x05", Ok(Packet::Error { code: 0, message: String::new() })),
            (b"\0\x07", Err(Malformed("unknown opcode"))),
            (b"\x01\0", Err(Malformed("unknown opcode"))),
            (b"\0", Err(Malformed("shorter than an opcode"))),
            (b"", Err(Malformed("shorter than an opcode"))),
        ] {
            assert_eq!(Packet::parse(datagram), packet, "{}", datagram.escape_ascii());
        }
    }

    #[test]
    fn what_we_write() {
        assert_eq!(error(ErrorCode::NotFound, "file not found"), b"\0\x05\0\x01file not found\0");
        assert_eq!(error(ErrorCode::UnknownTransfer, "a\0b"), b"\0\x05\0\x05a b\0");
        assert_eq!(error(ErrorCode::NotDefined, &"ä".repeat(300)).len(), 4 + MESSAGE + 1);
        assert_eq!(option_ack(&[("tsize", 7), ("blksize", 1468)]), b"\0\x06tsize\x007\0blksize\x001468\0");
        let mut datagram = b"what was there before".to_vec();
        data(&mut datagram, 0x1234, b"new");
        assert_eq!(datagram, b"\0\x03\x12\x34new");
    }

    proptest! {
        #[test]
        fn no_datagram_panics(opcode in 0u8..8, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let datagram = [vec![0, opcode], body].concat();
            let _ = Packet::parse(&datagram);
            let _ = Packet::parse(&datagram[1..]);
        }
    }
}
