//! Strings under numbers: a large repository repeats few of them millions of times.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

use anyhow::Context as _;

/// The number of a string.
pub type Id = u32;

/// Every string once, end to end, and a table of them that is at most half full.
pub struct Names {
    text: String,
    /// Where each string ends; the next one begins there.
    ends: Vec<u32>,
    /// Numbers by hash, one more than they are: 0 is free.
    slots: Vec<u32>,
    hasher: RandomState,
}

impl Names {
    /// None yet.
    pub fn new() -> Self {
        Self { text: String::new(), ends: Vec::new(), slots: vec![0; 1 << 10], hasher: RandomState::new() }
    }

    /// The number of a string, which is kept.
    ///
    /// # Errors
    /// More than 4 GiB of strings.
    pub fn keep(&mut self, name: &str) -> anyhow::Result<Id> {
        let slot = self.slot(name);
        if let Some(id) = self.slots[slot].checked_sub(1) {
            return Ok(id);
        }
        self.text.push_str(name);
        self.ends.push(u32::try_from(self.text.len()).context("its names are longer than 4 GiB")?);
        let id = u32::try_from(self.ends.len() - 1).context("it has too many names")?;
        self.slots[slot] = id + 1;
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        }
        Ok(id)
    }

    /// The number of a string, if it was kept.
    pub fn find(&self, name: &str) -> Option<Id> {
        self.slots[self.slot(name)].checked_sub(1)
    }

    /// The string of a number that [`Names::keep`] gave.
    pub fn text(&self, id: Id) -> &str {
        let id = id as usize;
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[id] as usize]
    }

    /// Where a string is, or has its free place.
    fn slot(&self, name: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = usize::try_from(self.hasher.hash_one(name) & mask as u64).expect("it is below a length");
        loop {
            match self.slots[slot].checked_sub(1) {
                Some(id) if self.text(id) != name => slot = (slot + 1) & mask,
                _ => return slot,
            }
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for id in 0..self.ends.len() {
            let id = u32::try_from(id).expect("it was a number when it was kept");
            let hash = self.hasher.hash_one(self.text(id));
            let mut slot = usize::try_from(hash & mask as u64).expect("it is below a length");
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = id + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_has_one_number() {
        let mut names = Names::new();
        let name = |number: u32| format!("name-{number}");
        let ids: Vec<_> = (0..5000).map(|number| names.keep(&name(number)).expect("few")).collect();
        for (number, id) in (0..).zip(&ids) {
            assert_eq!(names.keep(&name(number)).expect("known"), *id);
            assert_eq!((names.find(&name(number)), names.text(*id)), (Some(*id), name(number).as_str()));
        }
        assert_eq!(names.find("name-5000"), None);
        let empty = names.keep("").expect("short");
        assert_eq!((names.text(empty), names.find("")), ("", Some(empty)));
    }
}
