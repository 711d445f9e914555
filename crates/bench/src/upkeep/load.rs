//! One run: a record in process, its tables set one way or the other, and writers that are due at steady moments.

use super::Kind;
use crate::{
    home::Home,
    machine::{Sampler, Used},
    stand::failed,
};
use audit::TransparencyLog;
use bytes::Bytes;
use keys::Keystore;
use ledger::{
    Group, Ledger, Op, Settings, Write,
    connection::{Connector, RecordUrl, Session, classify},
    server::{Local, LocalOptions},
};
use model::{Access, Class, Columns, Error, Prepared, ResourceKey, Result, Role, Subject, Tenant};
use operations::drill::{
    latency::{Latencies, Percentiles},
    work,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const WRITERS: u64 = 64;
const TOGETHER: usize = 64;
/// Hexadecimal digits that no compression makes smaller than the side table takes.
const LARGE: usize = 6_000;
const SESSION: &str =
    "SET default_transaction_isolation = 'read committed'; SET idle_in_transaction_session_timeout = 0";

/// Takes away whatever we have set.
const RESET: &str = "DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT c.oid::regclass AS name,
            (SELECT string_agg(split_part(o, '=', 1), ', ') FROM unnest(c.reloptions) o
                WHERE o LIKE 'autovacuum%' OR o LIKE 'vacuum%') AS own,
            (SELECT string_agg('toast.' || split_part(o, '=', 1), ', ') FROM pg_class x, unnest(x.reloptions) o
                WHERE x.oid = c.reltoastrelid) AS side
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'nephkeep' AND c.relkind = 'r'
    LOOP
        IF coalesce(t.own, t.side) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s RESET (%s)', t.name, concat_ws(', ', t.own, t.side));
        END IF;
    END LOOP;
END $$";

const SIZES: &str = "
    SELECT pg_total_relation_size('nephkeep.resource') + pg_total_relation_size('nephkeep.name_index'),
        pg_total_relation_size('nephkeep.log_head'),
        sum(n_dead_tup) FILTER (WHERE relname = 'resource')::bigint,
        sum(autovacuum_count) FILTER (WHERE relname IN ('resource', 'name_index', 'log_head'))::bigint
    FROM pg_stat_user_tables WHERE schemaname = 'nephkeep'";

const HOLD: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM nephkeep.history";

#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Bytes of the current rows, with indexes and side table.
    pub rows: i64,
    pub head: i64,
    pub dead: i64,
    pub visits: i64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub per_second: f64,
    /// Of all three parts, from when a write was due.
    pub latency: Percentiles,
    /// Of the last part.
    pub last: Percentiles,
    pub before: Sizes,
    pub after: Sizes,
    pub used: Used,
}

impl Sample {
    pub fn bloat(&self) -> f64 {
        self.after.rows as f64 / (self.before.rows as f64).max(1.0)
    }

    pub fn shown(&self) -> Value {
        json!({"per_second": self.per_second.round(), "latency": self.latency, "last": self.last,
            "rows_before": self.before.rows, "rows_after": self.after.rows, "head_after": self.after.head,
            "dead_after": self.after.dead, "visits": self.after.visits - self.before.visits, "bloat": self.bloat(),
            "own_s": self.used.own_s, "foreign": self.used.foreign})
    }
}

/// A record and what it stands on.
struct Record {
    ledger: Ledger,
    log: Arc<TransparencyLog>,
    local: Local,
    session: Session,
    access: Access,
}

pub async fn run(home: &Home, kind: Kind, rate: f64, seconds: f64, rows: u64) -> Result<Sample> {
    let record = Record::start(home, kind).await?;
    let measured = record.measured(rate, seconds, rows).await;
    let stopped = record.stop().await;
    let sample = measured?;
    stopped.map(|()| sample)
}

impl Record {
    async fn start(home: &Home, kind: Kind) -> Result<Self> {
        let root = home.without_server()?;
        let (extra, settings) = match kind {
            Kind::Shipped => (Vec::new(), Settings::default()),
            Kind::Defaults => {
                let settings = Settings { upkeep_every: Duration::MAX, ..Settings::default() };
                (vec![("autovacuum_naptime".to_owned(), "1min".to_owned())], settings)
            }
        };
        let local = Local::start(&root.join("record"), LocalOptions { extra, ..LocalOptions::default() }).await?;
        let (keystore, _) = Keystore::create(&keys::Settings::under(&root.join("keys")))?;
        let log = Arc::new(TransparencyLog::open(&root.join("log"))?);
        let connector = Connector::new(&RecordUrl::Local(root.join("record")))?;
        let settings = Settings { flock: true, ..settings };
        let ledger = Ledger::open(settings, connector.clone(), Arc::new(keystore), Arc::clone(&log)).await?;
        let session = connector.connect("nephkeep bench", SESSION).await?;
        if kind == Kind::Defaults {
            session.client.batch_execute(RESET).await.map_err(|error| classify(&error))?;
        }
        let access = Access::new("bench", &[Role::Writer], &Tenant::new("bench")?, "bench");
        Ok(Self { ledger, log, local, session, access })
    }

    async fn stop(self) -> Result<()> {
        drop(self.session);
        self.ledger.close().await;
        self.log.close();
        self.local.stop().await
    }

    async fn sizes(&self) -> Result<Sizes> {
        let row = self.session.client.query_one(SIZES, &[]).await.map_err(|error| classify(&error))?;
        Ok(Sizes { rows: row.get(0), head: row.get(1), dead: row.get(2), visits: row.get(3) })
    }

    async fn measured(&self, rate: f64, seconds: f64, rows: u64) -> Result<Sample> {
        let mut versions = vec![1_u64; usize::try_from(rows).unwrap_or(0)];
        self.fill(rows).await?;
        let before = self.sizes().await?;
        let part = Duration::from_secs_f64(seconds / 3.0);
        let (sampler, begun) = (Sampler::begin(), Instant::now());
        let (mut all, mut last) = (Latencies::default(), Latencies::default());
        for part_of in ["alone", "beside a snapshot", "after it"] {
            let is_held = part_of == "beside a snapshot";
            if is_held {
                self.session.client.batch_execute(HOLD).await.map_err(|error| classify(&error))?;
            }
            last = self.load(rate, part, &mut versions).await?;
            if is_held {
                self.session.client.batch_execute("COMMIT").await.map_err(|error| classify(&error))?;
            }
            all.merge(&last);
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let used = sampler.end(None, &self.local.processes());
        let (latency, last) = (all.percentiles(), last.percentiles());
        let per_second = all.count() as f64 / elapsed;
        Ok(Sample { per_second, latency, last, before, after: self.sizes().await?, used })
    }

    async fn fill(&self, rows: u64) -> Result<()> {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let (ledger, access) = (self.ledger.clone(), self.access.clone());
            writers.spawn(async move {
                let mine: Vec<u64> = (0..rows).skip(writer).step_by(16).collect();
                for some in mine.chunks(TOGETHER) {
                    let writes = some.iter().map(|key| write(&access, *key, 0, Op::Create)).collect::<Result<_>>()?;
                    ledger.write(&access, Group { writes, ..Group::default() }).await?;
                }
                Ok::<(), Error>(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done.map_err(|error| Error::bug("a writer ended badly").caused_by(error))??;
        }
        Ok(())
    }

    /// Each writer has keys of its own and a write due every so often; one that comes late counts from when it was due.
    async fn load(&self, rate: f64, length: Duration, versions: &mut [u64]) -> Result<Latencies> {
        let pause = Duration::from_secs_f64(WRITERS as f64 / rate);
        let begin = tokio::time::Instant::now();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (ledger, access) = (self.ledger.clone(), self.access.clone());
            let mine = versions.iter().enumerate().skip(usize::try_from(writer).unwrap_or(0)).step_by(WRITERS as usize);
            let mut mine: Vec<(u64, u64)> = mine.map(|(key, version)| (key as u64, *version)).collect();
            writers.spawn(async move {
                let mut latencies = Latencies::default();
                let mut due = begin + pause.mul_f64(writer as f64 / WRITERS as f64);
                let mut at = 0;
                while due < begin + length {
                    tokio::time::sleep_until(due).await;
                    let next = at % mine.len().max(1);
                    let Some((key, version)) = mine.get_mut(next) else { break };
                    let put = write(&access, *key, *version, Op::Replace { expected: *version })?;
                    ledger.write(&access, Group { writes: vec![put], ..Group::default() }).await?;
                    latencies.add(due.elapsed());
                    *version += 1;
                    (at, due) = (at + 1, due + pause);
                }
                Ok::<_, Error>((latencies, mine))
            });
        }
        let mut all = Latencies::default();
        while let Some(done) = writers.join_next().await {
            let (latencies, mine) = done.map_err(|error| Error::bug("a writer ended badly").caused_by(error))??;
            all.merge(&latencies);
            for (key, version) in mine {
                if let Some(known) = versions.get_mut(usize::try_from(key).unwrap_or(usize::MAX)) {
                    *known = version;
                }
            }
        }
        if all.count() == 0 {
            return Err(failed("nothing was written: more seconds, or a higher rate"));
        }
        Ok(all)
    }
}

/// As large in every version, so that what a table grows by is bloat.
fn write(access: &Access, key: u64, version: u64, op: Op) -> Result<Write> {
    let mut document = work::intent(7, key ^ (version << 32));
    if key % 2 == 1 {
        document = format!("{{\"text\":\"{}\"}}", noise(key ^ version.rotate_left(40)));
    }
    let key = ResourceKey::new(&access.tenant, model::Kind::Intent, &format!("bench-{key}"))?;
    let (subject, columns) = (Subject::of_tenant(&access.tenant), Columns::default());
    let document = Prepared { document: Bytes::from(document), class: Class::Confidential, subject, columns };
    Ok(Write { key, op, document: Some(document) })
}

fn noise(seed: u64) -> String {
    let (mut state, mut text) = (seed, String::with_capacity(LARGE));
    while text.len() < LARGE {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let _infallible = write!(text, "{:016x}", mixed ^ (mixed >> 31));
    }
    text
}
