//! The caching mirror against an upstream that misbehaves on command, and under real clients.

pub mod apt;
mod archive;
pub mod bench;
mod bodies;
mod chance;
mod clients;
mod crowd;
mod directory;
mod dnf;
mod failover;
mod faults;
mod faulty;
mod growing;
mod host;
mod keeping;
mod killed;
mod known;
mod learning;
mod matrix;
mod semantics;
mod sharing;
mod suites;
mod upstream;
mod wire;
