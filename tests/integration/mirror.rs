//! The caching mirror against an upstream that misbehaves on command, and under real clients.

mod archive;
mod bench;
mod clients;
mod dnf;
mod failover;
mod faults;
mod known;
mod semantics;
mod sharing;
mod upstream;
mod wire;
