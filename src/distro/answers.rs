//! `(release, recipe, machine) → text`: the answer file, the scripts it has fetched, and the installer's kernel arguments.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use minijinja::{Value, value::Serde};
use serde::Serialize;

use super::{Release, Templates, address, check, render};
use crate::model::{Disk, Endpoints, Hinted, Host, InstallRecipe, Mac, Passphrase, PasswordHash, Sha256Digest};

/// What follows it on the installer's command line is kept for the installed system too.
const KEPT: &str = "---";

/// Everything that answers depend on.
#[derive(Debug, Clone, Copy)]
pub struct AnswerContext<'a> {
    /// What is installed.
    pub release: &'a Release,
    /// How.
    pub recipe: &'a InstallRecipe,
    /// The machine as declared.
    pub host: &'a Host,
    /// The network card that booted; `None` where answers are shown before any did.
    pub mac: Option<Mac>,
    /// Where the machine reaches us.
    pub endpoints: Endpoints,
    /// URL of the answer file. The other answer files are fetched from beside it.
    pub answers_url: &'a str,
    /// Reports are POSTed to `<callback_url>/<name>`: `started`, `partitioned`, `finishing`, `installed`, and with a plain-text
    /// body `failed` (the reason), `host-keys` (the content of the machine's `ssh_host_*_key.pub`) and `handed-off` (the exit
    /// status on one line, the last line of output on the next).
    pub callback_url: &'a str,
    /// The operator's own kernel arguments. They are kept for the installed system; with `---` among them only those after it
    /// are.
    pub kernel_args: &'a [String],
    /// The archives' metadata are, or soon will be, older than they say they are good for: what verifies is right all the same.
    pub outdated: bool,
    /// Digest of `handoff.tar`, which is fetched from beside the answer file, if there is code to deliver.
    pub handoff_code: Option<Sha256Digest>,
    /// The operator's own answer file, in place of ours (`--answers`). It is not a template.
    pub own: Option<&'a str>,
    /// The operator's own lines, which follow ours in the answer file. The last answer to a question wins.
    pub append: &'a str,
}

/// The values that templates name. An empty string means that there is none.
#[derive(Default, Serialize)]
struct Values<'a> {
    version: &'a str,
    codename: &'a str,
    arch: &'a str,
    archives: Vec<Archive<'a>>,
    hostname: &'a str,
    domain: &'a str,
    mac: String,
    locale: &'a str,
    languages: &'a [String],
    keymap: &'a str,
    timezone: &'a str,
    time_servers: &'a [String],
    root_password: &'a str,
    user: &'a str,
    user_password: &'a str,
    ssh_keys: &'a [String],
    tasks: &'a [String],
    packages: Vec<&'a str>,
    /// `first`, `smallest`, `size` or `device`.
    disk_choice: &'a str,
    /// Path of the device that was asked for.
    disk: &'a str,
    /// Its size in bytes, 0 where none was asked for.
    disk_size: u64,
    layout: String,
    luks: bool,
    passphrase: &'a str,
    tpm2: bool,
    handoff: &'a str,
    /// Where the code for the hand-off is, and its SHA-256.
    handoff_url: String,
    handoff_sha256: String,
    /// See [`AnswerContext::outdated`].
    outdated: bool,
    /// The operator's own kernel arguments that the installed system keeps.
    kept_args: Vec<&'a str>,
    http: String,
    /// The install tree, through us.
    tree_url: String,
    repos: Vec<RepoValues<'a>>,
    answers_url: &'a str,
    callback_url: &'a str,
    scripts: &'a [String],
}

/// An archive, as the installer is told of it and as the installed system is.
#[derive(Serialize)]
struct Archive<'a> {
    id: &'a str,
    ours: String,
    public: &'a str,
}

/// A repository, as the installer is told of it and as the installed system is.
#[derive(Serialize)]
struct RepoValues<'a> {
    id: &'a str,
    ours: String,
    public: String,
    metalink: String,
}

/// Every file that the installer is given, by its name beside the answer file, that one included.
///
/// # Errors
/// For a value that has no place in an answer file, and for a template that names an unknown one.
pub fn answer_files(context: &AnswerContext<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let distro = &context.release.distro;
    let values = Value::from(Serde(values(context)?));
    let templates = Templates::parse(distro.templates.clone())?;
    let mut files = BTreeMap::new();
    let fill = |name: &String| templates.render(name, &values);
    let mut answers = match context.own {
        None => fill(&distro.answers)?,
        Some(own) => with_line_end(own.to_owned()) + &fill(&distro.callbacks)?,
    };
    answers.push_str(&with_line_end(context.append.to_owned()));
    files.insert(distro.answers.clone(), answers);
    for name in &distro.scripts {
        files.insert(name.clone(), fill(name)?);
    }
    Ok(files)
}

fn with_line_end(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The answer file alone, the operator's own lines included.
///
/// # Errors
/// As for [`answer_files`].
pub fn answers(context: &AnswerContext<'_>) -> anyhow::Result<String> {
    answer_files(context)?.remove(&context.release.distro.answers).context("the answer file was rendered")
}

/// The arguments of the installer's kernel, in order: ours, the operator's own, and after `---` those that are kept for the
/// installed system. Each is one word that loader scripts need not quote.
///
/// # Errors
/// As for [`answer_files`], and for an argument that would need quotes.
pub fn kernel_args(context: &AnswerContext<'_>) -> anyhow::Result<Vec<String>> {
    let mut arguments = filled(&context.release.distro.kernel_args, context)?;
    let (once, kept) = own_args(context.kernel_args);
    arguments.extend_from_slice(once);
    if !kept.is_empty() {
        arguments.push(KEPT.to_owned());
        arguments.extend(kept.into_iter().map(str::to_owned));
    }
    arguments.iter().try_for_each(|argument| check::kernel_arg(argument))?;
    Ok(arguments)
}

/// The packages and `@groups` that the installer adds by itself to those that its answers select.
///
/// # Errors
/// As for [`answer_files`].
pub fn installer_packages(context: &AnswerContext<'_>) -> anyhow::Result<Vec<String>> {
    filled(&context.release.distro.installer_packages, context)
}

/// Templates filled in, without those that come to nothing.
fn filled(templates: &[String], context: &AnswerContext<'_>) -> anyhow::Result<Vec<String>> {
    let values = Value::from(Serde(values(context)?));
    let mut filled = templates
        .iter()
        .map(|template| render::string(template, values.clone()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    filled.retain(|text| !text.is_empty());
    Ok(filled)
}

/// What templates may name.
pub(super) fn names() -> BTreeSet<String> {
    let values = Value::from(Serde(Values::default()));
    values.try_iter().into_iter().flatten().map(|name| name.to_string()).collect()
}

/// The operator's own arguments: those for the installer alone, and those that the installed system keeps.
fn own_args(arguments: &[String]) -> (&[String], Vec<&str>) {
    let mut parts = arguments.splitn(2, |argument| argument == KEPT);
    let first = parts.next().unwrap_or_default();
    let (once, kept) = parts.next().map_or((&[][..], first), |kept| (first, kept));
    (once, kept.iter().map(String::as_str).filter(|argument| *argument != KEPT).collect())
}

fn values<'a>(context: &AnswerContext<'a>) -> Result<Values<'a>, Hinted> {
    let AnswerContext { release, recipe, host, .. } = *context;
    if let Some(wrong) = check::recipe(&release.distro, recipe).into_iter().next() {
        return Err(wrong);
    }
    check::host(host)?;
    let name = host.hostname.as_deref().unwrap_or_default();
    let (hostname, domain) = name.split_once('.').unwrap_or((name, ""));
    let flavour = &release.distro.flavours[&recipe.flavour];
    let encryption = recipe.encryption.as_ref();
    let ours = |id: &str, path: &str| context.endpoints.url(&format!("/mirror/{id}/{path}"));
    Ok(Values {
        version: &release.version,
        codename: &release.codename,
        arch: &release.arch_name,
        archives: release
            .public_mirrors
            .iter()
            .map(|mirror| Archive {
                id: &mirror.id,
                ours: context.endpoints.url(&format!("/mirror/{}", mirror.id)),
                public: mirror.url.as_str(),
            })
            .collect(),
        hostname,
        domain,
        mac: context.mac.or(host.mac).map(Mac::dashed).unwrap_or_default(),
        locale: &recipe.locale,
        languages: &recipe.languages,
        keymap: &recipe.keymap,
        timezone: &recipe.timezone,
        time_servers: &recipe.time_servers,
        root_password: recipe.root_password().map_or("", PasswordHash::expose),
        user: recipe.user.as_deref().unwrap_or_default(),
        user_password: recipe.password.as_ref().filter(|_| recipe.user.is_some()).map_or("", PasswordHash::expose),
        ssh_keys: &recipe.ssh_keys,
        tasks: &flavour.tasks,
        packages: flavour.packages.iter().chain(&recipe.packages).map(String::as_str).collect(),
        disk_choice: match recipe.disk {
            Disk::FirstFixed => "first",
            Disk::Smallest => "smallest",
            Disk::Size(_) => "size",
            Disk::Device(_) => "device",
        },
        disk: if let Disk::Device(path) = &recipe.disk { path } else { "" },
        disk_size: if let Disk::Size(bytes) = recipe.disk { bytes } else { 0 },
        layout: recipe.layout.to_string(),
        luks: recipe.encryption.is_some(),
        passphrase: encryption.and_then(|encryption| encryption.passphrase.as_ref()).map_or("", Passphrase::expose),
        tpm2: encryption.is_some_and(|encryption| encryption.tpm2),
        handoff: recipe.handoff.command().unwrap_or_default(),
        handoff_url: context.handoff_code.map_or_else(String::new, |_| beside(context.answers_url, "handoff.tar")),
        handoff_sha256: context.handoff_code.map_or_else(String::new, |digest| digest.to_string()),
        outdated: context.outdated,
        kept_args: own_args(context.kernel_args).1,
        http: context.endpoints.http().to_string(),
        tree_url: release.tree.as_ref().map_or_else(String::new, |tree| ours(&release.archive().id, tree)),
        repos: release
            .repos
            .iter()
            .map(|repo| RepoValues {
                id: &repo.id,
                ours: ours(&release.archive().id, &repo.path),
                public: address::below(&release.public_mirrors[0].url, &repo.public_path).to_string(),
                metalink: repo.metalink.as_ref().map(ToString::to_string).unwrap_or_default(),
            })
            .collect(),
        answers_url: context.answers_url,
        callback_url: context.callback_url,
        scripts: &release.distro.scripts,
    })
}

/// The file `name` in the folder of another one.
fn beside(url: &str, name: &str) -> String {
    let folder = url.rsplit_once('/').map_or(url, |(folder, _)| folder);
    format!("{folder}/{name}")
}
