//! What machines did: the [`Registry`] that all servers share, and the journal that outlives a restart.
//!
//! Servers only *record*; viewers (the terminal, a rehearsal) *subscribe* or read a snapshot. Nobody holds a machine.

mod journal;
mod registry;
mod writer;

use journal::Journal;
pub use registry::Registry;
use writer::Writer;
