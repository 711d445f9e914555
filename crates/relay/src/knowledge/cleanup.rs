//! Stored vectors that no document needs any more: of texts that were changed or deleted, of models that no copy has, of
//! erased subjects.
//!
//! What is needed is gathered from the documents themselves, in bounded memory: where there are too many, the addresses
//! are gone through in several passes. A row that is newer than the beginning of a pass stays, and before anything goes
//! the log is looked at once more; a text that comes back in the very moment between is embedded again, nothing worse.

use crate::{Shaper, blocking, feed::State, walk::Walk};
use ledger::{Address, KeptEmbedding, Ledger};
use model::{ErrorKind, Kind, Position, Result};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

/// Addresses that a pass remembers: some 30 MB.
const REMEMBERED: usize = 500_000;
/// Rows that are looked at, or removed, at a time.
const ROWS: u32 = 1_000;
const CHANGES: usize = 256;

/// Addresses that documents need, of a range of them.
#[derive(Debug)]
struct Needed {
    first: u64,
    last: u64,
    most: usize,
    addresses: HashSet<u128>,
}

fn place(address: &Address) -> u64 {
    address.0[..8].iter().fold(0, |place, byte| place << 8 | u64::from(*byte))
}

/// Half of an address tells it from all others.
fn half(address: &Address) -> u128 {
    address.0[..16].iter().fold(0, |half, byte| half << 8 | u128::from(*byte))
}

impl Needed {
    fn new(first: u64, most: usize) -> Self {
        Self { first, last: u64::MAX, most, addresses: HashSet::new() }
    }

    fn concerns(&self, address: &Address) -> bool {
        (self.first..=self.last).contains(&place(address))
    }

    /// Too many: the upper half of the range is left to the next pass.
    fn add(&mut self, address: &Address) {
        if self.concerns(address) {
            self.addresses.insert(half(address));
        }
        while self.addresses.len() > self.most && self.first < self.last {
            self.last = self.first + (self.last - self.first) / 2;
            let last = u128::from(self.last);
            self.addresses.retain(|half| half >> 64 <= last);
        }
    }

    fn has(&self, address: &Address) -> bool {
        self.addresses.contains(&half(address))
    }
}

#[derive(Debug)]
pub(crate) struct CleanUp<'l> {
    pub ledger: &'l Ledger,
    pub shapers: Vec<Arc<dyn Shaper>>,
}

impl CleanUp<'_> {
    /// How many rows went.
    pub(crate) async fn run(&self) -> Result<u64> {
        self.within(REMEMBERED).await
    }

    async fn within(&self, most: usize) -> Result<u64> {
        let mut removed = self.of_erased().await?;
        let mut first = 0;
        loop {
            let Some(start) = self.ledger.published()? else { return Ok(removed) };
            let mut needed = Needed::new(first, most);
            let mut walk = Walk::new(self.ledger, Kind::KnowledgeDocument).await?;
            while self.keeps()
                && let Some(states) = walk.next().await?
            {
                needed = self.gather(needed, states).await?;
            }
            let last = needed.last;
            removed += self.sweep(needed, start).await?;
            if last == u64::MAX {
                return Ok(removed);
            }
            first = last + 1;
        }
    }

    /// Otherwise no document needs a row.
    fn keeps(&self) -> bool {
        self.shapers.iter().filter_map(|shaper| shaper.as_vectors()).any(|vectors| vectors.embedder().is_kept())
    }

    /// Noise already: their key is gone.
    pub(crate) async fn of_erased(&self) -> Result<u64> {
        let mut removed = 0;
        loop {
            let gone = self.ledger.embeddings_of_erased(ROWS).await?;
            removed += gone as u64;
            if gone < ROWS as usize {
                return Ok(removed);
            }
        }
    }

    async fn gather(&self, mut needed: Needed, states: Vec<State>) -> Result<Needed> {
        let (ledger, shapers) = (self.ledger.clone(), self.shapers.clone());
        blocking(move || {
            for state in &states {
                for shaper in shapers.iter().filter_map(|shaper| shaper.as_vectors()) {
                    let addresses = state.open(&ledger).and_then(|resource| shaper.addresses(&resource));
                    match addresses {
                        Ok(addresses) => addresses.iter().for_each(|address| needed.add(address)),
                        // A document that cannot be read needs nothing; `unshaped` tells of it.
                        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(needed)
        })
        .await
    }

    async fn sweep(&self, mut needed: Needed, start: Position) -> Result<u64> {
        let models: BTreeSet<&str> =
            self.shapers.iter().filter_map(|shaper| Some(shaper.as_vectors()?.embedder().model())).collect();
        let (mut removed, mut at, mut after) = (0, start, None);
        loop {
            let page = self.ledger.embeddings_page(after.as_ref(), start.n, ROWS).await?;
            let Some(last) = page.last().cloned() else { return Ok(removed) };
            after = Some(last);
            let of_nobody = |row: &KeptEmbedding, needed: &Needed| {
                needed.concerns(&row.address) && !(models.contains(&*row.model) && needed.has(&row.address))
            };
            if page.iter().any(|row| of_nobody(row, &needed)) {
                (needed, at) = self.follow(needed, at).await?;
            }
            let mut gone: BTreeMap<(&str, &str, &str), Vec<&KeptEmbedding>> = BTreeMap::new();
            for row in page.iter().filter(|row| of_nobody(row, &needed)) {
                gone.entry((row.tenant.as_str(), row.subject.as_str(), &row.model)).or_default().push(row);
            }
            for rows in gone.values() {
                let addresses: Vec<Address> = rows.iter().map(|row| row.address).collect();
                self.ledger.embeddings_forget(rows[0], &addresses).await?;
                removed += addresses.len() as u64;
            }
        }
    }

    /// What documents need that were written meanwhile.
    async fn follow(&self, mut needed: Needed, mut at: Position) -> Result<(Needed, Position)> {
        loop {
            let page = self.ledger.log_after(Some(at), CHANGES, Duration::ZERO).await?;
            if page.next.n <= at.n {
                return Ok((needed, at));
            }
            at = page.next;
            let changes = page.changes.into_iter().filter(|change| change.key.kind == Kind::KnowledgeDocument);
            needed = self.gather(needed, changes.map(State::Change).collect()).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_remember_no_more_than_they_may_and_miss_no_address() {
        let address = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            bytes[8..16].copy_from_slice(&n.to_be_bytes());
            Address(bytes)
        };
        let (mut first, mut seen, mut passes) = (0, 0, 0);
        loop {
            let mut needed = Needed::new(first, 100);
            (0..1_000).for_each(|n| {
                needed.add(&address(n));
                assert!(needed.addresses.len() <= 100);
            });
            seen += (0..1_000).filter(|n| needed.concerns(&address(*n)) && needed.has(&address(*n))).count();
            assert_eq!((0..1_000).filter(|n| needed.concerns(&address(*n))).count(), needed.addresses.len());
            passes += 1;
            if needed.last == u64::MAX {
                break;
            }
            first = needed.last + 1;
        }
        assert_eq!(seen, 1_000);
        assert!((10..=32).contains(&passes), "{passes}");
    }
}
