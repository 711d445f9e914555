//! Two sides of a range, narrowed to the keys that differ: the record's entries against what a copy holds.

use model::{Position, ResourceKey, Result};
use stores::{Entry, KeyRange, Projection, digest::of_range};

/// Ranges of fewer keys are compared key by key.
const SMALL: usize = 64;
/// Differing keys that are named; all are counted.
pub(crate) const NAMED: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// In the record, not in the copy.
    Missing,
    /// In the copy, not in the record.
    Unexpected,
    /// In both, with other content.
    Different,
}

impl What {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Different => "different",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub key: ResourceKey,
    pub what: What,
    /// Positions on the record's side and on the copy's.
    pub record: Option<Position>,
    pub copy: Option<Position>,
}

#[derive(Debug, Default)]
pub struct Found {
    pub count: u64,
    pub named: Vec<Difference>,
}

impl Found {
    pub(crate) fn add(&mut self, what: What, record: Option<&Entry>, copy: Option<&Entry>) {
        let Some(key) = record.or(copy).map(|entry| entry.key.clone()) else { return };
        self.count += 1;
        if self.named.len() < NAMED {
            let position = |entry: Option<&Entry>| entry.map(|entry| entry.position);
            self.named.push(Difference { key, what, record: position(record), copy: position(copy) });
        }
    }
}

/// `expected`: what the copy should hold, sorted by (place, key).
pub fn compare(copy: &dyn Projection, expected: &[Entry], range: KeyRange, found: &mut Found) -> Result<()> {
    let from = expected.partition_point(|entry| entry.place < range.first);
    let to = expected.partition_point(|entry| entry.place <= range.last);
    let ours = &expected[from..to];
    let theirs = copy.digest(range)?;
    if of_range(ours) == theirs {
        return Ok(());
    }
    if ours.len() <= SMALL && theirs.keys <= SMALL as u64 || range.first == range.last {
        one_by_one(ours, &copy.entries(range)?, found);
        return Ok(());
    }
    range.parts().into_iter().try_for_each(|part| compare(copy, expected, part, found))
}

fn one_by_one(ours: &[Entry], theirs: &[Entry], found: &mut Found) {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    loop {
        match (ours.peek(), theirs.peek()) {
            (None, None) => return,
            (Some(own), Some(other)) if own.key == other.key => {
                if own != other {
                    found.add(What::Different, Some(own), Some(other));
                }
                ours.next();
                theirs.next();
            }
            (Some(own), other) if other.is_none_or(|other| (own.place, &own.key) < (other.place, &other.key)) => {
                found.add(What::Missing, Some(own), None);
                ours.next();
            }
            (_, other) => {
                found.add(What::Unexpected, None, other.copied());
                theirs.next();
            }
        }
    }
}
