use std::net::{Ipv4Addr, SocketAddrV4};

/// Where targets reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// Our address on the provisioning network; DHCP server identifier, TFTP and HTTP server.
    pub server: Ipv4Addr,
    /// TCP port of the HTTP server.
    pub http_port: u16,
}

impl Endpoints {
    /// The HTTP server's socket address.
    pub fn http(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, self.http_port)
    }

    /// `http://server:port` + `path`, which starts with `/`. Always an IP literal: firmware has no reason to resolve names.
    pub fn url(self, path: &str) -> String {
        debug_assert!(path.starts_with('/'), "{path}");
        format!("http://{}{path}", self.http())
    }
}
