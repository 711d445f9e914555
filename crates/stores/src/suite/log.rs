//! A made-up change log, what a copy should hold of it, and the ways in which it may be delivered.

use super::Backend;
use crate::{ChangeBatch, CopyChange, Entry, digest};
use model::{Incarnation, Kind, Position, ResourceKey, Result, Shard, Subject, Tenant};
use std::collections::BTreeMap;

const KEYS: u64 = 14;
/// Customers that the keys belong to.
pub const SUBJECTS: [&str; 3] = ["customer-of-rain", "customer-of-snow", "customer-of-wind"];

/// Changes in the order of their positions, from 1 without a gap.
#[derive(Debug, Clone)]
pub struct Log {
    pub changes: Vec<CopyChange>,
}

/// A fixed sequence that looks like chance.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

pub fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 5 }, n }
}

impl Log {
    /// Every fifth change removes its key.
    pub fn new(backend: &Backend, count: u64, seed: u64) -> Result<Self> {
        let (tenants, mut dice) = ([Tenant::new("acme")?, Tenant::new("zeta")?], Dice(seed));
        let (mut changes, mut versions) = (Vec::new(), BTreeMap::<u64, u64>::new());
        for n in 1..=count {
            let (number, removed) = (dice.below(KEYS), dice.below(5) == 0);
            let tenant = &tenants[usize::from(number % 3 == 0)];
            let version = *versions.entry(number).and_modify(|version| *version += 1).or_insert(1);
            let customer = SUBJECTS[usize::try_from(number).unwrap_or(0) % SUBJECTS.len()];
            changes.push(CopyChange {
                position: at(n),
                key: ResourceKey::new(tenant, Kind::KnowledgeDocument, &format!("document-{number}"))?,
                version,
                class: backend.classes[usize::from(!number.is_multiple_of(2))],
                subject: Subject::of_customer(tenant, customer)?,
                objects: if removed { Vec::new() } else { (backend.objects)(seed.wrapping_add(n)) },
            });
        }
        Ok(Self { changes })
    }

    pub fn last(&self) -> Position {
        at(self.changes.len() as u64)
    }

    /// What a copy holds that has everything up to and with `n`.
    pub fn entries(&self, n: u64) -> Vec<Entry> {
        let mut state = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.position.n <= n) {
            state.insert(&change.key, digest::of_change(change));
        }
        let mut entries: Vec<Entry> = state.into_values().filter(|entry| entry.objects > 0).collect();
        entries.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        entries
    }

    /// In order and once, after `n`, so many changes in a batch.
    pub fn batches(&self, n: u64, size: usize) -> Vec<ChangeBatch> {
        let after: Vec<CopyChange> = self.changes.iter().filter(|change| change.position.n > n).cloned().collect();
        let batch = |some: &[CopyChange]| {
            some.last().map(|last| ChangeBatch { through: last.position, changes: some.to_vec() })
        };
        after.chunks(size.max(1)).filter_map(batch).collect()
    }

    /// As a log of three partitions delivers it at least once: each partition in its order, the partitions mixed
    /// anyhow, and now and then a partition goes back to where it once was.
    pub fn weakly(&self, seed: u64) -> Vec<ChangeBatch> {
        let mut dice = Dice(seed);
        let mut partitions: [Vec<&CopyChange>; 3] = Default::default();
        for change in &self.changes {
            partitions[usize::try_from(digest::place(&change.key) % 3).unwrap_or(0)].push(change);
        }
        let (mut read, mut batches, mut furthest) = ([0_usize; 3], Vec::new(), 0);
        while read.iter().zip(&partitions).any(|(read, partition)| *read < partition.len()) {
            let mut changes = Vec::new();
            for _ in 0..=dice.below(6) {
                let number = usize::try_from(dice.below(3)).unwrap_or(0);
                if dice.below(9) == 0 {
                    read[number] = read[number].saturating_sub(usize::try_from(dice.below(8)).unwrap_or(0));
                }
                if let Some(change) = partitions[number].get(read[number]) {
                    changes.push((*change).clone());
                    read[number] += 1;
                }
            }
            furthest = changes.iter().map(|change| change.position.n).fold(furthest, u64::max);
            if furthest > 0 {
                batches.push(ChangeBatch { through: at(furthest), changes });
            }
        }
        batches
    }
}
