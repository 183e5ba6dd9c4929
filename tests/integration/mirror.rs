//! The caching mirror against an upstream that misbehaves on command, and under real clients.

mod bench;
mod clients;
mod faults;
mod semantics;
mod sharing;
mod upstream;
