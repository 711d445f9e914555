//! Faults built into the server on purpose, so that drills can show that they find them. Not in any release: the whole
//! module, the switch and the variable exist only with the cargo feature `seeded-bugs`.

use clap::ValueEnum;
use ledger::SeededBug;

/// Names the fault to the server that a drill starts.
pub const VARIABLE: &str = "DRILL_SEEDED_BUG";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bug {
    /// Acknowledges before the log is durable.
    SyncCommitOff,
    /// Runs a request with a known idempotency key again.
    SkipDedupe,
    /// Writes without looking at the epoch.
    SkipEpoch,
    /// Serves remembered values without a lease.
    CachedReadsWithoutLease,
}

impl Bug {
    pub fn name(self) -> &'static str {
        match self {
            Self::SyncCommitOff => "sync-commit-off",
            Self::SkipDedupe => "skip-dedupe",
            Self::SkipEpoch => "skip-epoch",
            Self::CachedReadsWithoutLease => "cached-reads-without-lease",
        }
    }
}

/// The fault that the environment asks for.
#[must_use]
pub fn chosen() -> Option<SeededBug> {
    let name = std::env::var(VARIABLE).ok()?;
    let bug = Bug::value_variants().iter().find(|bug| bug.name() == name)?;
    tracing::warn!(name, "this server has a fault built in on purpose");
    Some(match bug {
        Bug::SyncCommitOff => SeededBug::SyncCommitOff,
        Bug::SkipDedupe => SeededBug::SkipDedupe,
        Bug::SkipEpoch => SeededBug::SkipEpoch,
        Bug::CachedReadsWithoutLease => SeededBug::CachedReadsWithoutLease,
    })
}
