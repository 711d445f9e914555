//! What the record counts about itself; read by the server's `/metrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the commit time buckets, in microseconds; the last bucket has none.
pub const COMMIT_BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 512_000, 2_000_000];

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Metrics {
    /// Statements that committed.
    pub batches: Counter,
    pub groups: Counter,
    pub members: Counter,
    /// Bytes of envelopes committed.
    pub bytes: Counter,
    pub commit_us: Counter,
    /// One more than [`COMMIT_BOUNDS_US`]: the last counts what took longer.
    pub commit_buckets: [Counter; COMMIT_BOUNDS_US.len() + 1],
    /// Groups refused by their own verdict.
    pub conflicts: Counter,
    /// Sealed again because version or key had changed.
    pub reseals: Counter,
    pub bisects: Counter,
    /// Outcomes that had to be looked up by batch identity.
    pub unknown_outcomes: Counter,
    /// Gauge: groups waiting.
    pub queue_length: Counter,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    /// Gauge.
    pub cache_bytes: Counter,
    /// Changes that the sequencer has yet to copy into the transparency log (gauge).
    pub sequencer_lag: Counter,
    /// Gauge.
    pub published: Counter,
    /// Looks for expired audit rows that came to an end.
    pub expiry_runs: Counter,
    pub expiry_failures: Counter,
    /// Months of audit rows dropped.
    pub expiry_dropped: Counter,
    /// Months whose term has ended and that something still needs (gauge).
    pub expiry_held_back: Counter,
    /// Seconds since 1970; 0 before the first run (gauge).
    pub expiry_last_run: Counter,
    /// Runs of the upkeep that came to an end.
    pub upkeep_runs: Counter,
    pub upkeep_failures: Counter,
    pub upkeep_vacuumed: Counter,
    pub upkeep_analyzed: Counter,
    /// Tables given up because the run's time was over.
    pub upkeep_cut_short: Counter,
    /// Tables given up because somebody waited for them.
    pub upkeep_yielded: Counter,
    /// Milliseconds of all runs.
    pub upkeep_ms: Counter,
    /// Tables that need a visit and are left for a later run (gauge).
    pub upkeep_waiting: Counter,
    /// Seconds since 1970; 0 before the first run (gauge).
    pub upkeep_last_run: Counter,
    /// Gauge; 0 while following.
    pub epoch: Counter,
    /// 1 while leading (gauge).
    pub leading: Counter,
}

impl Metrics {
    pub(crate) fn committed(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.batches.add(1);
        self.commit_us.add(micros);
        let bucket = COMMIT_BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(COMMIT_BOUNDS_US.len());
        self.commit_buckets[bucket].add(1);
    }
}
