//! The record's upkeep: the leader looks every so often whether a table needs VACUUM or ANALYZE that autovacuum has not
//! given it, and gives it, within a bounded time.
//!
//! It blocks no write. VACUUM and ANALYZE take a lock that only changes of the schema wait for (a partition that is
//! attached or dropped), never commits or reads; it is watched whether anybody waits for it, and then the work is given
//! up at once and comes back later. VACUUM cuts nothing off at a table's end, which would take the strongest lock.

mod due;
pub(crate) mod storage;

use crate::{
    Leadership,
    clock::Moment,
    connection::{Session, classify},
    record::Record,
    retention::quoted,
};
use due::{Due, Table};
use model::{Error, Result};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

/// Throttled as autovacuum is. A lock that is not to be had within half a second is autovacuum's, which is at this table:
/// a longer wait would make PostgreSQL stop it. A backend whose server has gone ends within a second.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET jit = off; SET lock_timeout = '500ms'; \
    SET vacuum_cost_delay = '2ms'; SET client_connection_check_interval = '1s'; SET search_path = pg_catalog";
const WATCHER: &str =
    "SET default_transaction_isolation = 'read committed'; SET jit = off; SET statement_timeout = '2s'";
/// A parent's statistics serve inspection only; at the default target they would read thirty thousand rows of each
/// partition.
const PARENT_TARGET: &str = "SET default_statistics_target = 10";
const OWN_TARGET: &str = "RESET default_statistics_target";

const BLOCKS: &str =
    "SELECT EXISTS (SELECT FROM pg_locks l WHERE NOT l.granted AND $1 = ANY (pg_blocking_pids(l.pid)))";
/// Whoever waits for us waits this much longer than for nobody.
const LOOK: Duration = Duration::from_millis(100);
/// A server that runs shorter than this leaves everything to autovacuum.
const FIRST: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(60);
/// A table that was not done in half a run's time or more is not tried again before this.
const REST: Duration = Duration::from_secs(6 * 3_600);

const LOADED: &str = "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
    AND NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')";

/// How work on a table ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    /// The run's time was over.
    CutShort,
    /// Somebody waited for the lock.
    Yielded,
    /// Somebody else is at this table.
    Busy,
}

/// Runs while this server leads.
pub(crate) async fn run(record: Arc<Record>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let (mut leadership, mut rests) = (record.lease.watch(), Rests::default());
        loop {
            // An error means that the record is gone; the stop below ends the loop then.
            let _ = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. })).await;
            let every = record.settings.upkeep_every;
            let mut pause = if every == Duration::MAX { every } else { every.min(FIRST) };
            if let Err(error) = begin(&record).await {
                tracing::debug!(%error, "the upkeep could not prepare; it goes on without");
            }
            while matches!(*leadership.borrow_and_update(), Leadership::Leader { .. }) {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = leadership.changed() => if changed.is_ok() { continue } else { return },
                }
                pause = match once(&record, &mut rests).await {
                    Ok(()) => every,
                    Err(error) => {
                        tracing::warn!(%error, "the record's upkeep failed; trying again");
                        record.metrics.upkeep_failures.add(1);
                        every.min(RETRY)
                    }
                };
            }
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// What an older server, or a fresh one, has not: parameters of its partitions; the view of statements, on a server that
/// is ours and has loaded it.
async fn begin(record: &Record) -> Result<()> {
    let session = record.connector.connect("nephkeep upkeep", SESSION).await?;
    if record.settings.flock && session.client.query_one(LOADED, &[]).await.map_err(|e| classify(&e))?.get(0) {
        let create = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public";
        session.client.batch_execute(create).await.map_err(|e| classify(&e))?;
    }
    storage::settle(&session.client).await.map(drop)
}

async fn once(record: &Record, rests: &mut Rests) -> Result<()> {
    let begun = Moment::now();
    let session = record.connector.connect("nephkeep upkeep", SESSION).await?;
    let watcher = record.connector.connect("nephkeep upkeep watch", WATCHER).await?;
    let work = Work { record, session, watcher, over: begun.after(record.settings.upkeep_limit) };
    storage::settle(&work.session.client).await?;
    let waiting = work.all(rests).await;
    let metrics = &record.metrics;
    let took = u64::try_from(Moment::now().since(begun).as_millis()).unwrap_or(u64::MAX);
    metrics.upkeep_ms.add(took);
    metrics.upkeep_waiting.set(waiting? as u64);
    metrics.upkeep_runs.add(1);
    metrics.upkeep_last_run.set(record.settings.wall.micros() / 1_000_000);
    Ok(())
}

/// When tables may be tried again that took more time than there was.
#[derive(Debug, Default)]
struct Rests(HashMap<String, Moment>);

impl Rests {
    fn allow(&mut self, name: &str) -> bool {
        let now = Moment::now();
        self.0.retain(|_, until| *until > now);
        !self.0.contains_key(name)
    }
}

struct Work<'r> {
    record: &'r Record,
    session: Session,
    watcher: Session,
    over: Moment,
}

impl Work<'_> {
    /// The most urgent first. Returns how many tables are left for a later run.
    async fn all(&self, rests: &mut Rests) -> Result<usize> {
        let mut due: Vec<(Table, Due)> = Vec::new();
        for table in due::tables(&self.session.client).await? {
            if let Some(what) = table.due() {
                due.push((table, what));
            }
        }
        due.sort_by(|(_, one), (_, other)| other.urgency.total_cmp(&one.urgency));
        let mut left = 0;
        for (table, what) in &due {
            let whole = self.remaining();
            // Begun with less it could end for want of time alone, and would be taken for too large.
            if whole < self.record.settings.upkeep_limit / 2 || !rests.allow(&table.name) {
                left += 1;
                continue;
            }
            let ended = self.one(table, *what, whole).await?;
            tracing::debug!(table = table.name, ?what, ?ended, "upkeep of a table");
            if ended != Ended::Done {
                left += 1;
            }
            if ended == Ended::CutShort {
                rests.0.insert(table.name.clone(), Moment::now().after(REST));
            }
        }
        Ok(left)
    }

    fn remaining(&self) -> Duration {
        self.over.since(Moment::now())
    }

    async fn one(&self, table: &Table, what: Due, limit: Duration) -> Result<Ended> {
        let name = quoted(&table.name);
        let target = if table.parent { PARENT_TARGET } else { OWN_TARGET };
        let prepare = format!("SET statement_timeout = {}; {target}", limit.as_millis().max(1));
        self.session.client.batch_execute(&prepare).await.map_err(|e| classify(&e))?;
        let text = match what {
            Due { vacuum: true, analyze, .. } => {
                format!("VACUUM (TRUNCATE false, PARALLEL 0, ANALYZE {analyze}) nephkeep.{name}")
            }
            Due { .. } => format!("ANALYZE nephkeep.{name}"),
        };
        let ended = self.unless_waited_for(&text).await?;
        let metrics = &self.record.metrics;
        match ended {
            Ended::Done => {
                metrics.upkeep_vacuumed.add(u64::from(what.vacuum));
                metrics.upkeep_analyzed.add(u64::from(what.analyze));
            }
            Ended::CutShort => metrics.upkeep_cut_short.add(1),
            Ended::Yielded => metrics.upkeep_yielded.add(1),
            Ended::Busy => {}
        }
        Ok(ended)
    }

    async fn unless_waited_for(&self, text: &str) -> Result<Ended> {
        let pid: i32 = {
            let row = self.session.client.query_one("SELECT pg_backend_pid()", &[]).await;
            row.map_err(|e| classify(&e))?.get(0)
        };
        let mut work = std::pin::pin!(self.session.client.batch_execute(text));
        tokio::select! {
            done = &mut work => ended(done, Ended::CutShort),
            waited = self.waited_for(pid) => {
                waited?;
                self.record.connector.cancel(&self.session).await?;
                ended(work.await, Ended::Yielded)
            }
        }
    }

    /// Resolves when somebody waits for a lock that our work holds.
    async fn waited_for(&self, pid: i32) -> Result<()> {
        loop {
            tokio::time::sleep(LOOK).await;
            let row = self.watcher.client.query_one(BLOCKS, &[&pid]).await.map_err(|e| classify(&e))?;
            if row.get(0) {
                return Ok(());
            }
        }
    }
}

/// A cancelled statement was cancelled by its time or by us.
fn ended(done: Result<(), tokio_postgres::Error>, cancelled: Ended) -> Result<Ended> {
    match done {
        Ok(()) => Ok(Ended::Done),
        Err(error) => match error.code() {
            Some(code) if *code == SqlState::QUERY_CANCELED => Ok(cancelled),
            // A partition that was dropped since the look is done with, too.
            Some(code) if *code == SqlState::UNDEFINED_TABLE => Ok(Ended::Done),
            Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => Ok(Ended::Busy),
            _ => {
                let cause = classify(&error);
                Err(Error::new(cause.kind(), cause.code(), "a table could not be vacuumed or analysed")
                    .caused_by(cause))
            }
        },
    }
}
