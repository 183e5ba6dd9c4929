//! A read-only TFTP server: how firmware, shim and GRUB load the small files of a boot.
//!
//! RFC 1350 with the option extensions 2347, 2348 (blksize), 2349 (tsize, timeout) and 7440 (windowsize). The names asked
//! for never become paths: whoever implements [`Files`] resolves them.
//!
//! | file | is | touches |
//! |---|---|---|
//! | `packet` | datagram ⇄ packet, a total parser | nothing |
//! | `name` | what a client calls a file, made canonical | nothing |
//! | `options` | what was asked → what is granted | nothing |
//! | `rto` | how long to wait for an acknowledgment | nothing |
//! | `transfer` | one transfer as a state machine: event → what to send | nothing |
//! | `admission` | what a new request does to the transfer that its port already has | nothing |
//! | `source` | the bytes of a file, block by block | disk |
//! | `session` | drives one transfer over its own socket | socket, clock |
//! | `socket` | makes sockets in the right namespace, on the right interface | socket |
//! | `server` | the listening socket, a task per request | socket, clock |

mod admission;
mod files;
mod name;
mod options;
mod packet;
mod rto;
mod server;
mod session;
mod socket;
mod source;
mod transfer;

pub use files::{Content, Files, OpenError};
pub use server::{Config, Server, bind};
