use std::net::Ipv4Addr;

use super::Mac;

/// Declared: the machine that `--mac`, `--ip` and `--hostname` describe. "Host" is always a target; the laptop is "local".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Serve only this network card; `None` serves every machine on the link.
    pub mac: Option<Mac>,
    /// The address reserved for it.
    pub address: Option<Ipv4Addr>,
    /// The name it gets (`host` or `host.domain`).
    pub hostname: Option<String>,
}
