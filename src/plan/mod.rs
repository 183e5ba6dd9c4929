//! From what was asked ([`Settings`]: flags and environment) to what will be done ([`Plan`]).
//!
//! [`check()`] looks at everything that needs no network and reports every contradiction at once; the [`Draft`] it returns
//! becomes a [`Plan`] as soon as the release is known. If you hold a [`Plan`], it can run: no field means "default", no name
//! in it is unresolved.

mod check;
mod network;
mod password;
mod problem;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub use check::{Draft, Local, check};
pub use network::Network;
pub use password::hash_password;
pub use problem::Problems;
pub use settings::Settings;

use std::path::PathBuf;

use crate::{
    distro::{AnswerContext, Release},
    model::{Bytes, Endpoints, Host, InstallRecipe, Mac, Trust},
};

/// Everything one run may do, validated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the ethernet interface that targets are plugged into.
    pub interface: String,
    /// The provisioning network: addresses and name servers.
    pub network: Network,
    /// TCP port of the HTTP server.
    pub http_port: u16,
    /// Directory of everything kept: boot files, mirror, journal.
    pub prefix: PathBuf,
    /// Most that the mirror may keep below it; `None` is no limit.
    pub cache_size: Option<Bytes>,
    /// What machines did, one event a line.
    pub journal: PathBuf,
    /// What is installed, and where it comes from.
    pub release: Release,
    /// The machine that is served; without a MAC, any on the link.
    pub host: Host,
    /// The answers to the installer's questions.
    pub recipe: InstallRecipe,
    /// Own arguments for the installer's kernel, kept for the installed system too.
    pub kernel_args: Vec<String>,
    /// Own answer file, in place of ours.
    pub own_answers: Option<String>,
    /// Own lines that follow ours in the answer file.
    pub append_answers: Option<String>,
    /// What has to vouch for boot files; `None` takes the strictest that the distribution has.
    pub trust: Option<Trust>,
    /// Keys trusted for the mirror's metadata besides the embedded ones: contents of OpenPGP key files.
    pub extra_keys: Vec<Vec<u8>>,
    /// Never ask upstream; serve only what the prefix holds.
    pub offline: bool,
}

impl Plan {
    /// Where targets reach us.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints { server: self.network.router, http_port: self.http_port }
    }

    /// What the answers of one machine depend on, given the addresses that only it is told.
    pub fn answer_context<'a>(&'a self, mac: Mac, answers_url: &'a str, callback_url: &'a str) -> AnswerContext<'a> {
        AnswerContext {
            release: &self.release,
            recipe: &self.recipe,
            host: &self.host,
            mac: Some(mac),
            endpoints: self.endpoints(),
            answers_url,
            callback_url,
            kernel_args: &self.kernel_args,
            outdated: self.offline,
            handoff_code: None,
            own: self.own_answers.as_deref(),
            append: self.append_answers.as_deref().unwrap_or_default(),
        }
    }
}
