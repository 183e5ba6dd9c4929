//! The caching mirror against an upstream that misbehaves on command, and under real clients.

mod apt;
mod archive;
mod bench;
mod chance;
mod clients;
mod crowd;
mod dnf;
mod failover;
mod faults;
mod faulty;
mod growing;
mod host;
mod killed;
mod known;
mod matrix;
mod semantics;
mod sharing;
mod upstream;
