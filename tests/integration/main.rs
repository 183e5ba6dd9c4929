//! Tests that need no privilege: loopback, temporary folders, real clients on high ports.

mod answers;
mod fetch;
mod mirror;
mod tftp;
