//! Audit rows are kept for their term (seven years unless set otherwise), then dropped month by month by the leader.
//!
//! A month goes only when nothing needs it any more. Its term has ended by the wall clock and by the record's clock, and
//! as many later months hold rows, so that no jump of a clock ends a term. Its changes are no longer in the log of
//! changes: audit rows outlive them, because inspection and reconciliation ask for the audit row of every change. Its
//! leaves stand in this server's transparency log, and there, first, that the month is dropped (RECORD 11).

use crate::{
    Leadership, clock,
    committer::{head::shard_code, partitions::date_of},
    connection::classify,
    read::rows::unsigned,
    record::Record,
    retention::{self, Partition, Timed},
};
use audit::Entry;
use jiff::{Span, civil::Date};
use model::{Error, Hlc, Result};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::Client;

/// Nothing here is serializable: it must never make the committer's statement fail.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET jit = off; SET lock_timeout = '2s'; \
    SET statement_timeout = '10min'";
/// Months that one run drops at most.
const AT_ONCE: usize = 12;
const RETRY: Duration = Duration::from_secs(60);

/// Runs when this server begins to lead, and then every so often.
pub(crate) async fn run(record: Arc<Record>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut leadership = record.lease.watch();
        loop {
            // An error means that the record is gone; the stop below ends the loop then.
            let _ = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. })).await;
            let every = record.settings.expiry_every;
            let pause = match once(&record).await {
                Ok(()) => every,
                Err(error) => {
                    tracing::warn!(%error, "expired audit rows could not be dropped; trying again");
                    record.metrics.expiry_failures.add(1);
                    every.min(RETRY)
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

async fn once(record: &Record) -> Result<()> {
    let session = record.connector.connect("nephkeep retention", SESSION).await?;
    let client = &session.client;
    let bounds = Bounds::read(client, record).await?;
    let mut over = over(client, record, bounds.hlc).await?.into_iter();
    let mut held_back = 0;
    for month in over.by_ref().take(AT_ONCE) {
        if bounds.need(client, &month).await? {
            // What comes later is needed as well.
            held_back = 1;
            break;
        }
        tell(record, &month).await?;
        tracing::info!(partition = month.name, "audit rows whose term has ended are dropped");
        retention::drop_all(client, Timed::Audit, vec![month]).await?;
        record.metrics.expiry_dropped.add(1);
    }
    record.metrics.expiry_held_back.set(held_back + over.count() as u64);
    record.metrics.expiry_runs.add(1);
    record.metrics.expiry_last_run.set(record.settings.wall.micros() / 1_000_000);
    Ok(())
}

/// The months whose term has ended, oldest first.
async fn over(client: &Client, record: &Record, hlc: Hlc) -> Result<Vec<Partition>> {
    let months = record.settings.audit_months;
    let today = date_of(clock::day_of(record.settings.wall.micros().min(hlc.micros())))?;
    let ended = term(today, months)?;
    if retention::expired(client, Timed::Audit, ended).await?.is_empty() {
        return Ok(Vec::new());
    }
    let kept = usize::try_from(months).unwrap_or(usize::MAX);
    let superseded = retention::superseded(client, Timed::Audit, today, kept).await?;
    Ok(superseded.into_iter().filter(|month| month.pending || month.until <= ended).collect())
}

/// What lies wholly before this day has been kept for so many months.
fn term(today: Date, months: u32) -> Result<Date> {
    let ended = Span::new().try_months(months).and_then(|span| today.first_of_month().checked_sub(span));
    ended.map_err(|error| Error::bug("the record's clock is out of range").caused_by(error))
}

/// What rows are still asked for.
struct Bounds {
    hlc: Hlc,
    first_change: i64,
    /// Ordinal and n of the last change that stands in the transparency log.
    told: (i64, u64),
}

impl Bounds {
    async fn read(client: &Client, record: &Record) -> Result<Self> {
        let text = "SELECT hlc, coalesce((SELECT min(n) FROM nephkeep.change), next)
            FROM nephkeep.log_head WHERE shard = $1";
        let row = client.query_one(text, &[&shard_code(record.shard())]).await.map_err(|e| classify(&e))?;
        let told = record.log.last_write(record.shard());
        Ok(Self {
            hlc: Hlc(unsigned(row.get(0))?),
            first_change: row.get(1),
            told: told.map_or((0, 0), |last| (last.incarnation.ordinal.into(), last.n)),
        })
    }

    /// The first row tells it soon where changes are kept; else the last one decides.
    async fn need(&self, client: &Client, month: &Partition) -> Result<bool> {
        let rows = format!("SELECT ordinal, n FROM nephkeep.{}", retention::quoted(&month.name));
        for order in ["LIMIT 1", "ORDER BY ordinal DESC, n DESC LIMIT 1"] {
            let row = client.query_opt(&format!("{rows} {order}"), &[]).await.map_err(|e| classify(&e))?;
            let Some(row) = row else { return Ok(false) };
            let (ordinal, n): (i32, i64) = (row.get(0), row.get(1));
            if n >= self.first_change || (i64::from(ordinal), unsigned(n)?) > self.told {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn tell(record: &Record, month: &Partition) -> Result<()> {
    let entry = Entry::Act {
        hlc: Hlc::from_micros(record.settings.wall.micros()).0,
        principal: "nephkeep".to_owned(),
        tenant: String::new(),
        action: "audit-expire".to_owned(),
        outcome: "ordered".to_owned(),
        detail: month.name.clone(),
    };
    record.log.append(vec![entry]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_with_whole_months() {
        let ended = |today: &str, months| term(today.parse().unwrap(), months).unwrap().to_string();
        assert_eq!(ended("2026-02-15", 84), "2019-02-01", "January 2019 is over");
        assert_eq!(ended("2026-03-31", 1), "2026-02-01");
        assert_eq!(ended("2026-01-01", 2), "2025-11-01");
    }
}
