use std::{net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use url::Url;

use crate::model::{Arch, Bytes, Disk, Layout, Mac, ParseError, PasswordHash, Trust};

/// What the operator asked for, each value already of its type but none yet checked against the others.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--interface`
    pub interface: Option<String>,
    /// `--network`
    pub network: Option<Ipv4Net>,
    /// `--router`: our address with the length of its network.
    pub router: Option<Ipv4Net>,
    /// `--dns`
    pub dns: Vec<Ipv4Addr>,
    /// `--http-port`
    pub http_port: Option<u16>,
    /// `--prefix`
    pub prefix: Option<PathBuf>,
    /// `--cache-size`
    pub cache_size: Option<Bytes>,
    /// `--distro`
    pub distro: Option<String>,
    /// `--version`
    pub version: Option<String>,
    /// `--arch`
    pub arch: Option<Arch>,
    /// `--flavour`
    pub flavour: Option<String>,
    /// `--mirror`: the address of a server, or of a directory (`file://`).
    pub mirror: Option<Url>,
    /// `--mac`
    pub mac: Option<Mac>,
    /// `--ip`
    pub ip: Option<Ipv4Addr>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// `--password`: a crypt hash, or why what was given is none.
    pub password: Option<Result<PasswordHash, ParseError>>,
    /// `--password-file`
    pub password_file: Option<PathBuf>,
    /// `--ssh-key`: a key, or a file of keys.
    pub ssh_keys: Vec<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--lock-root`
    pub lock_root: bool,
    /// `--lang`: the first is the system's own.
    pub languages: Vec<String>,
    /// `--keymap`
    pub keymap: Option<String>,
    /// `--timezone`
    pub timezone: Option<String>,
    /// `--ntp`
    pub time_servers: Vec<String>,
    /// `--luks`
    pub luks: bool,
    /// `--luks-passphrase-file`
    pub luks_passphrase_file: Option<PathBuf>,
    /// `--luks-tpm2`
    pub luks_tpm2: bool,
    /// `--handoff-exec`
    pub handoff_exec: Option<String>,
    /// `--handoff-code`
    pub handoff_code: Option<PathBuf>,
    /// `--packages`
    pub packages: Vec<String>,
    /// `--part`
    pub part: Option<Layout>,
    /// `--disk`
    pub disk: Option<Disk>,
    /// `--kernel-args`
    pub kernel_args: Vec<String>,
    /// `--answers`
    pub answers: Option<PathBuf>,
    /// `--append-answers`
    pub append_answers: Option<PathBuf>,
    /// `--templates`
    pub templates: Option<PathBuf>,
    /// `--trust`
    pub trust: Option<Trust>,
    /// `--keyring`
    pub keyrings: Vec<PathBuf>,
    /// `--offline`
    pub offline: bool,
}
