//! Partitions made ahead: two of `change` by position, of `audit` by month, of `request` by day (RECORD 13).
//!
//! A partition is made as a table of its own and then attached, which blocks neither readers nor writers. There is
//! no default partition: a missing one raises, and the committer makes it and runs the batch again.

use crate::{
    clock,
    connection::classify,
    retention::{self, Timed},
    upkeep::storage,
};
use jiff::civil::Date;
use model::{Error, Result};
use tokio_postgres::Client;

const AHEAD: u64 = 2;
/// Days before today's whose idempotency keys are kept: days on which there were any, not days of the calendar. A clock
/// that jumps makes a day end early, but not three: a key is known for at least 24 hours of real time.
const REQUEST_DAYS: usize = 3;

/// Up to where partitions stand; beyond, `ensure` has to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ensured {
    pub n: u64,
    pub day: i32,
}

impl Ensured {
    pub(crate) fn covers(self, n: u64, micros: u64) -> bool {
        n < self.n && clock::day_of(micros) <= self.day
    }
}

struct Part {
    table: &'static str,
    name: String,
    from: String,
    to: String,
}

fn failed(error: tokio_postgres::Error) -> Error {
    classify(&error).with("while", "making a partition")
}

/// Makes what is missing for positions from `next` on and moments from `micros` on; drops expired request days.
pub(crate) async fn ensure(client: &Client, width: u64, next: u64, micros: u64) -> Result<Ensured> {
    let first = next / width;
    let day = clock::day_of(micros);
    let mut parts: Vec<Part> = (first..=first + AHEAD).map(|at| positions(at, width)).collect();
    parts.extend(days_and_months(day)?);
    for part in parts {
        create(client, &part).await.map_err(failed)?;
    }
    drop_requests(client, date_of(day)?).await;
    // The next call comes while one partition ahead is still untouched.
    Ok(Ensured { n: (first + 1) * width, day })
}

/// Somebody's long query (a dump) must not hold up the committer: what cannot be dropped now goes with a later day.
async fn drop_requests(client: &Client, today: Date) {
    let dropped = async {
        client.batch_execute("SET lock_timeout = '500ms'").await.map_err(failed)?;
        let dropped = match retention::superseded(client, Timed::Request, today, REQUEST_DAYS).await {
            Ok(superseded) => retention::drop_all(client, Timed::Request, superseded).await,
            Err(error) => Err(error),
        };
        client.batch_execute("SET lock_timeout = 0").await.map_err(failed)?;
        dropped
    };
    if let Err(error) = dropped.await {
        tracing::warn!(%error, "expired idempotency keys could not be dropped; they go later");
    }
}

fn positions(at: u64, width: u64) -> Part {
    let (from, to) = (at * width, (at + 1) * width);
    Part { table: "change", name: format!("change_p{from}"), from: from.to_string(), to: to.to_string() }
}

pub(crate) fn date_of(day: i32) -> Result<Date> {
    let moved = jiff::Span::new().try_days(day).and_then(|span| Date::constant(1970, 1, 1).checked_add(span));
    moved.map_err(|error| Error::bug("the record's clock is out of range").caused_by(error))
}

fn days_and_months(day: i32) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    // A day before too: the hybrid clock of a follower may lag.
    for day in day - 1..=day + 1 {
        let (from, to) = (date_of(day)?, date_of(day + 1)?);
        let name = format!("request_{}", from.strftime("%Y_%m_%d"));
        parts.push(Part { table: "request", name, from: format!("'{from}'"), to: format!("'{to}'") });
    }
    let mut month = date_of(day - 1)?.first_of_month();
    for _ in 0..=AHEAD {
        let out_of_range = |error: jiff::Error| Error::bug("the record's clock is out of range").caused_by(error);
        let next = month.last_of_month().tomorrow().map_err(out_of_range)?;
        let name = format!("audit_{}", month.strftime("%Y_%m"));
        parts.push(Part {
            table: "audit",
            name,
            from: format!("'{month} 00:00:00+00'"),
            to: format!("'{next} 00:00:00+00'"),
        });
        month = next;
    }
    Ok(parts)
}

async fn create(client: &Client, part: &Part) -> Result<(), tokio_postgres::Error> {
    let Part { table, name, from, to } = part;
    let found = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("nephkeep.{name}")]).await?;
    if found.get(0) {
        return Ok(());
    }
    let parameters = storage::of_partition(table);
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; \
         CREATE TABLE nephkeep.{name} (LIKE nephkeep.{table} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS) \
             WITH ({parameters}); \
         ALTER TABLE nephkeep.{table} ATTACH PARTITION nephkeep.{name} FOR VALUES FROM ({from}) TO ({to}); \
         COMMIT"
    );
    let made = client.batch_execute(&sql).await;
    if made.is_err() {
        client.batch_execute("ROLLBACK").await?;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_days_join_without_a_gap() {
        let parts = days_and_months(20_453).unwrap(); // 2025-12-31
        let named = |table: &str| -> Vec<_> { parts.iter().filter(|part| part.table == table).collect() };
        for table in ["audit", "request"] {
            assert!(named(table).windows(2).all(|pair| pair[0].to == pair[1].from), "{table}");
        }
        assert_eq!(named("audit")[0].name, "audit_2025_12");
        assert_eq!(named("audit")[1].from, "'2026-01-01 00:00:00+00'");
        assert_eq!(named("request")[2].name, "request_2026_01_01");
    }

    #[test]
    fn the_next_partition_is_made_before_it_is_needed() {
        let ensured = Ensured { n: 200, day: 10 };
        assert!(ensured.covers(199, 10 * 86_400_000_000));
        assert!(!ensured.covers(200, 0) && !ensured.covers(0, 11 * 86_400_000_000));
    }
}
