//! The program itself, from its start to its end: real clients at the other end of a cable, a small signed archive behind it.

#[path = "../fixtures/archive.rs"]
mod archive;
#[path = "../fixtures/rpm_tree.rs"]
mod rpm_tree;

mod archive_faults;
mod client;
mod dnf;
mod ending;
mod firmware;
mod handoff;
mod host_faults;
mod house;
mod link;
mod output;
mod program;
mod renewal;
mod story;
mod sudo;
mod two_cards;
