use std::{fs::File, io::Read, sync::Arc};

use anyhow::Context;
use tokio::task::spawn_blocking;

use super::Wanted;
use crate::{
    boot::Secret,
    distro::{self, Mirror},
    fetch::{
        BootSet,
        debs::{self, Asked, Listed, Universe, World, answer},
        kernel_version,
        suite_files::{Lists, Suite, SuiteFile},
    },
    mirror::{Brought, Proxy},
    model::{InstallRecipe, Mac},
    plan::Plan,
};

/// The largest `InRelease`, in bytes: Debian's has 0.2 MB.
const IN_RELEASE_LIMIT: u64 = 8 << 20;

/// A `Packages` file that is here.
struct Index {
    mirror: String,
    lists: Lists,
    file: Arc<File>,
}

/// What an installation asks for: the packages of the recipe, and those of the installer that fit its kernel.
pub(super) async fn wanted(
    plan: &Plan,
    files: &BootSet,
    mirror: &Proxy,
    learnt: Vec<String>,
) -> anyhow::Result<Wanted> {
    let (indexes, missing) = metadata(plan, mirror).await?;
    let asked = asked(plan)?;
    let kernel = files.file(&plan.release.kernel.name).map(|kernel| kernel.path.clone());
    spawn_blocking(move || {
        let kernel = kernel.and_then(|path| kernel_version(&std::fs::read(path).ok()?));
        let mut wanted = packages(indexes, &asked, kernel.as_deref(), &learnt)?;
        wanted.missing.splice(0..0, missing);
        Ok(wanted)
    })
    .await?
}

/// Brings the metadata that an installation reads, suite by suite; also what is missing of them, as a sentence each.
async fn metadata(plan: &Plan, mirror: &Proxy) -> anyhow::Result<(Vec<Index>, Vec<String>)> {
    let (release, languages) = (&plan.release, languages(&plan.recipe));
    let (mut indexes, mut missing) = (Vec::new(), Vec::new());
    let listed = &release.distro.prefetch.listed_components;
    for (number, distro::Suite { mirror: Mirror { id, .. }, name }) in release.suites()?.into_iter().enumerate() {
        let suite = Suite {
            folder: &name,
            arch: &release.arch_name,
            world: if number == 0 { World::Release } else { World::Updated },
            components: release.components(),
            listed,
            languages: &languages,
        };
        let in_release = match mirror.bring(id, &suite.in_release()).await {
            Ok(Brought { file, .. }) => text(file).await.with_context(|| format!("reading {}", suite.in_release()))?,
            // An archive need not have updates: then machines are not told of them.
            Err(error) if error.gone && number > 0 => continue,
            Err(error) => {
                missing.push(error.to_string());
                continue;
            }
        };
        let files = suite.files(&in_release).with_context(|| format!("reading {}", suite.in_release()))?;
        for SuiteFile { path, lists, optional } in files {
            match mirror.bring(id, &path).await {
                Ok(Brought { file, .. }) => indexes.push(Index { mirror: id.clone(), lists, file }),
                // Offline nobody can say whether there is one.
                Err(error) if optional && (error.gone || plan.offline) => {}
                Err(error) => missing.push(error.to_string()),
            }
        }
    }
    Ok((indexes, missing))
}

async fn text(file: Arc<File>) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = move || (&*file).take(IN_RELEASE_LIMIT).read_to_string(&mut text).map(|_| text);
    Ok(spawn_blocking(read).await??)
}

/// The languages that apt fetches descriptions in: English and the system's, with its country and without.
fn languages(recipe: &InstallRecipe) -> Vec<String> {
    let locale = recipe.locale.split(['.', '@']).next().unwrap_or_default();
    let language = locale.split('_').next().unwrap_or_default();
    let mut languages: Vec<_> = ["en", language, locale].map(str::to_owned).into();
    languages.retain(|language| language != "C" && language != "POSIX");
    languages.sort();
    languages.dedup();
    languages
}

/// What the recipe asks for. The answers themselves say it, so that the operator's own do too.
fn asked(plan: &Plan) -> anyhow::Result<Asked> {
    let (release, recipe) = (&plan.release, &plan.recipe);
    // A machine that is not there: which one it is decides nothing here, and the token opens nothing.
    let mac = plan.host.mac.unwrap_or(Mac([2, 0, 0, 0, 0, 1]));
    let urls = Secret([0; 32]).urls(mac, plan.endpoints(), &release.distro.answers);
    let answers = distro::answers(&plan.answer_context(mac, &urls.answers, &urls.callback))?;
    let list = |question: &str| -> Vec<String> {
        let value = answer(&answers, question).unwrap_or_default();
        value.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let data = &release.distro.prefetch;
    let tasks = match answer(&answers, "pkgsel/run_tasksel").as_deref() {
        Some("false") => Vec::new(),
        _ => list("tasksel/first"),
    };
    let of = |packages: Option<&Vec<String>>| packages.into_iter().flatten().cloned().collect::<Vec<_>>();
    Ok(Asked {
        base: data.base.clone(),
        system: [
            list("base-installer/kernel/image"),
            data.system.clone(),
            of(data.layouts.get(&recipe.layout.to_string())),
            of(Some(&data.encrypted).filter(|_| recipe.encryption.is_some())),
            of(data.arches.get(&release.arch)),
        ]
        .concat(),
        alone: data.system_alone.clone(),
        further_tasks: language_tasks(plan, &tasks),
        tasks,
        packages: list("pkgsel/include"),
    })
}

/// The tasks that tasksel adds to others by itself: for each language, and for each desktop in it.
fn language_tasks(plan: &Plan, tasks: &[String]) -> Vec<String> {
    let (recipe, known) = (&plan.recipe, &plan.release.distro.prefetch.languages);
    if tasks.is_empty() {
        return Vec::new();
    }
    let desktops: Vec<_> = tasks.iter().filter(|task| task.ends_with("desktop")).collect();
    let mut further = Vec::new();
    for locale in [&recipe.locale].into_iter().chain(&recipe.languages) {
        let locale = locale.split(['.', '@']).next().unwrap_or_default();
        let language = locale.split('_').next().unwrap_or_default();
        let Some(name) = known.get(locale).or_else(|| known.get(language)) else { continue };
        further.push(name.clone());
        if !desktops.is_empty() {
            further.push(format!("{name}-desktop"));
        }
        further.extend(desktops.iter().map(|desktop| format!("{name}-{desktop}")));
    }
    further
}

/// The packages. Blocks, and reads every index: some seconds for all of Debian where nothing is optimised.
fn packages(indexes: Vec<Index>, asked: &Asked, kernel: Option<&str>, learnt: &[String]) -> anyhow::Result<Wanted> {
    let (mut system, mut installer) = (Universe::default(), Universe::default());
    for Index { mirror, lists, file } in indexes {
        let (universe, world) = match lists {
            Lists::Packages(world) => (&mut system, world),
            Lists::Installer => (&mut installer, World::Release),
            Lists::Nothing => continue,
        };
        universe.add(debs::read(&*file, &mirror, world).context("reading an index of packages")?);
    }
    let resolved = system.resolve(asked);
    // The installer loads what its hardware needs. All that its kernel can use is little more than what any machine takes.
    let fits = |listed: &&Listed| listed.kernel.is_empty() || kernel.is_none_or(|kernel| kernel == listed.kernel);
    let loaded = installer.listed().filter(fits);
    let learnt = learnt.iter().filter_map(|file| {
        let (_, path) = file.split_once('/')?;
        system.today(path).or_else(|| installer.today(path))
    });
    let mut wanted = Wanted::default();
    for Listed { mirror, path, name, version, .. } in resolved.packages.iter().copied().chain(loaded).chain(learnt) {
        wanted.add(mirror, path, format!("{name} {version}"));
    }
    wanted.missing.extend(resolved.unmet.iter().map(|name| format!("the archive has no package {name}")));
    Ok(wanted)
}
