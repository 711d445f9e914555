//! The last committed changes in memory: readers who have caught up cost PostgreSQL nothing (RECORD 16).
//!
//! It serves a reader only if it holds the very next change; it is bounded in bytes and holds its lock only to move
//! a few pointers, so it never blocks the committer.

use crate::Change;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// One committed batch, gapless inside and from one to the next.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub changes: Vec<Change>,
    /// Why each was done, for the transparency log's leaves.
    pub purposes: Vec<Arc<str>>,
    bytes: usize,
}

impl Stretch {
    pub(crate) fn new(changes: Vec<Change>, purposes: Vec<Arc<str>>) -> Self {
        let bytes = changes.iter().map(|change| change.stored.len() + 256).sum();
        Self { changes, purposes, bytes }
    }
    fn first(&self) -> u64 {
        self.changes.first().map_or(u64::MAX, |change| change.position.n)
    }
    fn last(&self) -> u64 {
        self.changes.last().map_or(0, |change| change.position.n)
    }
}

#[derive(Debug, Default)]
struct Held {
    stretches: VecDeque<Arc<Stretch>>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Ring {
    held: Mutex<Held>,
    limit: usize,
}

impl Ring {
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: Mutex::default(), limit }
    }

    pub(crate) fn push(&self, stretch: Stretch) {
        if stretch.changes.is_empty() {
            return;
        }
        let mut held = self.held.lock();
        let follows = held.stretches.back().is_none_or(|last| last.last() + 1 == stretch.first());
        if !follows {
            *held = Held::default();
        }
        held.bytes += stretch.bytes;
        held.stretches.push_back(Arc::new(stretch));
        while held.bytes > self.limit {
            let Some(oldest) = held.stretches.pop_front() else { break };
            held.bytes -= oldest.bytes;
        }
    }

    /// Forgets everything: what follows is not known to join on.
    pub(crate) fn clear(&self) {
        *self.held.lock() = Held::default();
    }

    /// Stretches that hold what follows `after`, at least `limit` changes if there are so many. `None`: the next
    /// change is not here (not yet, or no longer).
    pub(crate) fn after(&self, after: u64, limit: usize) -> Option<Vec<Arc<Stretch>>> {
        let held = self.held.lock();
        let start = held.stretches.partition_point(|stretch| stretch.last() <= after);
        let first = held.stretches.get(start)?;
        if first.first() > after + 1 {
            return None;
        }
        let mut left = limit.saturating_add(usize::try_from(after + 1 - first.first()).unwrap_or(0));
        let mut found = Vec::new();
        for stretch in held.stretches.range(start..) {
            found.push(stretch.clone());
            left = left.saturating_sub(stretch.changes.len());
            if left == 0 {
                break;
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChangeAction;
    use bytes::Bytes;
    use model::{Class, Incarnation, Kind, Position, ResourceKey, Shard, Tenant};

    fn stretch(from: u64, to: u64) -> Stretch {
        let incarnation = Incarnation { ordinal: 1, random: 1 };
        let change = |n| Change {
            position: Position { shard: Shard(0), incarnation, n },
            hlc: n,
            key: ResourceKey::new(&Tenant::new("t").unwrap(), Kind::Intent, "i").unwrap(),
            version: n,
            class: Class::Internal,
            action: ChangeAction::Updated,
            principal: "p".into(),
            content_tag: [0; 32],
            stored: Bytes::from_static(&[0; 744]),
        };
        Stretch::new((from..=to).map(change).collect(), vec!["".into(); (to + 1 - from) as usize])
    }
    fn numbers(found: &[Arc<Stretch>]) -> Vec<u64> {
        found.iter().flat_map(|stretch| &stretch.changes).map(|change| change.position.n).collect()
    }

    #[test]
    fn only_a_reader_who_stands_right_before_is_served() {
        let ring = Ring::new(1 << 20);
        assert!(ring.after(0, 10).is_none());
        ring.push(stretch(5, 7));
        ring.push(stretch(8, 8));
        assert!(ring.after(3, 10).is_none(), "4 is not here");
        assert_eq!(numbers(&ring.after(4, 10).unwrap()), [5, 6, 7, 8]);
        assert_eq!(numbers(&ring.after(5, 1).unwrap()), [5, 6, 7], "whole stretches, the caller cuts");
        assert_eq!(numbers(&ring.after(6, 2).unwrap()), [5, 6, 7, 8]);
        assert!(ring.after(8, 10).is_none(), "caught up");
    }

    #[test]
    fn its_bytes_are_bounded_and_a_gap_empties_it() {
        let ring = Ring::new(3_000);
        for n in 1..=10 {
            ring.push(stretch(n, n));
        }
        assert!(ring.after(6, 10).is_none());
        assert_eq!(numbers(&ring.after(7, 10).unwrap()), [8, 9, 10]);
        ring.push(stretch(20, 20));
        assert!(ring.after(9, 10).is_none());
        assert_eq!(numbers(&ring.after(19, 10).unwrap()), [20]);
    }
}
