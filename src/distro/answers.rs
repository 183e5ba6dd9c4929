//! `(release, recipe, machine) → text`: the answer file, the scripts it has fetched, and the installer's kernel arguments.
//! Pure.

use std::collections::BTreeMap;

use anyhow::Context as _;
use minijinja::{Value, value::Serde};
use serde::Serialize;

use super::{Release, check, render};
use crate::model::{Disk, Endpoints, Hinted, Host, InstallRecipe, Mac};

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
    /// Reports are POSTed to `<callback_url>/<name>`: `started`, `partitioned`, `finishing`, `installed`, and `failed` with the
    /// reason as its plain-text body.
    pub callback_url: &'a str,
    /// The operator's own kernel arguments. They are kept for the installed system; with `---` among them only those after it
    /// are.
    pub kernel_args: &'a [String],
    /// The operator's own lines, which follow ours in the answer file. The last answer to a question wins.
    pub append: &'a str,
}

/// The values that templates name. An empty string means that there is none.
#[derive(Serialize)]
struct Values<'a> {
    version: &'a str,
    codename: &'a str,
    arch: &'a str,
    archives: Vec<Archive<'a>>,
    hostname: &'a str,
    domain: &'a str,
    mac: String,
    locale: &'a str,
    keymap: &'a str,
    timezone: &'a str,
    root_password: &'a str,
    ssh_keys: &'a [String],
    tasks: &'a [String],
    packages: Vec<&'a str>,
    disk: &'a str,
    layout: String,
    http: String,
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

/// Every file that the installer is given, by its name beside the answer file, that one included.
///
/// # Errors
/// For a value that has no place in an answer file, and for a template that names an unknown one.
pub fn answer_files(context: &AnswerContext<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let distro = &context.release.distro;
    let values = Value::from(Serde(values(context)?));
    let environment = render::environment(distro)?;
    let mut files = BTreeMap::new();
    for name in std::iter::once(&distro.answers).chain(&distro.scripts) {
        let template = environment.get_template(name)?;
        let text =
            template.render(&values).with_context(|| format!("filling in {name} of {}", context.release.uid()))?;
        files.insert(name.clone(), text);
    }
    if !context.append.is_empty() {
        let answers = files.get_mut(&distro.answers).context("the answer file was rendered first")?;
        answers.push_str(context.append);
        if !context.append.ends_with('\n') {
            answers.push('\n');
        }
    }
    Ok(files)
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
    let values = Value::from(Serde(values(context)?));
    let mut arguments = Vec::new();
    for template in &context.release.distro.kernel_args {
        arguments.push(render::string(template, values.clone())?);
    }
    arguments.retain(|argument| !argument.is_empty());

    let mut own = context.kernel_args.splitn(2, |argument| argument == KEPT);
    let first = own.next().unwrap_or_default();
    let (once, kept) = own.next().map_or((&[][..], first), |kept| (first, kept));
    arguments.extend_from_slice(once);
    let kept: Vec<_> = kept.iter().filter(|argument| *argument != KEPT).cloned().collect();
    if !kept.is_empty() {
        arguments.push(KEPT.to_owned());
        arguments.extend(kept);
    }
    arguments.iter().try_for_each(|argument| check::kernel_arg(argument))?;
    Ok(arguments)
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
        keymap: &recipe.keymap,
        timezone: &recipe.timezone,
        root_password: recipe.root_password.as_ref().map_or("", |hash| hash.expose()),
        ssh_keys: &recipe.ssh_keys,
        tasks: &flavour.tasks,
        packages: flavour.packages.iter().chain(&recipe.packages).map(String::as_str).collect(),
        disk: match &recipe.disk {
            Disk::FirstFixed => "",
            Disk::Device(path) => path,
        },
        layout: recipe.layout.to_string(),
        http: context.endpoints.http().to_string(),
        answers_url: context.answers_url,
        callback_url: context.callback_url,
        scripts: &release.distro.scripts,
    })
}
