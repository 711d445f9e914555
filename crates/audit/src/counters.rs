//! What the log has done since it was opened.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub entries: AtomicU64,
    pub positions: AtomicU64,
    pub public: AtomicU64,
    pub flushes: AtomicU64,
    pub syncs: AtomicU64,
    pub checkpoints: AtomicU64,
    pub failures: AtomicU64,
}

/// A reading of the meters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Leaves written.
    pub entries: u64,
    /// Positions in access leaves written: the answers released, and those refused because the sync then failed.
    pub positions: u64,
    /// Reads of public documents, which have no leaf.
    pub public: u64,
    /// Groups written.
    pub flushes: u64,
    /// Device syncs, those of checkpoints included.
    pub syncs: u64,
    pub checkpoints: u64,
    /// Groups, checkpoints or seals that failed.
    pub failures: u64,
}

pub(crate) fn add(meter: &AtomicU64, count: usize) {
    meter.fetch_add(count as u64, Relaxed);
}

impl Meters {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            entries: self.entries.load(Relaxed),
            positions: self.positions.load(Relaxed),
            public: self.public.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}
