//! The HTTP server on the provisioning network: boot files, answers, callbacks, mirror. `routes` is the whole table.
//!
//! It speaks HTTP/1 the way boot loaders read it: header names in title case, exact lengths, no redirects.

mod routes;
mod server;

pub use server::{Config, Server, bind};

use std::{net::IpAddr, path::PathBuf};

use crate::model::Mac;

/// What the HTTP server asks the rest of the house.
pub trait Desk: Send + Sync + 'static {
    /// A boot file by its name below the server's root. `read` is false for a mere look at it (`HEAD`).
    fn boot_file(&self, client: IpAddr, name: &str, read: bool) -> Option<Content>;
    /// A file of a machine's answers.
    fn answers(&self, mac: Mac, token: &str, file: &str) -> Option<String>;
    /// Whether a callback was from that machine and understood. `detail` is its body: what failed, in the installer's words.
    fn callback(&self, mac: Mac, token: &str, name: &str, detail: &str) -> bool;
}

/// What is behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A script, made for who asked.
    Text(String),
    /// A verified file of the cache.
    File(PathBuf),
}
