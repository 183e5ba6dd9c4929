//! What each server asks, answered by the one [`Desk`]. The servers do not know each other.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;

use super::{
    callback::Unheard,
    desk::{Desk, Opened},
};
use crate::{
    boot::Carrier,
    dhcp, http,
    model::{BootPlan, BootRequest, BootSpec, Mac},
    tftp,
};

impl dhcp::Desk for Desk {
    fn serves(&self, mac: Mac) -> bool {
        Self::serves(self, mac)
    }

    fn decide(&self, request: &BootRequest) -> BootPlan {
        Self::decide(self, request)
    }

    fn boot_file(&self, spec: &BootSpec, _mac: Mac) -> Option<String> {
        self.first_file(spec)
    }

    fn leased(&self, lease: &dhcp::Granted) {
        let boot = lease.boot.as_ref().map(|(request, plan)| (request, plan));
        Self::leased(self, lease.mac, lease.address, lease.stage, boot);
    }
}

/// The desk as TFTP sees it.
pub struct TftpFiles(pub Arc<Desk>);

impl tftp::Files for TftpFiles {
    async fn open(&self, client: IpAddr, name: &str) -> Result<tftp::Content, tftp::OpenError> {
        match self.0.open(client, name, Carrier::Tftp, true) {
            Ok(Some(Opened::Script(script))) => Ok(tftp::Content::Bytes(script.into())),
            Ok(Some(Opened::File(verified))) => match std::fs::File::open(&verified.path) {
                Ok(file) => Ok(tftp::Content::File { file, size: verified.size }),
                Err(error) => Err(tftp::OpenError::Failed(error.to_string())),
            },
            Ok(None) => Err(tftp::OpenError::NotFound),
            Err(error) => {
                tracing::error!("making {name} for {client}: {error:#}");
                Err(tftp::OpenError::Failed("see the provisioner's log".to_owned()))
            }
        }
    }
}

impl http::Desk for Desk {
    fn boot_file(&self, client: IpAddr, name: &str, read: bool) -> Option<http::Content> {
        match self.open(client, name, Carrier::Http, read) {
            Ok(opened) => opened.map(|opened| match opened {
                Opened::Script(script) => http::Content::Text(script),
                Opened::File(file) => http::Content::File(file.path),
            }),
            Err(error) => {
                tracing::error!("making {name} for {client}: {error:#}");
                None
            }
        }
    }

    fn answers(&self, mac: Mac, token: &str, file: &str) -> Option<http::Content> {
        if let Some(code) = self.handoff_code(mac, token, file) {
            return Some(http::Content::File(code));
        }
        let answers = self.answer_file(mac, token, file).unwrap_or_else(|error| {
            tracing::error!("making the answers of {mac}: {error:#}");
            None
        });
        answers.map(http::Content::Text)
    }

    fn callback(&self, mac: Mac, token: &str, name: &str, body: &str) -> http::Heard {
        match Self::callback(self, mac, token, name, body) {
            Ok(()) => http::Heard::Taken,
            Err(Unheard::Unknown) => http::Heard::Unknown,
            Err(Unheard::Malformed(why)) => {
                tracing::warn!("{mac} called back {name}, which is refused: {why}");
                http::Heard::Malformed
            }
        }
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.registry().settled())
    }
}
