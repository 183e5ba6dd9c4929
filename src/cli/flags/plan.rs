use std::{
    net::Ipv4Addr,
    path::{self, Path, PathBuf},
};

use anyhow::anyhow;
use clap::{Args, builder::BoolishValueParser};
use ipnet::Ipv4Net;
use url::Url;

use crate::{
    cli::local::DEFAULT_DISTRO,
    distro::Catalogue,
    model::{Arch, Bytes, Disk, Layout, Mac, ParseError, PasswordHash, Trust},
    plan::Settings,
};

/// SECURITY: a value that clap refuses comes back in its error, and this one may be somebody's password. So it is read here
/// and refused later, without being shown.
fn password_hash(text: &str) -> Result<Result<PasswordHash, ParseError>, std::convert::Infallible> {
    Ok(text.parse())
}

/// An address has a scheme; whatever has none is a directory.
fn mirror(text: &str) -> anyhow::Result<Url> {
    if text.contains("://") {
        return Ok(text.parse()?);
    }
    let path = path::absolute(text)?;
    Url::from_directory_path(&path).map_err(|()| anyhow!("{} is no path", path.display()))
}

/// Help of `--distro`.
fn distros() -> String {
    format!(
        "Distribution to install: {}, or your own [default: {DEFAULT_DISTRO}]",
        Catalogue::embedded().ids().join(", ")
    )
}

/// What to install, where and how: the flags of every verb.
#[derive(Debug, Args)]
pub struct PlanFlags {
    #[arg(long, help = distros(), value_name = "ID", env = "PROVISIONER_DISTRO", hide_env = true, help_heading = "System")]
    distro: Option<String>,
    /// Its version [default: the newest stable]
    #[arg(long, env = "PROVISIONER_VERSION", hide_env = true, help_heading = "System")]
    version: Option<String>,
    /// Architecture of the machines [default: x86_64]
    #[arg(long, env = "PROVISIONER_ARCH", hide_env = true, help_heading = "System")]
    arch: Option<Arch>,
    /// Set of packages, such as Workstation, Server or minimal
    #[arg(long, value_name = "NAME", env = "PROVISIONER_FLAVOUR", hide_env = true, help_heading = "System")]
    flavour: Option<String>,
    /// Further packages
    #[arg(
        long,
        value_name = "LIST",
        env = "PROVISIONER_PACKAGES",
        hide_env = true,
        value_delimiter = ',',
        help_heading = "System"
    )]
    packages: Vec<String>,
    /// Hash of root's password, as crypt(5) has it [default: ask for the password]
    #[arg(
        long,
        value_name = "HASH",
        env = "PROVISIONER_PASSWORD", hide_env = true,
        value_parser = password_hash,
        help_heading = "System"
    )]
    password: Option<Result<PasswordHash, ParseError>>,
    /// File with root's password
    #[arg(long, value_name = "FILE", env = "PROVISIONER_PASSWORD_FILE", hide_env = true, help_heading = "System")]
    password_file: Option<PathBuf>,
    /// SSH public key that may log in as root, or a file of them
    #[arg(long, value_name = "KEY|FILE", env = "PROVISIONER_SSH_KEY", hide_env = true, help_heading = "System")]
    ssh_key: Vec<String>,
    /// Administrator to make besides root, with the same password and SSH keys
    #[arg(long, value_name = "NAME", env = "PROVISIONER_USER", hide_env = true, help_heading = "System")]
    user: Option<String>,
    /// Give root no password
    #[arg(long, env = "PROVISIONER_LOCK_ROOT", hide_env = true, help_heading = "System")]
    #[arg(value_parser = BoolishValueParser::new())]
    lock_root: bool,
    /// Its language, and further ones that it can speak [default: en_US.UTF-8]
    #[arg(
        long = "lang",
        value_name = "LOCALE",
        env = "PROVISIONER_LANG",
        hide_env = true,
        value_delimiter = ',',
        help_heading = "System"
    )]
    languages: Vec<String>,
    /// Keyboard layout [default: us]
    #[arg(long, value_name = "LAYOUT", env = "PROVISIONER_KEYMAP", hide_env = true, help_heading = "System")]
    keymap: Option<String>,
    /// Time zone [default: UTC]
    #[arg(long, value_name = "ZONE", env = "PROVISIONER_TIMEZONE", hide_env = true, help_heading = "System")]
    timezone: Option<String>,
    /// Time servers [default: the distribution's]
    #[arg(
        long,
        value_name = "LIST",
        env = "PROVISIONER_NTP",
        hide_env = true,
        value_delimiter = ',',
        help_heading = "System"
    )]
    ntp: Vec<String>,
    /// Disk to erase: a device, a size such as 500G, or smallest [default: the first that is not removable, not USB, not on a
    /// storage network]
    #[arg(long, value_name = "DISK", env = "PROVISIONER_DISK", hide_env = true, help_heading = "System")]
    disk: Option<Disk>,
    /// Layout of the disk: plain, lvm or btrfs [default: plain]
    #[arg(long, value_name = "LAYOUT", env = "PROVISIONER_PART", hide_env = true, help_heading = "System")]
    part: Option<Layout>,
    /// Encrypt the disk; asks for the passphrase, or makes one
    #[arg(long, env = "PROVISIONER_LUKS", hide_env = true, help_heading = "System")]
    #[arg(value_parser = BoolishValueParser::new())]
    luks: bool,
    /// Encrypt the disk with the passphrase in this file
    #[arg(
        long,
        value_name = "FILE",
        env = "PROVISIONER_LUKS_PASSPHRASE_FILE",
        hide_env = true,
        help_heading = "System"
    )]
    luks_passphrase_file: Option<PathBuf>,
    /// Encrypt the disk, and let the machine's TPM 2.0 open it
    #[arg(long, env = "PROVISIONER_LUKS_TPM2", hide_env = true, help_heading = "System")]
    #[arg(value_parser = BoolishValueParser::new())]
    luks_tpm2: bool,
    /// Command that the new machine runs once, on its first start
    #[arg(long, value_name = "CMD", env = "PROVISIONER_HANDOFF_EXEC", hide_env = true, help_heading = "System")]
    handoff_exec: Option<String>,
    /// Directory to deliver to it; its ./run is run, unless --handoff-exec says otherwise
    #[arg(long, value_name = "DIR", env = "PROVISIONER_HANDOFF_CODE", hide_env = true, help_heading = "System")]
    handoff_code: Option<PathBuf>,
    /// Further kernel arguments, for the installer and the installed system
    #[arg(
        long,
        value_name = "ARGS",
        env = "PROVISIONER_KERNEL_ARGS",
        hide_env = true,
        value_delimiter = ' ',
        allow_hyphen_values = true,
        help_heading = "System"
    )]
    kernel_args: Vec<String>,
    /// Own answer file (kickstart, preseed) in place of ours
    #[arg(long, value_name = "FILE", env = "PROVISIONER_ANSWERS", hide_env = true, help_heading = "System")]
    answers: Option<PathBuf>,
    /// Own lines after ours in the answer file
    #[arg(long, value_name = "FILE", env = "PROVISIONER_APPEND_ANSWERS", hide_env = true, help_heading = "System")]
    append_answers: Option<PathBuf>,

    /// Serve only this machine
    #[arg(long, value_name = "MAC", env = "PROVISIONER_MAC", hide_env = true, help_heading = "Machines")]
    mac: Option<Mac>,
    /// Address for that machine
    #[arg(long, value_name = "ADDRESS", env = "PROVISIONER_IP", hide_env = true, help_heading = "Machines")]
    ip: Option<Ipv4Addr>,
    /// Name of the machine
    #[arg(long, value_name = "NAME", env = "PROVISIONER_HOSTNAME", hide_env = true, help_heading = "Machines")]
    hostname: Option<String>,

    /// Ethernet interface [default: the one wired port without the default route]
    #[arg(long, value_name = "NAME", env = "PROVISIONER_INTERFACE", hide_env = true, help_heading = "Network")]
    interface: Option<String>,
    /// Network for the machines [default: 192.168.42.0/24]
    #[arg(long, value_name = "NET", env = "PROVISIONER_NETWORK", hide_env = true, help_heading = "Network")]
    network: Option<Ipv4Net>,
    /// Our address on it [default: 192.168.42.1/24]
    #[arg(long, value_name = "ADDRESS/LEN", env = "PROVISIONER_ROUTER", hide_env = true, help_heading = "Network")]
    router: Option<Ipv4Net>,
    /// Name servers for the machines [default: this machine's]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PROVISIONER_DNS",
        hide_env = true,
        value_delimiter = ',',
        help_heading = "Network"
    )]
    dns: Vec<Ipv4Addr>,
    /// Port of the HTTP server [default: 4280]
    #[arg(long, value_name = "PORT", env = "PROVISIONER_HTTP_PORT", hide_env = true, help_heading = "Network")]
    http_port: Option<u16>,

    /// Mirror of the distribution: an address or a directory, such as a mounted disc [default: its own]
    #[arg(
        long,
        value_name = "URL|DIR",
        env = "PROVISIONER_MIRROR",
        hide_env = true,
        value_parser = mirror,
        help_heading = "Source"
    )]
    mirror: Option<Url>,
    /// What must vouch for boot files: signed or https [default: the strictest that the distribution has]
    #[arg(long, value_name = "LEVEL", env = "PROVISIONER_TRUST", hide_env = true, help_heading = "Source")]
    trust: Option<Trust>,
    /// Directory of own templates, see `provisioner templates export`
    #[arg(long, value_name = "DIR", env = "PROVISIONER_TEMPLATES", hide_env = true, help_heading = "Source")]
    templates: Option<PathBuf>,
    /// File of OpenPGP keys trusted for the mirror besides the distribution's
    #[arg(long, value_name = "FILE", env = "PROVISIONER_KEYRING", hide_env = true, help_heading = "Source")]
    keyring: Vec<PathBuf>,
    /// Use only what the cache holds
    #[arg(long, env = "PROVISIONER_OFFLINE", hide_env = true, help_heading = "Source")]
    #[arg(value_parser = BoolishValueParser::new())]
    offline: bool,
    #[arg(long, help = super::PREFIX, value_name = "DIR", env = "PROVISIONER_PREFIX", hide_env = true)]
    #[arg(help_heading = "Source")]
    prefix: Option<PathBuf>,
    /// Most that the mirror keeps there, such as 50G; the least recently used goes [default: no limit]
    #[arg(long, value_name = "SIZE", env = "PROVISIONER_CACHE_SIZE", hide_env = true, help_heading = "Source")]
    cache_size: Option<Bytes>,
}

impl PlanFlags {
    /// `--prefix`, if it was given.
    pub fn prefix(&self) -> Option<&Path> {
        self.prefix.as_deref()
    }
}

impl From<PlanFlags> for Settings {
    fn from(flags: PlanFlags) -> Self {
        Self {
            interface: flags.interface,
            network: flags.network,
            router: flags.router,
            dns: flags.dns,
            http_port: flags.http_port,
            prefix: flags.prefix,
            cache_size: flags.cache_size,
            distro: flags.distro,
            version: flags.version,
            arch: flags.arch,
            flavour: flags.flavour,
            mirror: flags.mirror,
            mac: flags.mac,
            ip: flags.ip,
            hostname: flags.hostname,
            password: flags.password,
            password_file: flags.password_file,
            ssh_keys: flags.ssh_key,
            user: flags.user,
            lock_root: flags.lock_root,
            languages: flags.languages.into_iter().filter(|name| !name.is_empty()).collect(),
            keymap: flags.keymap,
            timezone: flags.timezone,
            time_servers: flags.ntp.into_iter().filter(|name| !name.is_empty()).collect(),
            luks: flags.luks,
            luks_passphrase_file: flags.luks_passphrase_file,
            luks_tpm2: flags.luks_tpm2,
            handoff_exec: flags.handoff_exec,
            handoff_code: flags.handoff_code,
            packages: flags.packages.into_iter().filter(|name| !name.is_empty()).collect(),
            part: flags.part,
            disk: flags.disk,
            kernel_args: flags.kernel_args.into_iter().filter(|word| !word.is_empty()).collect(),
            answers: flags.answers,
            append_answers: flags.append_answers,
            templates: flags.templates,
            trust: flags.trust,
            keyrings: flags.keyring,
            offline: flags.offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_an_address_or_a_directory() {
        let here = std::env::current_dir().expect("a directory");
        let below = |name: &str| Url::from_directory_path(here.join(name)).expect("a URL").to_string();
        for (text, expected) in [
            ("https://mirror.example/debian", "https://mirror.example/debian".to_owned()),
            ("file:///srv/debian", "file:///srv/debian".to_owned()),
            ("/mnt/a disc", "file:///mnt/a%20disc/".to_owned()),
            ("./mirror", below("mirror")),
            ("mirror.example:3142/debian", below("mirror.example:3142/debian")),
        ] {
            assert_eq!(mirror(text).expect("a mirror").as_str(), expected);
        }
        assert!(mirror("").is_err() && mirror("http://").is_err());
    }
}
