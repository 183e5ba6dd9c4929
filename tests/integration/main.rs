//! Tests that need no privilege: loopback, temporary folders, real clients on high ports.

mod answers;
mod cache;
mod cli;
mod fetch;
mod http;
mod kickstart;
mod mirror;
mod mounts;
mod prefetch;
mod rpm_tree;
mod templates;
mod tftp;
