//! How a record is opened.

use crate::Wall;
use model::Shard;
use std::time::Duration;

/// Bound into every envelope (RECORD 6); never a table, position or shard.
pub const DATASET: &str = "record";

/// Seven years.
pub const AUDIT_MONTHS: u32 = 84;

#[derive(Debug, Clone)]
pub struct Settings {
    pub shard: Shard,
    /// Where clients reach this server; others redirect writes to it while it leads.
    pub holder_url: Option<String>,
    /// This process holds the flock of the record's local data directory: a predecessor under it is dead.
    pub flock: bool,
    pub lease: Duration,
    pub cache_bytes: usize,
    pub ring_bytes: usize,
    pub queue_groups: usize,
    pub queue_bytes: usize,
    pub batch_groups: usize,
    pub batch_bytes: usize,
    /// Positions per partition of the change log.
    pub change_partition: u64,
    /// For how many months audit rows are kept after their own.
    pub audit_months: u32,
    /// How often it is looked for expired audit rows.
    pub expiry_every: Duration,
    /// How often it is looked for tables that need VACUUM or ANALYZE (`MAX`: never), and how long one such run may take.
    pub upkeep_every: Duration,
    pub upkeep_limit: Duration,
    /// PostgreSQL may be set to lose what it commits. Tests and benches on a server that is fast and forgetful say so;
    /// nothing else does, and no settings file can.
    pub without_durability: bool,
    /// A test sets it wrong.
    pub wall: Wall,
    #[cfg(feature = "seeded-bugs")]
    pub seeded_bug: Option<SeededBug>,
}

/// Faults that the drills and the isolation checker must find. Their names are known everywhere; only a build with the
/// feature `seeded-bugs` can have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeededBug {
    /// Acknowledges before the log is durable.
    SyncCommitOff,
    /// Runs a request with a known idempotency key again.
    SkipDedupe,
    /// Writes without looking at the epoch.
    SkipEpoch,
    /// Serves remembered values without a lease.
    CachedReadsWithoutLease,
}

impl SeededBug {
    pub const ALL: [Self; 4] = [Self::SyncCommitOff, Self::SkipDedupe, Self::SkipEpoch, Self::CachedReadsWithoutLease];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SyncCommitOff => "sync-commit-off",
            Self::SkipDedupe => "skip-dedupe",
            Self::SkipEpoch => "skip-epoch",
            Self::CachedReadsWithoutLease => "cached-reads-without-lease",
        }
    }
}

impl std::str::FromStr for SeededBug {
    type Err = model::Error;
    fn from_str(text: &str) -> model::Result<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            model::Error::invalid("seeded-bug-unknown", format!("a seeded bug is one of {known}"))
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shard: Shard(0),
            holder_url: None,
            flock: false,
            lease: Duration::from_secs(5),
            cache_bytes: 64 << 20,
            ring_bytes: 16 << 20,
            queue_groups: 4_096,
            queue_bytes: 64 << 20,
            batch_groups: 512,
            batch_bytes: 4 << 20,
            change_partition: 5_000_000,
            audit_months: AUDIT_MONTHS,
            expiry_every: Duration::from_secs(3_600),
            upkeep_every: Duration::from_secs(900),
            upkeep_limit: Duration::from_secs(300),
            without_durability: false,
            wall: Wall::default(),
            #[cfg(feature = "seeded-bugs")]
            seeded_bug: None,
        }
    }
}

/// What a seeded bug switches; without the feature the answer is known at compile time.
impl Settings {
    #[cfg(feature = "seeded-bugs")]
    fn has(&self, bug: SeededBug) -> bool {
        self.seeded_bug == Some(bug)
    }
    pub(crate) fn skips_sync(&self) -> bool {
        #[cfg(feature = "seeded-bugs")]
        return self.has(SeededBug::SyncCommitOff);
        #[cfg(not(feature = "seeded-bugs"))]
        false
    }
    pub(crate) fn skips_dedupe(&self) -> bool {
        #[cfg(feature = "seeded-bugs")]
        return self.has(SeededBug::SkipDedupe);
        #[cfg(not(feature = "seeded-bugs"))]
        false
    }
    pub(crate) fn skips_epoch(&self) -> bool {
        #[cfg(feature = "seeded-bugs")]
        return self.has(SeededBug::SkipEpoch);
        #[cfg(not(feature = "seeded-bugs"))]
        false
    }
    pub(crate) fn skips_lease(&self) -> bool {
        #[cfg(feature = "seeded-bugs")]
        return self.has(SeededBug::CachedReadsWithoutLease);
        #[cfg(not(feature = "seeded-bugs"))]
        false
    }
}
