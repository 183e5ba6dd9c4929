//! The HTTP server on the provisioning network: boot files, answers, callbacks, mirror. `routes` is the whole table.
//!
//! It speaks HTTP/1 the way boot loaders read it: header names in title case, exact lengths, no redirects.

mod holders;
mod reply;
mod routes;
mod server;

pub use server::{Config, Server, bind};

use std::{net::IpAddr, path::PathBuf};

use futures_util::future::BoxFuture;

use crate::model::Mac;

/// What the HTTP server asks the rest of the house.
pub trait Desk: Send + Sync + 'static {
    /// A boot file by its name below the server's root. `read` is false for a mere look at it (`HEAD`).
    fn boot_file(&self, client: IpAddr, name: &str, read: bool) -> Option<Content>;
    /// A file of a machine's answers.
    fn answers(&self, mac: Mac, token: &str, file: &str) -> Option<Content>;
    /// Takes a report of a machine. Its body is what failed, in the installer's words, or what the name stands for.
    fn callback(&self, mac: Mac, token: &str, name: &str, body: &str) -> Heard;
    /// Returns when what was reported will outlive this host's end. Nothing is answered before.
    fn settled(&self) -> BoxFuture<'_, ()>;
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was from that machine, and understood.
    Taken,
    /// It was not from that machine, or there is no such callback.
    Unknown,
    /// Its body is not what it should be.
    Malformed,
}

/// What is behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A script, made for who asked.
    Text(String),
    /// A file: a verified one of the cache, or the operator's own code.
    File(PathBuf),
}
