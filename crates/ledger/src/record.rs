//! What the parts of one open record share.

use crate::{
    Settings,
    cache::Cache,
    clock::Moment,
    committer::Offenders,
    connection::{Connector, discard_if_gone, reader},
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
use deadpool_postgres::Object;
use keys::Keystore;
use model::{Error, Position, Result, Shard};
use parking_lot::Mutex;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_postgres::{IsolationLevel, Row, types::ToSql};

/// How long what was read may be ahead of what is published.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);

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
    /// Why nothing is written: PostgreSQL is set to lose what it commits.
    pub undurable: Mutex<Option<Error>>,
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
    /// The position of a head that was read, once it is published.
    pub(crate) async fn published_head(&self, n: u64) -> Result<Position> {
        self.published.wait_for(n, PUBLISH_LIMIT).await?;
        self.position_at(n)
    }
    pub(crate) fn publish(&self, n: u64) {
        self.published.raise(n);
        self.metrics.published.set(self.published.get());
    }

    /// One statement that reads.
    pub(crate) async fn rows(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = reader(&self.pool).await?;
        let outcome = async {
            let statement = client.prepare_cached(text).await?;
            client.query(&statement, parameters).await
        };
        match outcome.await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(discard_if_gone(client, &error)),
        }
    }

    /// One statement that writes outside the committer: nothing here touches resources or the log.
    pub(crate) async fn write_apart(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut client = reader(&self.pool).await?;
        match apart(&mut client, text, parameters).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(discard_if_gone(client, &error)),
        }
    }
}

/// Readers' sessions are read-only by default; this transaction is not, and it is not serializable, so that it can
/// never make the committer's statement fail.
async fn apart(
    client: &mut Object,
    text: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let transaction = builder.start().await?;
    let statement = transaction.prepare_cached(text).await?;
    let rows = transaction.query(&statement, parameters).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// There is no row of this shard's head.
pub(crate) fn starting() -> Error {
    Error::retry("record-starting", "the record has no head for this shard yet")
}
