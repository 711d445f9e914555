//! Members by name where every member of one object is looked up in another: never quadratic.

use super::{Json, Member};

/// Below this, looking is faster than sorting.
const LOOK_MEMBERS: usize = 32;

pub(crate) enum Lookup<'a> {
    Few(&'a [Member]),
    Sorted(Vec<&'a Member>),
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(members: &'a [Member]) -> Self {
        if members.len() <= LOOK_MEMBERS {
            return Self::Few(members);
        }
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self::Sorted(sorted)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Json> {
        match self {
            Self::Few(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            Self::Sorted(members) => {
                let at = members.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
                Some(&members[at].1)
            }
        }
    }
}
