//! Retention by partition: what is older than its term is detached, then dropped; nothing is deleted row by row.
//!
//! DETACH CONCURRENTLY blocks neither readers nor the committer, but cannot run in a transaction and can be
//! interrupted half-way; the next run finishes what an interrupted one left.

use crate::connection::classify;
use jiff::civil::Date;
use model::{Error, Result};
use tokio_postgres::Client;

/// The tables whose partitions are spans of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    Audit,
    Request,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub name: String,
    /// The first moment after it, as PostgreSQL's partition bound has it.
    pub until: Date,
    /// An interrupted detach has left it half-way: nobody sees its rows any more.
    pub(crate) pending: bool,
}

impl Timed {
    fn table(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Request => "request",
        }
    }
}

/// Partitions, with their upper bound; also those that an interrupted detach has left half-way.
const PARTITIONS: &str = "
    SELECT c.relname, substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('([0-9-]{10})$$), i.inhdetachpending
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass($1) ORDER BY c.relname";

/// Partitions that lie wholly before a day.
pub async fn expired(client: &Client, table: Timed, before: Date) -> Result<Vec<Partition>> {
    let found = partitions(client, table).await?;
    Ok(found.into_iter().filter(|partition| partition.until <= before).collect())
}

/// Partitions that lie wholly before a day, without the `kept` latest of them that hold any row: a clock that jumps
/// makes nothing older. Empty ones go too, except the latest, which may still be written to.
pub async fn superseded(client: &Client, table: Timed, before: Date, kept: usize) -> Result<Vec<Partition>> {
    let mut closed = expired(client, table, before).await?;
    let (mut filled, mut superseded) = (0, Vec::new());
    let latest = closed.last().map(|partition| partition.until);
    while let Some(partition) = closed.pop() {
        if partition.pending || filled >= kept {
            superseded.push(partition);
        } else if !is_empty(client, &partition).await? {
            filled += 1;
        } else if Some(partition.until) != latest {
            superseded.push(partition);
        }
    }
    superseded.reverse();
    Ok(superseded)
}

async fn is_empty(client: &Client, partition: &Partition) -> Result<bool> {
    let text = format!("SELECT NOT EXISTS (SELECT FROM nephkeep.{})", quoted(&partition.name));
    Ok(client.query_one(&text, &[]).await.map_err(|e| classify(&e))?.get(0))
}

/// Detaches and drops them in this order; returns what went. The caller has made sure that nothing holds them back
/// (archived, no legal hold).
pub async fn drop_all(client: &Client, table: Timed, partitions: Vec<Partition>) -> Result<Vec<Partition>> {
    for partition in &partitions {
        detach(client, table, partition).await?;
    }
    Ok(partitions)
}

async fn detach(client: &Client, table: Timed, partition: &Partition) -> Result<()> {
    let failed = |e: tokio_postgres::Error| {
        let cause = classify(&e);
        Error::new(cause.kind(), "retention-failed", "an expired partition could not be detached; it is tried again")
            .with("partition", &partition.name)
            .caused_by(cause)
    };
    let (table, name) = (table.table(), quoted(&partition.name));
    let how = if partition.pending { "FINALIZE" } else { "CONCURRENTLY" };
    client
        .batch_execute(&format!("ALTER TABLE nephkeep.{table} DETACH PARTITION nephkeep.{name} {how}"))
        .await
        .map_err(failed)?;
    client.batch_execute(&format!("DROP TABLE nephkeep.{name}")).await.map_err(failed)
}

async fn partitions(client: &Client, table: Timed) -> Result<Vec<Partition>> {
    let name = format!("nephkeep.{}", table.table());
    let rows = client.query(PARTITIONS, &[&name]).await.map_err(|e| classify(&e))?;
    let known = rows.iter().map(|row| {
        let (name, until): (String, Option<String>) = (row.get(0), row.get(1));
        let until = until.as_deref().and_then(|day| day.parse().ok()).ok_or_else(|| {
            Error::corrupt("partition-unknown", "a partition's bound is not a day; somebody else made it")
                .with("partition", &name)
        })?;
        Ok(Partition { name, until, pending: row.get(2) })
    });
    let mut known: Vec<Partition> = known.collect::<Result<_>>()?;
    known.sort_by_key(|partition| partition.until);
    Ok(known)
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
