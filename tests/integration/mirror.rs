//! The caching mirror against an upstream that misbehaves on command, and under real clients.

mod archive;
pub mod bench;
mod clients;
mod directory;
mod dnf;
mod failover;
mod faults;
mod known;
mod semantics;
mod sharing;
mod upstream;
mod wire;
