//! Tables: how they are read, what garbage they hold, when they were last visited; and who keeps garbage from going.

use super::{Advice, Finding, TableFacts};
use crate::{connection::classify, doctor::Verdict, read::rows::unsigned};
use model::Result;
use tokio_postgres::{Client, Row};

/// Smaller ones may be read whole.
const BIG_ROWS: u64 = 10_000;
const BIG_BYTES: u64 = 8 << 20;
const SCANS_MIN: u64 = 10;
/// Of all rows that were read, those that scans read.
const SCANNED: f64 = 0.1;
const GARBAGE_POOR: f64 = 0.2;
const GARBAGE_BAD: f64 = 0.5;
const AGE_POOR: f64 = 0.9;
const AGE_BAD: f64 = 1.5;

/// Partitions are told with their parent.
const TABLES: &str = "
    SELECT t.relname, sum(coalesce(s.n_live_tup, 0))::bigint, sum(coalesce(s.n_dead_tup, 0))::bigint,
        sum(CASE WHEN c.relkind = 'r' THEN pg_total_relation_size(c.oid) ELSE 0 END)::bigint,
        sum(coalesce(s.seq_scan, 0))::bigint, sum(coalesce(s.seq_tup_read, 0))::bigint,
        sum(coalesce(s.idx_scan, 0))::bigint, sum(coalesce(s.idx_tup_fetch, 0))::bigint,
        to_char(max(greatest(s.last_vacuum, s.last_autovacuum)) AT TIME ZONE 'UTC', $$YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"$$),
        to_char(max(greatest(s.last_analyze, s.last_autoanalyze)) AT TIME ZONE 'UTC', $$YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"$$),
        coalesce(max(CASE WHEN c.relkind = 'r' THEN age(c.relfrozenxid) END), 0)::float8
            / current_setting('autovacuum_freeze_max_age')::float8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_inherits p ON p.inhrelid = c.oid
    JOIN pg_class t ON t.oid = coalesce(p.inhparent, c.oid)
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    WHERE n.nspname = 'nephkeep' AND c.relkind IN ('r', 'p')
    GROUP BY t.relname ORDER BY 4 DESC, 1";

const SWITCHES: &str = "SELECT current_setting('autovacuum') = 'on', current_setting('track_counts') = 'on'";

/// Whoever has had a snapshot for ten minutes: until it ends, nothing that died since is removed.
const SNAPSHOTS: &str = "
    SELECT 'session ' || pid || coalesce(' (' || nullif(application_name, '') || ')', ''),
        extract(epoch FROM clock_timestamp() - xact_start)::bigint
    FROM pg_stat_activity
    WHERE backend_xmin IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
        AND xact_start < clock_timestamp() - interval '10 min'
    UNION ALL
    SELECT 'prepared transaction ' || gid, extract(epoch FROM clock_timestamp() - prepared)::bigint
    FROM pg_prepared_xacts WHERE database = current_database() AND prepared < clock_timestamp() - interval '10 min'
    ORDER BY 2 DESC LIMIT 10";

fn facts(row: &Row) -> Result<TableFacts> {
    Ok(TableFacts {
        table: row.get(0),
        rows: unsigned(row.get(1))?,
        dead: unsigned(row.get(2))?,
        bytes: unsigned(row.get(3))?,
        scans: unsigned(row.get(4))?,
        rows_scanned: unsigned(row.get(5))?,
        index_scans: unsigned(row.get(6))?,
        rows_fetched: unsigned(row.get(7))?,
        last_vacuum: row.get(8),
        last_analyze: row.get(9),
        age: row.get(10),
    })
}

pub(super) async fn look(client: &Client, advice: &mut Advice) -> Result<()> {
    let rows = client.query(TABLES, &[]).await.map_err(|e| classify(&e))?;
    advice.tables = rows.iter().map(facts).collect::<Result<_>>()?;
    for table in &advice.tables {
        advice.findings.extend([scans(table), garbage(table), unvisited(table), age(table)].into_iter().flatten());
    }
    let row = client.query_one(SWITCHES, &[]).await.map_err(|e| classify(&e))?;
    advice.findings.extend(switches(row.get(0), row.get(1)));
    for row in client.query(SNAPSHOTS, &[]).await.map_err(|e| classify(&e))? {
        let (who, seconds): (String, i64) = (row.get(0), row.get(1));
        let what = format!("has held a snapshot for {seconds} s: what has died since cannot be removed");
        let remedy = "end it, or give it a statement or transaction timeout".to_owned();
        advice.findings.push(Finding::new("snapshot-old", Verdict::Poor, &who, what, remedy));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share of rows")]
fn share(of: u64, rest: u64) -> f64 {
    of as f64 / (of.saturating_add(rest)).max(1) as f64
}

fn scans(table: &TableFacts) -> Option<Finding> {
    let big = table.rows >= BIG_ROWS && table.bytes >= BIG_BYTES;
    let scanned = share(table.rows_scanned, table.rows_fetched);
    (big && table.scans >= SCANS_MIN && scanned >= SCANNED).then(|| {
        let what = format!(
            "was read as a whole {} times: {:.0} % of all rows that were read of it",
            table.scans,
            scanned * 100.0
        );
        let remedy = "every statement of nephkeep goes by an index: look for queries and dumps of your own, and below for \
            statements that read many blocks";
        Finding::new("sequential-scans", Verdict::Poor, &table.table, what, remedy.to_owned())
    })
}

fn garbage(table: &TableFacts) -> Option<Finding> {
    let dead = share(table.dead, table.rows);
    (table.dead >= BIG_ROWS && dead >= GARBAGE_POOR).then(|| {
        let verdict = if dead >= GARBAGE_BAD { Verdict::Bad } else { Verdict::Poor };
        let what = format!("holds {} dead rows beside {} ({:.0} %)", table.dead, table.rows, dead * 100.0);
        let remedy = format!(
            "autovacuum does not keep up, or an old snapshot holds them: see snapshot-old; then VACUUM nephkeep.{}",
            table.table
        );
        Finding::new("dead-rows", verdict, &table.table, what, remedy)
    })
}

fn unvisited(table: &TableFacts) -> Option<Finding> {
    // Its days are dropped whole: nobody vacuums them, by design.
    let vacuumed = table.last_vacuum.is_some() || table.table == "request";
    let never = match (vacuumed, &table.last_analyze) {
        (true, Some(_)) => return None,
        (false, None) => "vacuumed nor analysed",
        (false, _) => "vacuumed",
        (_, None) => "analysed",
    };
    (table.rows >= BIG_ROWS * 10).then(|| {
        let what = format!("was never {never} since PostgreSQL counts ({} rows)", table.rows);
        let remedy = "the leader does it within a day; is autovacuum on, and does a server lead?".to_owned();
        Finding::new("table-unvisited", Verdict::Poor, &table.table, what, remedy)
    })
}

fn age(table: &TableFacts) -> Option<Finding> {
    (table.age >= AGE_POOR).then(|| {
        let verdict = if table.age >= AGE_BAD { Verdict::Bad } else { Verdict::Poor };
        let what = format!("its transaction ids are at {:.0} % of the age that forces a visit", table.age * 100.0);
        let remedy = format!("VACUUM (FREEZE) nephkeep.{}, and see snapshot-old", table.table);
        Finding::new("transaction-age", verdict, &table.table, what, remedy)
    })
}

fn switches(autovacuum: bool, counts: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    if !autovacuum {
        let what = "is off: only the leader's upkeep removes dead rows".to_owned();
        found.push(Finding::new("autovacuum-off", Verdict::Bad, "autovacuum", what, "set autovacuum = on".to_owned()));
    }
    if !counts {
        let what = "is off: nothing is known of tables and indexes, and autovacuum does not run".to_owned();
        found.push(Finding::new("counts-off", Verdict::Bad, "track_counts", what, "set track_counts = on".to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableFacts {
        TableFacts {
            table: "resource".into(),
            rows: 1_000_000,
            bytes: 1 << 30,
            rows_fetched: 1_000_000,
            last_vacuum: Some("2026-01-01T00:00:00Z".into()),
            last_analyze: Some("2026-01-01T00:00:00Z".into()),
            ..TableFacts::default()
        }
    }

    #[test]
    fn a_healthy_table_is_not_spoken_of() {
        let table = TableFacts { dead: 50_000, scans: 3, rows_scanned: 3_000_000, age: 0.4, ..table() };
        assert!([scans(&table), garbage(&table), unvisited(&table), age(&table)].iter().all(Option::is_none));
        assert!(switches(true, true).is_empty());
    }

    #[test]
    fn each_trouble_is_named_with_its_weight() {
        let found = scans(&TableFacts { scans: 10, rows_scanned: 1_000_000, ..table() }).unwrap();
        assert_eq!((found.what, found.verdict), ("sequential-scans", Verdict::Poor));
        assert_eq!(garbage(&TableFacts { dead: 300_000, ..table() }).unwrap().verdict, Verdict::Poor);
        assert_eq!(garbage(&TableFacts { dead: 1_100_000, ..table() }).unwrap().verdict, Verdict::Bad);
        let never = unvisited(&TableFacts { last_vacuum: None, ..table() }).unwrap();
        assert!(never.found.contains("never vacuumed since"), "{}", never.found);
        assert!(unvisited(&TableFacts { last_vacuum: None, table: "request".into(), ..table() }).is_none());
        assert_eq!(age(&TableFacts { age: 1.6, ..table() }).unwrap().verdict, Verdict::Bad);
        assert_eq!(switches(false, false).len(), 2);
    }
}
