//! What the parts of one open record share.

use crate::{
    Settings,
    cache::Cache,
    clock::Moment,
    committer::Offenders,
    connection::Connector,
    keystore_mark::Mark,
    lease::Lease,
    metrics::Metrics,
    publish::{Lives, Published},
    read::serve::blocking,
    ring::Ring,
    subject_rows::SubjectRows,
    subjects::Subjects,
};
use audit::TransparencyLog;
use keys::Keystore;
use model::{Error, Position, Result, Shard};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
pub(crate) struct Record {
    pub settings: Settings,
    pub connector: Connector,
    pub pool: deadpool_postgres::Pool,
    pub keystore: Arc<Keystore>,
    pub log: Arc<TransparencyLog>,
    pub lease: Lease,
    pub published: Published,
    pub lives: Lives,
    pub cache: Cache,
    pub ring: Ring,
    pub subjects: Subjects,
    pub mark: Mark,
    pub subject_rows: SubjectRows,
    pub offenders: Offenders,
    pub metrics: Arc<Metrics>,
    /// Names this process among all that ever held the lease.
    pub holder: String,
    /// A reader met an incomplete index of names.
    pub names_missed: tokio::sync::Notify,
    /// Held from before a batch decides until what it stored is remembered.
    pub settling: tokio::sync::Mutex<()>,
    /// Set by a batch that PostgreSQL could not take for want of its own (a full disk), cleared by the next that commits.
    pub refusing: Mutex<Option<Refusing>>,
    /// NK002 was raised: nothing more is written by this process.
    pub stopped: OnceLock<String>,
}

/// Why the last batch was not taken, and when.
#[derive(Debug, Clone)]
pub(crate) struct Refusing {
    pub code: &'static str,
    pub message: String,
    pub at: Moment,
}

impl Record {
    pub(crate) fn shard(&self) -> Shard {
        self.settings.shard
    }
    /// Keys that another server on the same keystore has destroyed are gone from here too.
    pub(crate) async fn see_erasures(&self) -> Result<()> {
        let keystore = Arc::clone(&self.keystore);
        blocking(move || keystore.refresh()).await
    }
    /// A stored position, as it leaves memory.
    pub(crate) fn position(&self, ordinal: u32, n: u64) -> Result<Position> {
        Ok(Position { shard: self.shard(), incarnation: self.lives.incarnation(ordinal)?, n })
    }
    /// The position of n, in the incarnation that wrote it.
    pub(crate) fn position_at(&self, n: u64) -> Result<Position> {
        let life = self.lives.of(n);
        let life = life.ok_or_else(|| Error::bug("a position was asked for before the history was read"))?;
        Ok(Position { shard: self.shard(), incarnation: life.incarnation, n })
    }
    pub(crate) fn publish(&self, n: u64) {
        self.published.raise(n);
        self.metrics.published.set(self.published.get());
    }
}
