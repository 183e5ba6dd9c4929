//! What is changed on this host, and how it is put back.
//!
//! ```text
//! recover ─▶ probe::interfaces ─▶ needed ─▶ (describe) ─▶ apply ─▶ … ─▶ Applied::revert
//! ```
//!
//! [`needed`] is pure: it lists what is not yet as it must be. [`apply`] writes each change into a record *before* making
//! it, so that a run that was killed can be undone by the next one ([`recover`]), whichever interface that one is for.
//! [`Applied`] reverts in reverse order, also when it is dropped.
//!
//! The record is one file of JSON lines, locked while its writer lives. The kernel releases the lock whatever the end of
//! the process, so a lock says "still running" with certainty, where a process number may have been given to another. It is
//! not fsynced: the page cache survives a kill, and after a crash of the whole machine there is nothing left to undo.

mod applied;
mod change;
mod changer;
mod integrations;
mod record;
mod recovery;
mod tools;

pub use applied::{Applied, apply};
pub use change::{Change, needed};
pub use integrations::Integrations;
pub use recovery::{Leftover, Records, Recovered, leftovers, recover};
pub use tools::Tools;
