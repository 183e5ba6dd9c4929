use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use super::{Network, Plan, Problems, Settings};
use crate::{
    distro::{Distro, Release, check as distro_check},
    model::{Arch, Bytes, Encryption, Handoff, Hinted, Host, InstallRecipe, Passphrase, PasswordHash, Trust},
};

/// The TCP port of the HTTP server when none is asked for.
const DEFAULT_HTTP_PORT: u16 = 4280;

/// What was found on this machine and in the files that the settings name.
#[derive(Debug)]
pub struct Local {
    /// The interface to serve on, or why there is none.
    pub interface: Result<String, Hinted>,
    /// This machine's own name servers, those that targets may reach; `None` where there are no targets to be told of them.
    pub resolvers: Option<Vec<Ipv4Addr>>,
    /// Where things are kept when `--prefix` is not given.
    pub default_prefix: PathBuf,
    /// Whether `--mirror` can be asked.
    pub mirror: Result<(), Hinted>,
    /// The distribution, or why it is unknown.
    pub distro: Result<Arc<Distro>, Hinted>,
    /// The hash of the password in `--password-file`, or why it could not be read.
    pub password: Option<Result<PasswordHash, Hinted>>,
    /// Keys of `--ssh-key`, one a line, with files already read.
    pub ssh_keys: Result<Vec<String>, Hinted>,
    /// The passphrase in `--luks-passphrase-file`, or why it cannot be one.
    pub passphrase: Option<Result<Passphrase, Hinted>>,
    /// Whether `--handoff-code` can be delivered.
    pub handoff_code: Result<(), Hinted>,
    /// Content of `--answers`.
    pub own_answers: Option<Result<String, Hinted>>,
    /// Content of `--append-answers`.
    pub append_answers: Option<Result<String, Hinted>>,
    /// Contents of the `--keyring` files.
    pub keyrings: Vec<Result<Vec<u8>, Hinted>>,
}

/// A plan but for its release, which only the archive can tell.
#[derive(Debug)]
pub struct Draft {
    /// The distribution.
    pub distro: Arc<Distro>,
    /// `--version`, when given.
    pub version: Option<String>,
    /// Instruction set of the targets.
    pub arch: Arch,
    interface: String,
    network: Network,
    http_port: u16,
    /// Directory of everything kept.
    pub prefix: PathBuf,
    cache_size: Option<Bytes>,
    host: Host,
    /// How machines are installed.
    pub recipe: InstallRecipe,
    kernel_args: Vec<String>,
    own_answers: Option<String>,
    append_answers: Option<String>,
    /// `--trust`, when given.
    pub trust: Option<Trust>,
    /// Keys trusted besides the embedded ones.
    pub extra_keys: Vec<Vec<u8>>,
    /// Never ask upstream.
    pub offline: bool,
}

/// Checks everything that can be checked without a network, and reports all that is wrong at once.
pub fn check(settings: Settings, local: Local) -> Result<Draft, Problems> {
    let mut problems = Problems(Vec::new());
    let network = Network::check(&settings, local.resolvers.as_deref(), &mut problems);
    if settings.http_port == Some(0) {
        problems.add("--http-port 0 is no port that a loader could be told", "use one from 1 to 65535");
    }
    if settings.ip.is_some() && settings.mac.is_none() {
        problems.add("--ip reserves an address, but for which machine?", "name it with --mac");
    }
    if settings.lock_root && settings.user.is_none() && settings.ssh_keys.is_empty() {
        problems.add(
            "--lock-root leaves nobody who could log in",
            "add an administrator with --user, or a key with --ssh-key",
        );
    }
    if settings.answers.is_some() && settings.append_answers.is_some() {
        problems.add("--answers and --append-answers do not go together", "put the lines into the file of --answers");
    }
    if settings.password.is_some() && settings.password_file.is_some() {
        problems.add("--password and --password-file both give the password", "leave one of them out");
    }
    let interface = problems.take(local.interface);
    problems.take(local.mirror);
    let distro = problems.take(local.distro);
    let arch = settings.arch.unwrap_or(Arch::X86_64);
    let password = settings.password.and_then(|hash| {
        let hint = "quote it: the shell takes $ for its own; --password-file takes the password itself";
        problems.take(hash.map_err(|error| Hinted::new(format!("--password: {error}"), hint)))
    });
    let password_file = local.password.and_then(|password| problems.take(password));
    let ssh_keys = problems.take(local.ssh_keys).unwrap_or_default();
    let passphrase = local.passphrase.and_then(|passphrase| problems.take(passphrase));
    problems.take(local.handoff_code);
    let own_answers = local.own_answers.and_then(|text| problems.take(text));
    let append_answers = local.append_answers.and_then(|text| problems.take(text));
    let extra_keys = local.keyrings.into_iter().filter_map(|key| problems.take(key)).collect();
    let host = Host { mac: settings.mac, address: settings.ip, hostname: settings.hostname };
    problems.take(distro_check::host(&host));
    for arg in &settings.kernel_args {
        problems.take(distro_check::kernel_arg(arg));
    }
    let luks = settings.luks || settings.luks_tpm2 || settings.luks_passphrase_file.is_some();
    let mut languages = settings.languages.into_iter();
    let usual = InstallRecipe::default();
    let recipe = InstallRecipe {
        locale: languages.next().unwrap_or(usual.locale),
        languages: languages.collect(),
        keymap: settings.keymap.unwrap_or(usual.keymap),
        timezone: settings.timezone.unwrap_or(usual.timezone),
        time_servers: settings.time_servers,
        password: password.or(password_file),
        ssh_keys,
        user: settings.user,
        lock_root: settings.lock_root,
        flavour: distro.as_ref().map(|distro| flavour(distro, settings.flavour)).unwrap_or_default(),
        packages: settings.packages,
        disk: settings.disk.unwrap_or_default(),
        layout: settings.part.unwrap_or_default(),
        encryption: luks.then_some(Encryption { passphrase, tpm2: settings.luks_tpm2 }),
        handoff: Handoff { exec: settings.handoff_exec, code: settings.handoff_code },
    };
    if let Some(distro) = &distro {
        check_distro(distro, settings.version.as_deref(), arch, &recipe, &mut problems);
    }
    match (problems.0.is_empty(), interface, distro) {
        (true, Some(interface), Some(distro)) => Ok(Draft {
            version: settings.version,
            arch,
            interface,
            network,
            http_port: settings.http_port.unwrap_or(DEFAULT_HTTP_PORT),
            prefix: settings.prefix.unwrap_or(local.default_prefix),
            cache_size: settings.cache_size,
            host,
            recipe,
            kernel_args: settings.kernel_args,
            own_answers,
            append_answers,
            trust: settings.trust,
            extra_keys,
            offline: settings.offline,
            distro,
        }),
        _ => Err(problems),
    }
}

impl Draft {
    /// The plan, now that the release is known.
    pub fn with_release(self, release: Release) -> Plan {
        Plan {
            interface: self.interface,
            network: self.network,
            http_port: self.http_port,
            journal: self.prefix.join("journal.jsonl"),
            prefix: self.prefix,
            cache_size: self.cache_size,
            release,
            host: self.host,
            recipe: self.recipe,
            kernel_args: self.kernel_args,
            own_answers: self.own_answers,
            append_answers: self.append_answers,
            trust: self.trust,
            extra_keys: self.extra_keys,
            offline: self.offline,
        }
    }
}

/// `--flavour` in the family's own spelling, which differs between families in capitals only.
fn flavour(distro: &Distro, asked: Option<String>) -> String {
    let Some(asked) = asked else { return distro.default_flavour.clone() };
    let known = distro.flavours.keys().find(|known| known.eq_ignore_ascii_case(&asked));
    known.cloned().unwrap_or(asked)
}

/// Checks what depends on the distribution.
fn check_distro(distro: &Distro, version: Option<&str>, arch: Arch, recipe: &InstallRecipe, problems: &mut Problems) {
    // Where the distributor lists the releases there may be others than those that are described.
    let lists = distro.archive.rpm.as_ref().is_some_and(|rpm| rpm.releases.is_some());
    if let Some(version) = version.filter(|_| !lists) {
        problems.take(distro.release(version));
    }
    if !distro.arches.contains_key(&arch) {
        let known: Vec<_> = distro.arches.keys().map(ToString::to_string).collect();
        problems.add(format!("{} is not known for --arch {arch}", distro.name), format!("use {}", known.join(" or ")));
    }
    problems.0.extend(distro_check::recipe(distro, recipe));
}
