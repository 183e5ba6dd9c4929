//! Which packages an installation downloads, worked out from verified metadata.
//!
//! It is not a solver: nothing conflicts here. It takes what a solver takes, and where a solver has a choice that cannot be
//! foretold it takes a few packages too many, so that what dnf installs is a part of it. What it takes without being sure counts
//! where something is needed only beside it, and does not where something is needed in any case:
//!
//! - what is asked for, and what the installer adds, in the newest version of all repositories;
//! - what these require, as far as one package only provides it; then, where several do and none is taken yet, a choice
//!   (`choice.rs`): that is the order in which libsolv decides;
//! - then what is recommended, and what supplements what is taken, with all that these require.
//!
//! Not followed: `Suggests` and `Enhances`, as in dnf; supplements by hardware (`modalias(…)`), which no package provides; files
//! that `primary.xml` does not list, which is most of them outside of `/etc` and `bin`: who needs one is named in
//! [`Resolved::unmet`]. Module streams are as good as not enabled.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use anyhow::Context as _;

use super::{
    comps::{self, Comps, Member},
    dependency::{Dependency, Op},
    pool::{At, Pool, Says},
    snapshot::Snapshot,
};
use crate::fetch::digest::Expected;

mod asked;
mod choice;

pub use asked::Asked;

/// So many providers of one thing are all taken, where nothing says which of them it will be.
const HEDGE: usize = 4;

/// What an installation downloads.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The packages: the place of the repository, the path below it, and what the file has to be. In order.
    pub files: Vec<(usize, String, Expected)>,
    /// What nothing in the repositories is or provides, in words.
    pub unmet: Vec<String>,
}

/// Works it out from the repositories' metadata on the disk. Blocking: some seconds for the largest repositories.
///
/// # Errors
/// Metadata that cannot be read, which was verified and read when the states were taken.
pub fn resolve(repos: &[Snapshot], asked: &Asked) -> anyhow::Result<Resolved> {
    let (mut pool, mut comps) = (Pool::new(&asked.arch), Comps::default());
    for (repo, snapshot) in repos.iter().enumerate() {
        let (file, listed) = snapshot.primary_file();
        pool.add(repo, file, &listed.path).context("reading the list of packages (primary)")?;
        if let Some((file, listed)) = snapshot.groups_file() {
            comps.add(comps::read(file, listed).context("reading the list of groups (comps)")?);
        }
    }
    pool.index();
    let (taken, unmet) = resolve_in(&pool, &comps, asked);
    let mut files = Vec::new();
    for at in taken {
        let (repo, path) = (pool.get(at).repo, pool.path(at));
        let expected = repos[repo].find(path).with_context(|| format!("{path} is not in its repository's list"))?;
        files.push((repo, path.to_owned(), expected));
    }
    files.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(Resolved { files, unmet })
}

/// The packages that are taken, and what nothing provides.
fn resolve_in(pool: &Pool, comps: &Comps, asked: &Asked) -> (Vec<At>, Vec<String>) {
    let mut resolving = Resolving::new(pool);
    resolving.exclude(&asked.excluded);
    resolving.ask(comps, asked);
    resolving.run(asked.weak);
    let taken = pool.all().filter(|at| resolving.taken[*at as usize] > Taken::No).collect();
    (taken, resolving.unmet.into_iter().collect())
}

/// How much something is needed.
#[derive(Clone, Copy)]
struct Need {
    /// Otherwise it is welcome.
    required: bool,
    /// Whether a solver needs it, too, whatever it chooses.
    sure: bool,
}

/// Whether a solver takes a package, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    No,
    /// It may.
    Maybe,
    /// Whatever it chooses elsewhere.
    Surely,
}

struct Resolving<'a> {
    pool: &'a Pool,
    /// What takes the place of packages, by their names.
    replacing: HashMap<String, Vec<(At, Dependency)>>,
    excluded: Vec<bool>,
    taken: Vec<Taken>,
    /// Taken, and not looked at yet.
    fresh: Vec<At>,
    /// Looked at, but for what it recommends.
    unfollowed: Vec<At>,
    /// What something that is taken recommends: a reason to choose it.
    recommended: Vec<bool>,
    /// What several could meet.
    choices: VecDeque<(Dependency, Need)>,
    /// What is needed only where something else is: that first.
    conditional: Vec<(Dependency, Dependency, Need)>,
    unmet: BTreeSet<String>,
}

impl<'a> Resolving<'a> {
    fn new(pool: &'a Pool) -> Self {
        let (fresh, unfollowed, choices, conditional, unmet) = Default::default();
        let (excluded, recommended) = (vec![false; pool.len()], vec![false; pool.len()]);
        let taken = vec![Taken::No; pool.len()];
        let mut replacing = HashMap::<_, Vec<_>>::new();
        for at in pool.all() {
            for what in pool.said(at, Says::Obsoletes).filter(|_| pool.is_newest(at)) {
                if let Dependency::One { name, .. } = &what
                    && name != pool.name(at)
                {
                    replacing.entry(name.clone()).or_default().push((at, what));
                }
            }
        }
        Self { pool, replacing, excluded, taken, fresh, unfollowed, recommended, choices, conditional, unmet }
    }

    /// Of a group that is not wanted the packages are only not asked for: something else may need them.
    fn exclude(&mut self, excluded: &[String]) {
        for at in excluded.iter().flat_map(|name| self.pool.named(name)) {
            self.excluded[at as usize] = true;
        }
    }

    fn ask(&mut self, comps: &Comps, asked: &Asked) {
        let out = |group: &str| asked.excluded.iter().any(|what| what.strip_prefix('@') == Some(group));
        let mut groups: Vec<&String> = asked.groups.iter().collect();
        for id in &asked.environments {
            match comps.environment(id) {
                Some(of) => groups.extend(of.iter().filter(|group| !out(group))),
                None => drop(self.unmet.insert(format!("no repository has the environment {id}"))),
            }
        }
        for group in groups {
            match comps.group(group) {
                Some(members) => self.take_group(members),
                None => drop(self.unmet.insert(format!("no repository has the group {group}"))),
            }
        }
        for name in &asked.packages {
            if !self.take_named(name) {
                self.unmet.insert(format!("no repository has the package {name}"));
            }
        }
        for what in &asked.added {
            match what.strip_prefix('@') {
                Some(group) => self.take_group(comps.group(group).unwrap_or_default()),
                // What this release or architecture does not have, its installer does not ask for.
                None => drop(self.take_named(what)),
            }
        }
        for locale in &asked.languages {
            let names = asked::language_packs(locale);
            names.iter().any(|name| self.take_named(name));
        }
    }

    /// Lists of groups name packages that other architectures have: those are not missing.
    fn take_group(&mut self, members: &[Member]) {
        for member in members {
            match member {
                Member::Always(name) => drop(self.take_named(name)),
                Member::Where(name, other) => {
                    let need = Need { required: false, sure: false };
                    self.conditional.push((Dependency::on(other), Dependency::on(name), need));
                }
            }
        }
    }

    /// Takes the package of a name, or what provides that; and what takes its place besides. Whether there was any.
    fn take_named(&mut self, name: &str) -> bool {
        let mut by_name = BTreeMap::<&str, Vec<At>>::new();
        for at in self.pool.named(name).into_iter().filter(|at| !self.excluded[*at as usize]) {
            by_name.entry(self.pool.name(at)).or_default().push(at);
        }
        if by_name.is_empty() {
            let on_purpose = !self.pool.named(name).is_empty();
            let provided = !on_purpose && !self.pool.providers(name, Op::Any, "").is_empty();
            if provided {
                self.need(Dependency::on(name), Need { required: true, sure: true });
            }
            return on_purpose || provided;
        }
        for at in by_name.into_values().filter_map(|versions| self.pool.best(versions)) {
            // What takes its place, such as a package's new name, dnf installs instead.
            let replacing = self.replacing.get(self.pool.name(at)).cloned().unwrap_or_default();
            let others: Vec<_> = replacing
                .into_iter()
                .filter(|(other, what)| !self.excluded[*other as usize] && self.pool.is(at, what))
                .collect();
            let taken = if others.is_empty() { Taken::Surely } else { Taken::Maybe };
            self.take(at, taken);
            others.into_iter().for_each(|(other, _)| self.take(other, taken));
        }
        true
    }

    /// Takes it, or is surer of it than before: then what it needs is surer, too.
    fn take(&mut self, at: At, taken: Taken) {
        if self.taken[at as usize] < taken {
            self.taken[at as usize] = taken;
            self.fresh.push(at);
        }
    }

    fn run(&mut self, weak: bool) {
        let supplements: Vec<_> = self.supplements().filter(|_| weak).collect();
        loop {
            if let Some(at) = self.fresh.pop() {
                self.look_at(at, weak);
            } else if let Some((what, need)) = self.choices.pop_front() {
                self.choose(&what, need);
            } else if !self.meet_conditions() {
                let recommending = std::mem::take(&mut self.unfollowed);
                for at in &recommending {
                    let need = Need { required: false, sure: self.taken[*at as usize] == Taken::Surely };
                    self.pool.said(*at, Says::Recommends).for_each(|what| self.need(what, need));
                }
                for (at, what) in &supplements {
                    if self.is_met(what, Taken::Maybe) {
                        let sure = self.is_met(what, Taken::Surely);
                        self.take(*at, if sure { Taken::Surely } else { Taken::Maybe });
                    }
                }
                if self.fresh.is_empty() && self.choices.is_empty() && recommending.is_empty() {
                    return;
                }
            }
        }
    }

    /// What supplements other packages: the newest of each name, with what it supplements.
    fn supplements(&self) -> impl Iterator<Item = (At, Dependency)> {
        let pool = self.pool;
        let of = move |at| pool.said(at, Says::Supplements).map(move |what| (at, what));
        let some = pool.all().filter(|at| !self.excluded[*at as usize]).flat_map(of);
        some.filter(move |(at, _)| pool.is_newest(*at))
    }

    fn look_at(&mut self, at: At, weak: bool) {
        let need = Need { required: true, sure: self.taken[at as usize] == Taken::Surely };
        self.pool.said(at, Says::Requires).for_each(|what| self.need(what, need));
        if weak {
            for what in self.pool.said(at, Says::Recommends) {
                for (at, _) in self.candidates(&what) {
                    self.recommended[at as usize] = true;
                }
            }
            self.unfollowed.push(at);
        }
    }

    /// Sees to it that something is met: at once where there is no choice.
    fn need(&mut self, what: Dependency, need: Need) {
        match what {
            Dependency::All(all) => all.into_iter().for_each(|what| self.need(what, need)),
            Dependency::If(then, condition, other) => {
                // Otherwise is taken in any case: whether the condition holds is known only in the end.
                other.into_iter().for_each(|other| self.need(*other, Need { sure: false, ..need }));
                self.conditional.push((*condition, *then, Need { sure: false, ..need }));
            }
            Dependency::Unless(then, condition, other) => {
                self.need(*then, Need { sure: false, ..need });
                self.conditional.extend(other.map(|other| (*condition, *other, Need { sure: false, ..need })));
            }
            what if self.is_met(&what, Taken::Surely) => {}
            what => {
                let names: BTreeSet<_> = self.candidates(&what).iter().map(|(at, _)| self.pool.name(*at)).collect();
                match names.len() {
                    0 | 1 => self.choose(&what, need),
                    _ => self.choices.push_back((what, need)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
