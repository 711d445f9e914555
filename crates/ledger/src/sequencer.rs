//! The sequencer: copies committed, published changes in order into the transparency log (RECORD 11).
//!
//! Only the leader's runs. It resumes from the log's own last write leaf, so a crash between the two repeats nothing
//! and skips nothing; the log refuses a leaf that does not follow.

use crate::{
    Leadership,
    connection::{discard_if_gone, reader},
    read::{
        changes::action,
        rows::{signed, tag, unsigned, unsigned_int},
    },
    record::Record,
};
use audit::Entry;
use model::{Class, Position, Result};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::Row;

/// Leaves in one append.
const TOGETHER: usize = 2_000;
const RETRY: Duration = Duration::from_millis(500);

const TEXT: &str = "SELECT n, ordinal, hlc, principal, tenant, action, kind, id, version, class, purpose, content_tag
    FROM nephkeep.audit WHERE n > $1 AND n <= $2 ORDER BY n";

pub(crate) async fn run(record: Arc<Record>, mut stop: watch::Receiver<bool>) {
    let mut led = false;
    loop {
        let work = async {
            let mut leadership = record.lease.watch();
            // An error means that the record is gone; the stop below ends the loop then.
            let _ = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. })).await;
            led = true;
            if let Err(error) = lead(&record, &mut leadership).await {
                tracing::warn!(%error, "changes could not be copied into the transparency log; trying again");
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = work => {}
        }
    }
    // A clean stop leaves nothing behind.
    if led && let Err(error) = copy(&record).await {
        tracing::warn!(%error, "the transparency log lags behind; its sequencer goes on at the next start");
    }
}

async fn lead(record: &Record, leadership: &mut watch::Receiver<Leadership>) -> Result<()> {
    let mut published = record.published.watch();
    loop {
        published.borrow_and_update();
        copy(record).await?;
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return Ok(()) },
            _ = leadership.wait_for(|now| !matches!(now, Leadership::Leader { .. })) => return Ok(()),
        }
    }
}

/// Everything published and not yet in the log.
async fn copy(record: &Record) -> Result<()> {
    loop {
        let (done, head) = (record.log.last_write(record.shard()).map_or(0, |last| last.n), record.published.get());
        record.metrics.sequencer_lag.set(head.saturating_sub(done));
        if done >= head {
            return Ok(());
        }
        let to = head.min(done + TOGETHER as u64);
        let entries = match from_ring(record, done, to) {
            Some(entries) => entries,
            None => from_table(record, done, to).await?,
        };
        if entries.is_empty() {
            let message = "published changes have no audit rows";
            return Err(model::Error::corrupt("audit-rows-missing", message).with("after", done).with("until", to));
        }
        record.log.append(entries).await?;
    }
}

fn from_ring(record: &Record, done: u64, to: u64) -> Option<Vec<Entry>> {
    let stretches = record.ring.after(done, TOGETHER)?;
    let mut entries = Vec::new();
    for stretch in &stretches {
        for (change, purpose) in stretch.changes.iter().zip(&stretch.purposes) {
            if change.position.n > done && change.position.n <= to {
                entries.push(Entry::Write {
                    position: change.position,
                    hlc: change.hlc,
                    principal: change.principal.clone(),
                    tenant: change.key.tenant.as_str().to_owned(),
                    action: change.action.as_str().to_owned(),
                    kind: change.key.kind.code(),
                    id: (*change.key.id).to_owned(),
                    version: change.version,
                    class: change.class,
                    purpose: (**purpose).to_owned(),
                    content_tag: change.content_tag,
                });
            }
        }
    }
    Some(entries).filter(|entries| !entries.is_empty())
}

async fn from_table(record: &Record, done: u64, to: u64) -> Result<Vec<Entry>> {
    let client = reader(&record.pool).await?;
    let rows = match client.query(TEXT, &[&signed(done), &signed(to)]).await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    rows.iter().map(|row| entry(record, row)).collect()
}

fn entry(record: &Record, row: &Row) -> Result<Entry> {
    let incarnation = record.lives.incarnation(unsigned_int(row.get(1))?)?;
    Ok(Entry::Write {
        position: Position { shard: record.shard(), incarnation, n: unsigned(row.get(0))? },
        hlc: unsigned(row.get(2))?,
        principal: row.get(3),
        tenant: row.get(4),
        action: action(row.get(5))?.as_str().to_owned(),
        kind: row.get(6),
        id: row.get(7),
        version: unsigned(row.get(8))?,
        class: Class::from_code(row.get(9))?,
        purpose: row.get(10),
        content_tag: tag(row, 11)?,
    })
}
