//! A copy against the record, key by key, at one position, in bounded memory.
//!
//! What the copy should hold is read page by page and remembered as digests; where these are too many, the places of
//! the keys are gone through in several passes, each at a position of its own.

use crate::{
    blocking,
    compare::{self, Found},
    copy::{Copy, Cursor, Verified},
    feed::{State, Unshaped},
    walk::Walk,
};
use model::{Error, Position, ResourceKey, Result};
use std::{collections::BTreeMap, sync::Arc};
use stores::{Entry, KeyRange, digest};

/// Entries of one pass: some 60 MB.
const PASS_MOST: usize = 250_000;

type Entries = BTreeMap<(u64, ResourceKey), Entry>;

/// What a copy should hold of a range.
#[derive(Debug)]
struct Expected {
    range: KeyRange,
    entries: Entries,
    unshaped: Unshaped,
    most: usize,
}

impl Expected {
    fn new(first: u64, most: usize) -> Self {
        let range = KeyRange { first, last: u64::MAX };
        Self { range, entries: Entries::new(), unshaped: Unshaped::new(), most }
    }

    fn wants(&self, key: &ResourceKey) -> bool {
        self.range.contains(digest::place(key))
    }

    /// Too many: the upper half of the range is left to the next pass.
    fn set(&mut self, entry: Entry) {
        if !self.range.contains(entry.place) {
            return;
        }
        let at = (entry.place, entry.key.clone());
        if entry.objects == 0 {
            self.entries.remove(&at);
        } else {
            self.entries.insert(at, entry);
        }
        while self.entries.len() > self.most && self.range.first < self.range.last {
            self.range.last = self.range.first + (self.range.last - self.range.first) / 2;
            let last = self.range.last;
            self.entries.retain(|(place, _), _| *place <= last);
            self.unshaped.retain(|key, _| digest::place(key) <= last);
        }
    }
}

impl Copy {
    pub async fn verify(&self) -> Result<Verified> {
        let mut cursor = self.turn().await?;
        self.compared(&mut cursor).await
    }

    pub(crate) async fn compared(&self, cursor: &mut Cursor) -> Result<Verified> {
        let held = self.held();
        let mut verified = Verified::new(self.name(), held.generation(), self.start()?);
        let (mut first, mut found) = (0, Found::default());
        loop {
            let (expected, head) = self.expected(first).await?;
            self.bring_to(cursor, head).await?;
            self.going_on()?;
            verified.position = head;
            verified.add(&expected.entries, &expected.unshaped);
            let (held, last) = (Arc::clone(&held), expected.range.last);
            found = blocking(move || {
                let entries: Vec<Entry> = expected.entries.into_values().collect();
                compare::compare(&*held, &entries, expected.range, &mut found)?;
                Ok(found)
            })
            .await?;
            if last == u64::MAX {
                break;
            }
            first = last + 1;
        }
        (verified.differing, verified.differences) = (found.count, found.named);
        Ok(verified)
    }

    /// What the copy should hold from this place on, and the position at which it should.
    async fn expected(&self, first: u64) -> Result<(Expected, Position)> {
        let mut expected = Expected::new(first, PASS_MOST);
        let start = self.start()?;
        let mut walk = Walk::new(&self.ledger, self.shaper.kind()).await?;
        while let Some(states) = walk.next().await? {
            expected = self.expect(expected, states).await?;
        }
        let head = self.ledger.head().await?;
        let mut at = start;
        while let Some((states, through)) = self.changes(Some(at), Some(head)).await? {
            expected = self.expect(expected, states).await?;
            at = through;
        }
        Ok((expected, head))
    }

    async fn expect(&self, mut expected: Expected, states: Vec<State>) -> Result<Expected> {
        self.going_on()?;
        let feed = self.feed();
        blocking(move || {
            let wanted: Vec<State> = states.into_iter().filter(|state| expected.wants(state.key())).collect();
            let mut unshaped = std::mem::take(&mut expected.unshaped);
            let shaped = feed.shaped(&wanted, &mut unshaped);
            let entries = shaped.map(|change| change.map(|change| digest::of_change(&change)));
            let entries = entries.collect::<Result<Vec<Entry>>>();
            expected.unshaped = unshaped;
            entries?.into_iter().for_each(|entry| expected.set(entry));
            Ok(expected)
        })
        .await
    }

    /// The copy at exactly this position, in this life of the log.
    pub(crate) async fn bring_to(&self, cursor: &mut Cursor, head: Position) -> Result<()> {
        while cursor.at != Some(head) {
            self.going_on()?;
            if !self.step(cursor, Some(head)).await? {
                let what = "a copy is not where the record is, and nothing leads it there";
                return Err(Error::bug(what).with("head", head));
            }
        }
        Ok(())
    }
}

impl Verified {
    fn new(name: &'static str, generation: u64, position: Position) -> Self {
        let (keys, objects, differing, unshaped) = (0, 0, 0, 0);
        let (differences, unshaped_named) = (Vec::new(), Vec::new());
        Self { name, generation, position, keys, objects, differing, differences, unshaped, unshaped_named }
    }

    fn add(&mut self, entries: &Entries, unshaped: &Unshaped) {
        self.keys += entries.len() as u64;
        self.objects += entries.values().map(|entry| u64::from(entry.objects)).sum::<u64>();
        self.unshaped += unshaped.len() as u64;
        let room = compare::NAMED.saturating_sub(self.unshaped_named.len());
        self.unshaped_named.extend(unshaped.iter().take(room).map(|(key, code)| (key.clone(), *code)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::{Incarnation, Kind, Shard, Tenant};

    #[test]
    fn passes_hold_no_more_than_they_may_and_miss_nothing() {
        let incarnation = Incarnation { ordinal: 1, random: 7 };
        let position = Position { shard: Shard(0), incarnation, n: 1 };
        let tenant = Tenant::new("t").unwrap();
        let key = |n: usize| ResourceKey::new(&tenant, Kind::KnowledgeDocument, &format!("d{n}")).unwrap();
        let all: Vec<Entry> = (0..1_000).map(|n| digest::entry(&key(n), 1, position, &[[0; 32]])).collect();
        let (mut first, mut seen, mut passes) = (0, Vec::new(), 0);
        loop {
            let mut expected = Expected::new(first, 100);
            for entry in &all {
                expected.set(entry.clone());
                assert!(expected.entries.len() <= 100);
            }
            passes += 1;
            seen.extend(expected.entries.into_values());
            if expected.range.last == u64::MAX {
                break;
            }
            first = expected.range.last + 1;
        }
        assert!((10..=32).contains(&passes), "{passes}");
        let mut sorted = all;
        sorted.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        assert_eq!(seen, sorted);
    }
}
