//! The Merkle tree in memory: the leaves of the open segment and, above them, only roots of complete tiles.
//!
//! `rows[0]` and `rows[1]` begin at the open segment (65,536 leaves, 256 tiles at most); `rows[2]` has one hash per
//! sealed segment, `rows[3]` one per 256 of those, and so on: 32 bytes per 65,536 entries stay in memory.

use crate::{
    merkle::{Hash, fold},
    segment::ENTRIES,
    tile::WIDTH,
};

#[derive(Debug, Clone)]
pub(crate) struct Tree {
    base: u64,
    rows: Vec<Vec<Hash>>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { base: 0, rows: vec![Vec::new(); 3] }
    }

    pub(crate) fn size(&self) -> u64 {
        self.base + self.rows[0].len() as u64
    }

    /// The first leaf of the open segment.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows[0].len() as u64 == ENTRIES
    }

    /// Into the open segment; the caller rolls a full one first.
    pub(crate) fn push(&mut self, leaf: Hash) {
        self.rows[0].push(leaf);
        let count = self.rows[0].len();
        if count.is_multiple_of(256) {
            let from = count - 256;
            let root = fold(&self.rows[0][from..]);
            self.rows[1].push(root);
        }
    }

    /// The root of the full open segment.
    pub(crate) fn segment_root(&self) -> Hash {
        fold(&self.rows[1])
    }

    /// Closes a segment: only its root stays.
    pub(crate) fn roll(&mut self, root: Hash) {
        self.rows[0].clear();
        self.rows[1].clear();
        self.base += ENTRIES;
        let mut carried = root;
        for level in 2.. {
            if self.rows.len() == level {
                self.rows.push(Vec::new());
            }
            self.rows[level].push(carried);
            let count = self.rows[level].len();
            if !count.is_multiple_of(256) {
                break;
            }
            carried = fold(&self.rows[level][count - 256..]);
        }
    }

    /// How many hashes a level has in all.
    pub(crate) fn count(&self, level: usize) -> u64 {
        self.start(level) + self.rows.get(level).map_or(0, |row| row.len() as u64)
    }

    fn start(&self, level: usize) -> u64 {
        match level {
            0 => self.base,
            1 => self.base / WIDTH,
            _ => 0,
        }
    }

    /// Hashes `low..high` of a level; `None` where they are not in memory.
    pub(crate) fn row(&self, level: usize, low: u64, high: u64) -> Option<&[Hash]> {
        let start = self.start(level);
        let low = usize::try_from(low.checked_sub(start)?).ok()?;
        let high = usize::try_from(high.checked_sub(start)?).ok()?;
        self.rows.get(level)?.get(low..high)
    }

    /// The highest level that has hashes.
    pub(crate) fn levels(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn node(&self, height: u32, index: u64) -> Option<Hash> {
        let level = usize::try_from(height / 8).ok()?.min(self.rows.len() - 1);
        let within = height - 8 * u32::try_from(level).ok()?;
        let low = index << within;
        self.row(level, low, low + (1 << within)).map(fold)
    }
}
