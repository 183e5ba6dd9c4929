//! Which packages an installation takes, from the `Packages` of its suites. Pure but for [`read`], which reads one.
//!
//! What debian-installer does, one step after the other: debootstrap installs the base system from the release itself, without
//! what packages only recommend; base-installer and those it is told of by the parts of the installer before it (partman,
//! hw-detect) install kernel and tools from there too, now with recommendations; then updates and security come in, everything
//! is upgraded, and tasks, further packages and the boot loader follow. So a package that the release and its updates both have
//! is taken in both versions.
//!
//! It is no solver: the first alternative that there is, the most important provider, one version of a package at a time. That
//! may take a package too many. Conflicts are not looked at.

mod listed;
mod preseed;
mod relation;
mod version;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use self::relation::{Alternative, groups};
pub use self::{
    listed::{Listed, Priority, read},
    preseed::answer,
};

/// Which suites an installation knows at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// The release itself.
    #[default]
    Release,
    /// Its updates too.
    Updated,
}

/// What there is to choose from.
#[derive(Debug, Default)]
pub struct Universe {
    listed: Vec<Listed>,
    by_name: HashMap<String, Vec<usize>>,
    /// Who provides a name, whether there is a package of that name or not.
    providers: HashMap<String, Vec<usize>>,
}

/// What is asked of an installation.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Packages of the base system, besides those that are required or important.
    pub base: Vec<String>,
    /// What the installer adds by itself, as far as the archive has it.
    pub system: Vec<String>,
    /// What it adds without what that recommends, as far as the archive has it.
    pub alone: Vec<String>,
    /// tasksel's tasks: those named as a priority are all packages of it, the others a package `task-…` each.
    pub tasks: Vec<String>,
    /// Further tasks that come by themselves, as far as the archive has them.
    pub further_tasks: Vec<String>,
    /// Further packages, by name.
    pub packages: Vec<String>,
}

/// What an installation takes.
#[derive(Debug, Default)]
pub struct Resolved<'u> {
    /// The packages, in the order of the indexes.
    pub packages: Vec<&'u Listed>,
    /// What was asked for, or is needed, and no suite has: as words for people.
    pub unmet: BTreeSet<String>,
}

impl Universe {
    /// Adds the packages of an index.
    pub fn add(&mut self, listed: Vec<Listed>) {
        for package in listed {
            let index = self.listed.len();
            for provided in groups(&package.provides).flatten() {
                self.providers.entry(provided.name.to_owned()).or_default().push(index);
            }
            self.by_name.entry(package.name.clone()).or_default().push(index);
            self.listed.push(package);
        }
    }

    /// Every package.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.listed.iter()
    }

    /// Today's file of a package that once was the file at this path of an archive: that file itself where it is still listed,
    /// else the newest of its name and architecture.
    pub fn today(&self, path: &str) -> Option<&Listed> {
        let (name, arch) = name_and_arch(path)?;
        let same = || self.by_name.get(name).into_iter().flatten().map(|&index| &self.listed[index]);
        let newest =
            || same().filter(|listed| listed.arch == arch).max_by(|a, b| version::compare(&a.version, &b.version));
        same().find(|listed| listed.path == path).or_else(newest)
    }

    /// What an installation takes.
    pub fn resolve(&self, asked: &Asked) -> Resolved<'_> {
        let mut installing = Installing::new(self);
        installing.debootstrap(&asked.base);
        installing.add_system(asked);
        installing.upgrade();
        installing.add_system(asked);
        installing.add_tasks(asked);
        installing.add(asked.packages.iter().map(String::as_str));
        let Installing { taken, unmet, .. } = installing;
        Resolved { packages: taken.into_iter().map(|index| &self.listed[index]).collect(), unmet }
    }

    /// The newest package of a name that a relation takes.
    fn newest(&self, wanted: &Alternative<'_>, world: World) -> Option<usize> {
        let known = self.by_name.get(wanted.name)?.iter().copied();
        let known =
            known.filter(|&index| self.listed[index].world <= world && wanted.takes(&self.listed[index].version));
        known.max_by(|&a, &b| {
            let order = version::compare(&self.listed[a].version, &self.listed[b].version);
            // The same version in two suites is one: that of the first.
            order.then(b.cmp(&a))
        })
    }

    /// The most important package that provides what a relation takes, in its newest version.
    fn provider(&self, wanted: &Alternative<'_>, world: World) -> Option<usize> {
        let known = self.providers.get(wanted.name)?.iter().copied();
        let able = known.filter(|&index| {
            let listed = &self.listed[index];
            let itself = Alternative { name: &listed.name, version: None };
            self.provides(index, wanted) && self.newest(&itself, world) == Some(index)
        });
        able.min_by_key(|&index| (self.listed[index].priority, &self.listed[index].name))
    }

    fn provides(&self, index: usize, wanted: &Alternative<'_>) -> bool {
        groups(&self.listed[index].provides).flatten().any(|provided| wanted.takes_provided(&provided))
    }
}

/// `pool/…/name_version_arch.deb`
fn name_and_arch(path: &str) -> Option<(&str, &str)> {
    let (stem, _suffix) = path.rsplit('/').next()?.rsplit_once('.')?;
    let (name, rest) = stem.split_once('_')?;
    Some((name, rest.rsplit_once('_')?.1))
}

/// A system that is being installed.
struct Installing<'u> {
    universe: &'u Universe,
    world: World,
    /// Whether packages that come in bring what they recommend.
    recommends: bool,
    installed: HashMap<&'u str, usize>,
    /// Those of the installed that were there before, or were asked for by name: apt sees them from the start, and prefers
    /// them to the first alternative. Which of the others it sees in time depends on its order, which is not followed here.
    firm: HashSet<&'u str>,
    /// Every file it took on the way.
    taken: BTreeSet<usize>,
    /// What has come in, but not yet what it needs; and whether what it recommends comes too.
    queue: VecDeque<(usize, bool)>,
    unmet: BTreeSet<String>,
}

impl<'u> Installing<'u> {
    fn new(universe: &'u Universe) -> Self {
        let (installed, firm, taken, queue, unmet) = Default::default();
        Self { universe, world: World::Release, recommends: false, installed, firm, taken, queue, unmet }
    }

    /// The base system.
    fn debootstrap(&mut self, further: &[String]) {
        let universe = self.universe;
        for (index, listed) in universe.listed.iter().enumerate() {
            if listed.world == World::Release && (listed.essential || listed.priority <= Priority::Important) {
                self.take(index, false);
            }
        }
        self.add_known(further);
        self.settle();
    }

    /// From here on updates are known, and what is installed is brought up to date.
    fn upgrade(&mut self) {
        self.world = World::Updated;
        let names: Vec<_> = self.installed.keys().copied().collect();
        for name in names {
            if let Some(newest) = self.universe.newest(&Alternative { name, version: None }, self.world) {
                // apt does not install what an installed package has recommended before.
                self.take(newest, false);
            }
        }
        self.settle();
    }

    /// Packages without which there is no installation.
    fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if !self.request(name) {
                self.unmet.insert(name.to_owned());
            }
        }
        self.settle();
    }

    /// Those of the packages that there are.
    fn add_known(&mut self, names: &[String]) {
        for name in names {
            self.request(name);
        }
        self.settle();
    }

    fn add_system(&mut self, asked: &Asked) {
        self.recommends = true;
        self.add_known(&asked.system);
        self.recommends = false;
        self.add_known(&asked.alone);
        self.recommends = true;
    }

    fn add_tasks(&mut self, asked: &Asked) {
        let universe = self.universe;
        for task in &asked.tasks {
            let Some(priority) = Priority::named(task) else {
                self.add([format!("task-{task}").as_str()]);
                continue;
            };
            let names = universe.listed.iter().filter(|listed| listed.priority == priority).map(|listed| &*listed.name);
            self.add(names.collect::<BTreeSet<_>>());
        }
        self.add_known(&asked.further_tasks.iter().map(|task| format!("task-{task}")).collect::<Vec<_>>());
    }

    /// Takes a package, or one that provides it; whether there is one.
    fn request(&mut self, name: &str) -> bool {
        let wanted = Alternative { name, version: None };
        let found = self.universe.newest(&wanted, self.world).or_else(|| self.universe.provider(&wanted, self.world));
        if let Some(index) = found {
            self.take(index, self.recommends);
            self.firm.insert(&self.universe.listed[index].name);
        }
        found.is_some()
    }

    fn take(&mut self, index: usize, recommends: bool) {
        let name = &*self.universe.listed[index].name;
        if self.installed.insert(name, index) != Some(index) {
            self.taken.insert(index);
            self.queue.push_back((index, recommends));
        }
    }

    /// Takes what has come in needs, until nothing is missing.
    fn settle(&mut self) {
        let universe = self.universe;
        while let Some((index, recommends)) = self.queue.pop_front() {
            let Listed { name, depends, recommends: recommended, .. } = &universe.listed[index];
            for group in groups(depends) {
                if !self.fulfil(&group) {
                    let names: Vec<_> = group.iter().map(|alternative| alternative.name).collect();
                    self.unmet.insert(format!("{}, which {name} needs", names.join(" or ")));
                }
            }
            if recommends {
                for group in groups(recommended) {
                    self.fulfil(&group);
                }
            }
        }
        self.firm = self.installed.keys().copied().collect();
    }

    /// Sees to it that one of the alternatives is there; whether one can be.
    fn fulfil(&mut self, group: &[Alternative<'_>]) -> bool {
        if group.iter().any(|wanted| self.installed(wanted).any(|name| self.firm.contains(name))) {
            return true;
        }
        for wanted in group {
            if self.installed(wanted).next().is_some() {
                return true;
            }
            let (universe, world) = (self.universe, self.world);
            if let Some(index) = universe.newest(wanted, world).or_else(|| universe.provider(wanted, world)) {
                self.take(index, self.recommends);
                return true;
            }
        }
        false
    }

    /// The names of the installed packages that are what a relation wants, or provide it.
    fn installed(&self, wanted: &Alternative<'_>) -> impl Iterator<Item = &'u str> {
        let universe = self.universe;
        let itself = self.installed.get_key_value(wanted.name);
        let itself = itself.filter(|(_, index)| wanted.takes(&universe.listed[**index].version)).map(|(name, _)| *name);
        let providers = universe.providers.get(wanted.name).into_iter().flatten();
        let providers = providers.filter(|&&index| universe.provides(index, wanted));
        let names = providers.map(|&index| (&*universe.listed[index].name, index));
        itself
            .into_iter()
            .chain(names.filter(|(name, index)| self.installed.get(name) == Some(index)).map(|(name, _)| name))
    }
}
