//! Which packages are taken for a dependency that several could meet.

use std::collections::BTreeMap;

use super::{HEDGE, Need, Resolving, Taken};
use crate::fetch::rpm::{dependency::Dependency, pool::At, version};

impl<'a> Resolving<'a> {
    /// Whether what is taken meets it, as surely as this.
    pub(super) fn is_met(&self, what: &Dependency, taken: Taken) -> bool {
        match what {
            Dependency::All(all) => all.iter().all(|what| self.is_met(what, taken)),
            Dependency::Either(all) => all.iter().any(|what| self.is_met(what, taken)),
            Dependency::If(then, condition, other) => {
                let other = || other.as_ref().is_none_or(|other| self.is_met(other, taken));
                if self.is_met(condition, Taken::Maybe) { self.is_met(then, taken) && other() } else { other() }
            }
            Dependency::Unless(then, condition, other) => {
                if self.is_met(condition, Taken::Maybe) {
                    other.as_ref().is_none_or(|other| self.is_met(other, taken))
                } else {
                    self.is_met(then, taken)
                }
            }
            Dependency::One { .. } | Dependency::With(_) | Dependency::Without(..) => {
                self.meeting(what).iter().any(|(at, _)| self.taken[*at as usize] >= taken)
            }
        }
    }

    /// Whatever meets it by itself, in any version of each package, with the version that it is provided in.
    fn meeting(&self, what: &Dependency) -> Vec<(At, &'a str)> {
        match what {
            Dependency::One { name, op, version } => self.pool.providers(name, *op, version),
            Dependency::Either(all) => all.iter().flat_map(|what| self.meeting(what)).collect(),
            Dependency::With(all) => {
                let Some((first, others)) = all.split_first() else { return Vec::new() };
                others.iter().fold(self.meeting(first), |mut meeting, other| {
                    let also = self.meeting(other);
                    meeting.retain(|(at, _)| also.iter().any(|(other, _)| other == at));
                    meeting
                })
            }
            Dependency::Without(what, except) => {
                let except = self.meeting(except);
                let mut meeting = self.meeting(what);
                meeting.retain(|(at, _)| !except.iter().any(|(other, _)| other == at));
                meeting
            }
            // Several packages together meet these.
            Dependency::All(_) | Dependency::If(..) | Dependency::Unless(..) => Vec::new(),
        }
    }

    /// What could be taken to meet it: of each name one package.
    pub(super) fn candidates(&self, what: &Dependency) -> Vec<(At, &'a str)> {
        let mut by_name = BTreeMap::<&str, Vec<(At, &'a str)>>::new();
        for (at, version) in self.meeting(what).into_iter().filter(|(at, _)| !self.excluded[*at as usize]) {
            by_name.entry(self.pool.name(at)).or_default().push((at, version));
        }
        let best = by_name.into_values().filter_map(|versions| {
            let best = self.pool.best(versions.iter().map(|(at, _)| *at))?;
            versions.into_iter().find(|(at, _)| *at == best)
        });
        best.collect()
    }

    /// Takes what meets it.
    pub(super) fn choose(&mut self, what: &Dependency, need: Need) {
        if self.is_met(what, Taken::Surely) {
            return;
        }
        let candidates = self.candidates(what);
        let (chosen, taken) = match candidates.len() {
            0 => return self.branch(what, need),
            1 if need.sure => (vec![candidates[0].0], Taken::Surely),
            1..=HEDGE => (candidates.iter().map(|(at, _)| *at).collect(), Taken::Maybe),
            _ => (self.likely(what, &candidates), Taken::Maybe),
        };
        chosen.into_iter().for_each(|at| self.take(at, taken));
    }

    /// Of many candidates those that a solver may take: what is recommended, is taken already, is of the same name, has the
    /// highest version of it; else the first of the metadata (libsolv), or the one of the shortest name (which packagers have
    /// counted on since yum).
    fn likely(&self, what: &Dependency, candidates: &[(At, &str)]) -> Vec<At> {
        let length = |at: At| self.pool.name(at).len();
        let is_named = |at: At| matches!(what, Dependency::One { name, .. } if name == self.pool.name(at));
        let likely = candidates
            .iter()
            .filter(|(at, _)| self.recommended[*at as usize] || self.taken[*at as usize] > Taken::No || is_named(*at));
        let highest = candidates.iter().max_by(|a, b| version::compare(a.1, b.1).then(b.0.cmp(&a.0)));
        let newest = candidates.iter().filter(|(at, _)| self.pool.is_newest(*at));
        let first = newest.clone().min_by_key(|(at, _)| *at);
        let shortest = newest.min_by_key(|(at, _)| (length(*at), *at));
        likely.chain(highest).chain(first).chain(shortest).map(|(at, _)| *at).collect()
    }

    /// Nothing meets it by itself: of `(a or (b and c))` the first side that can be met.
    fn branch(&mut self, what: &Dependency, need: Need) {
        let sides = if let Dependency::Either(sides) = what { &sides[..] } else { &[] };
        if let Some(side) = sides.iter().find(|side| self.can_be_met(side)) {
            self.need(side.clone(), need);
        } else if need.required && need.sure {
            self.unmet.insert(format!("no repository has {what}"));
        }
    }

    fn can_be_met(&self, what: &Dependency) -> bool {
        match what {
            Dependency::All(all) => all.iter().all(|what| self.can_be_met(what)),
            Dependency::Either(all) => all.iter().any(|what| self.can_be_met(what)),
            Dependency::If(then, _, _) | Dependency::Unless(then, _, _) => self.can_be_met(then),
            _ => !self.candidates(what).is_empty(),
        }
    }

    /// Asks again for what was needed only where something else is. Whether there was anything.
    pub(super) fn meet_conditions(&mut self) -> bool {
        let (met, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.conditional)
            .into_iter()
            .partition(|(condition, ..)| self.is_met(condition, Taken::Maybe));
        self.conditional = open;
        let any = !met.is_empty();
        met.into_iter().for_each(|(_, what, need)| self.need(what, need));
        any
    }
}
