//! Whether the record holds together: the log without gaps, every resource with its change and its audit row.
//! Drills rest on it, so it reads everything in one snapshot and trusts no constraint.

use super::rows::unsigned;
use crate::connection::{classify, reader};
use deadpool_postgres::{Pool, Transaction};
use model::{Error, Result, Shard};
use serde::Serialize;
use tokio_postgres::IsolationLevel;

/// Findings of one sort that are named; all are counted.
const NAMED: i64 = 20;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Inspection {
    pub epoch: u64,
    /// The last position given out.
    pub head: u64,
    pub published: u64,
    /// First and last position that are still in the log.
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub changes: u64,
    pub audit_rows: u64,
    /// Living resources and tombstones.
    pub resources: u64,
    pub tombstones: u64,
    /// Positions missing between first and head, and the first stretches of them.
    pub missing: u64,
    pub gaps: Vec<(u64, u64)>,
    /// Positions that occur more than once in the log or in `audit`.
    pub duplicates: u64,
    pub torn: Vec<Torn>,
    pub torn_in_all: u64,
}

/// A triple of resource, change and audit row that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Torn {
    pub what: &'static str,
    pub n: u64,
}

impl Inspection {
    /// Whether nothing is missing, double or torn.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing == 0 && self.duplicates == 0 && self.torn_in_all == 0 && self.head >= self.published
    }
}

const COUNTS: &str = "
    SELECT (SELECT min(n) FROM nephkeep.change), (SELECT max(n) FROM nephkeep.change),
        (SELECT count(*) FROM nephkeep.change), (SELECT count(*) FROM nephkeep.audit),
        (SELECT count(*) FROM nephkeep.resource WHERE NOT deleted),
        (SELECT count(*) FROM nephkeep.resource WHERE deleted),
        (SELECT count(*) - count(DISTINCT n) FROM nephkeep.change)
            + (SELECT count(*) - count(DISTINCT n) FROM nephkeep.audit)";

/// The head counts as a change that follows the last one, so that a lost tail is a gap too.
const GAPS: &str = "
    WITH stretches AS (
        SELECT lag(n) OVER (ORDER BY n) + 1 AS first, n - 1 AS last
        FROM (SELECT n FROM nephkeep.change UNION SELECT next FROM nephkeep.log_head WHERE shard = $1) c
    )
    SELECT first, last, (sum(last - first + 1) OVER ())::int8 FROM stretches WHERE last >= first ORDER BY first LIMIT $2";

/// What must not be there, each with the position at which it shows. `$1` is the first position still in the log:
/// older changes have been archived, older audit rows have not.
const TEARS: [(&str, &str); 7] = [
    (
        "a resource without its change, or with another one's",
        "SELECT r.n FROM nephkeep.resource r LEFT JOIN nephkeep.change c ON c.n = r.n
         WHERE r.n >= $1 AND (c.n IS NULL OR (c.tenant, c.kind, c.id, c.version, c.content_tag)
            IS DISTINCT FROM (r.tenant, r.kind, r.id, r.version, r.content_tag)
            OR (c.action = 3) <> r.deleted OR c.sealed IS DISTINCT FROM r.sealed)",
    ),
    (
        "a change whose key does not show it",
        "SELECT c.n FROM (
            SELECT DISTINCT ON (tenant, kind, id) tenant, kind, id, n FROM nephkeep.change
            WHERE action <= 3 AND n >= $1 ORDER BY tenant, kind, id, n DESC) c
         LEFT JOIN nephkeep.resource r USING (tenant, kind, id) WHERE r.n IS DISTINCT FROM c.n",
    ),
    (
        "a version that does not follow the one before",
        "SELECT n FROM (
            SELECT n, version, prev_n, lag(version) OVER w AS before, lag(n) OVER w AS before_n
            FROM nephkeep.change WHERE action <= 3 AND n >= $1 WINDOW w AS (PARTITION BY tenant, kind, id ORDER BY n)) v
         WHERE before IS NOT NULL AND (version <> before + 1 OR prev_n IS DISTINCT FROM before_n)",
    ),
    (
        "a change without its audit row",
        "SELECT c.n FROM nephkeep.change c WHERE c.action <= 3 AND c.n >= $1
            AND NOT EXISTS (SELECT FROM nephkeep.audit a WHERE a.n = c.n)",
    ),
    (
        "an audit row without its change, or with another one's",
        "SELECT a.n FROM nephkeep.audit a LEFT JOIN nephkeep.change c ON c.n = a.n
         WHERE a.n >= $1 AND (c.n IS NULL OR (c.tenant, c.kind, c.id, c.version, c.action, c.principal, c.content_tag)
            IS DISTINCT FROM (a.tenant, a.kind, a.id, a.version, a.action, a.principal, a.content_tag))",
    ),
    (
        "a batch of an epoch that had ended: a fenced leader wrote",
        "SELECT first FROM (SELECT first, epoch, max(epoch) OVER (ORDER BY first) AS highest FROM nephkeep.batch
            WHERE first >= $1) b WHERE epoch < highest",
    ),
    (
        "a batch that does not join the one before",
        "SELECT first FROM (SELECT first, lag(last) OVER (ORDER BY first) AS before FROM nephkeep.batch WHERE first >= $1) b
         WHERE before IS NOT NULL AND first <> before + 1",
    ),
];

/// Reads the whole record in one snapshot.
pub async fn inspect(pool: &Pool, shard: Shard) -> Result<Inspection> {
    let mut client = reader(pool).await?;
    let begun =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await;
    let transaction = begun.map_err(|e| classify(&e))?;
    // Readers' sessions are set up for short statements by index; this reads all there is.
    let settings = "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; \
        SET LOCAL enable_mergejoin = on; SET LOCAL plan_cache_mode = auto; \
        SET LOCAL work_mem = '64MB'";
    transaction.batch_execute(settings).await.map_err(|e| classify(&e))?;
    let mut found = counts(&transaction, shard).await?;
    gaps(&transaction, shard, &mut found).await?;
    for (what, text) in TEARS {
        tears(&transaction, what, text, &mut found).await?;
    }
    transaction.commit().await.map_err(|e| classify(&e))?;
    Ok(found)
}

async fn counts(transaction: &Transaction<'_>, shard: Shard) -> Result<Inspection> {
    let head = "SELECT epoch, next - 1, published FROM nephkeep.log_head WHERE shard = $1";
    let head = transaction.query_opt(head, &[&i32::from(shard.0)]).await.map_err(|e| classify(&e))?;
    let head = head.ok_or_else(|| {
        let message = "the record has no head for this shard; has it been opened by a server?";
        Error::refused("record-not-migrated", message).with("shard", shard.0)
    })?;
    let row = transaction.query_one(COUNTS, &[]).await.map_err(|e| classify(&e))?;
    let number = |column: usize| unsigned(row.get(column));
    let position = |column: usize| row.get::<_, Option<i64>>(column).map(unsigned).transpose();
    Ok(Inspection {
        epoch: unsigned(head.get(0))?,
        head: unsigned(head.get(1))?,
        published: unsigned(head.get(2))?,
        first: position(0)?,
        last: position(1)?,
        changes: number(2)?,
        audit_rows: number(3)?,
        resources: number(4)?,
        tombstones: number(5)?,
        duplicates: number(6)?,
        ..Inspection::default()
    })
}

async fn gaps(transaction: &Transaction<'_>, shard: Shard, found: &mut Inspection) -> Result<()> {
    let rows = transaction.query(GAPS, &[&i32::from(shard.0), &NAMED]).await.map_err(|e| classify(&e))?;
    for row in rows {
        found.gaps.push((unsigned(row.get(0))?, unsigned(row.get(1))?));
        found.missing = unsigned(row.get(2))?;
    }
    Ok(())
}

async fn tears(transaction: &Transaction<'_>, what: &'static str, text: &str, found: &mut Inspection) -> Result<()> {
    let counted = format!("SELECT t.n, count(*) OVER () FROM ({text}) t(n) ORDER BY t.n LIMIT $2");
    let first = found.first.map_or(0, super::rows::signed);
    let rows = transaction.query(&counted, &[&first, &NAMED]).await.map_err(|e| classify(&e))?;
    found.torn_in_all += rows.first().map_or(Ok(0), |row| unsigned(row.get(1)))?;
    for row in rows {
        found.torn.push(Torn { what, n: unsigned(row.get(0))? });
    }
    Ok(())
}
