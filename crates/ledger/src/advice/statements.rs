//! What statements cost, by PostgreSQL's own counters, and against a baseline that somebody called good. Texts come without
//! values: PostgreSQL takes them out before it counts.
//!
//! A plan that has changed for the worse shows in the blocks that a call touches: they do not depend on the machine's
//! load. Everything is counted per row that a statement gives, or per call where it gives fewer: one commit statement
//! carries one write or five hundred.

use super::{Advice, Baseline, Finding, Statement, StatementsState};
use crate::{
    connection::{Session, classify},
    doctor::Verdict,
    read::rows::{signed, unsigned},
    retention::quoted,
};
use model::{Error, Result};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

/// Before this many calls a mean says little, on either side.
const CALLS_MIN: u64 = 50;
/// Times as many blocks, and at least so many more: another plan.
const BLOCKS_TIMES: f64 = 3.0;
const BLOCKS_MORE: f64 = 10.0;
/// Times as slow, and at least so many milliseconds: perhaps only load.
const SLOWER_TIMES: f64 = 3.0;
const SLOWER_MORE_MS: f64 = 1.0;
/// Statements that are shown.
const TOP: usize = 10;

/// Which libraries are preloaded is shown to superusers only; a setting of one that is, to everybody. Before version 1.9
/// the extension does not tell since when it counts.
const PLACE: &str = "
    SELECT (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements_info'
            WHERE e.extname = 'pg_stat_statements'),
        EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max')";

const BASELINE: &str = "
    SELECT statement, calls, total_ms, rows, blocks, counted_since = $1::text::timestamptz,
        to_char(kept_at AT TIME ZONE 'UTC', $$YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"$$)
    FROM nephkeep.statement_baseline";

const KEEP: &str = "
    INSERT INTO nephkeep.statement_baseline
        (statement, query, calls, total_ms, rows, blocks, counted_since, kept_at)
    SELECT s, q, c, m, r, b, $7::text::timestamptz, clock_timestamp()
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::float8[], $5::bigint[], $6::bigint[]) AS u(s, q, c, m, r, b)";

/// Counters of one statement.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Cost {
    calls: u64,
    ms: f64,
    rows: u64,
    blocks: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Counted {
    statement: String,
    query: String,
    cost: Cost,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    fn units(self) -> f64 {
        self.calls.max(self.rows).max(1) as f64
    }
    fn ms_each(self) -> f64 {
        self.ms / self.units()
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    fn blocks_each(self) -> f64 {
        self.blocks as f64 / self.units()
    }
    /// What came since an earlier count of the same counters.
    fn since(self, earlier: Self) -> Self {
        Self {
            calls: self.calls - earlier.calls,
            ms: (self.ms - earlier.ms).max(0.0),
            rows: self.rows.saturating_sub(earlier.rows),
            blocks: self.blocks.saturating_sub(earlier.blocks),
        }
    }
}

/// Where the view is, when it can be asked.
async fn place(client: &Client) -> Result<std::result::Result<String, StatementsState>> {
    let row = client.query_one(PLACE, &[]).await.map_err(|e| classify(&e))?;
    Ok(match (row.get::<_, Option<String>>(0), row.get::<_, bool>(1)) {
        (_, false) => Err(StatementsState::NotLoaded),
        (None, true) => Err(StatementsState::NotCreated),
        (Some(schema), true) => Ok(quoted(&schema)),
    })
}

/// One row for each text: an id of PostgreSQL's differs by role and survives no restore. Texts of others, which this role
/// may not see, are left out, and so are commands: a password stands in them as it was typed.
fn counters(schema: &str) -> String {
    format!(
        "SELECT encode(sha256(convert_to(query, 'UTF8')), 'hex'), query, sum(calls)::bigint,
            sum(total_exec_time)::float8, sum(rows)::bigint, sum(shared_blks_hit + shared_blks_read)::bigint
        FROM {schema}.pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query <> '<insufficient privilege>'
            AND query ~* '^(\\s|--[^\\n]*\\n)*(select|insert|update|delete|merge|with|values|table)\\M'
        GROUP BY query ORDER BY 4 DESC LIMIT 5000"
    )
}

fn counted(row: &Row) -> Result<Counted> {
    let cost = Cost {
        calls: unsigned(row.get(2))?,
        ms: row.get(3),
        rows: unsigned(row.get(4))?,
        blocks: unsigned(row.get(5))?,
    };
    Ok(Counted { statement: row.get(0), query: row.get(1), cost })
}

async fn all(client: &Client, schema: &str) -> Result<(Vec<Counted>, String)> {
    let since = format!("SELECT stats_reset::text FROM {schema}.pg_stat_statements_info");
    let since = client.query_one(&since, &[]).await.map_err(|e| classify(&e))?.get(0);
    let rows = client.query(&counters(schema), &[]).await.map_err(|e| classify(&e))?;
    Ok((rows.iter().map(counted).collect::<Result<_>>()?, since))
}

pub(super) async fn look(client: &Client, advice: &mut Advice) -> Result<()> {
    let schema = match place(client).await? {
        Ok(schema) => schema,
        Err(state) => {
            advice.statements_state = state;
            advice.findings.push(missing(state));
            return Ok(());
        }
    };
    let (now, since) = all(client, &schema).await?;
    let rows = client.query(BASELINE, &[&since]).await.map_err(|e| classify(&e))?;
    let mut before = HashMap::new();
    for row in &rows {
        let cost = Cost {
            calls: unsigned(row.get(1))?,
            ms: row.get(2),
            rows: unsigned(row.get(3))?,
            blocks: unsigned(row.get(4))?,
        };
        before.insert(row.get::<_, String>(0), (cost, row.get::<_, bool>(5)));
    }
    advice.statements_state = StatementsState::Counted;
    advice.baseline = rows.first().map(|row| Baseline { kept_at: row.get(6), statements: rows.len() });
    if advice.baseline.is_none() {
        let what = "none is kept: what statements cost cannot be compared with a time when it was good".to_owned();
        let remedy = "nephkeep record advise --keep-baseline, when the record has worked well for a while".to_owned();
        advice.findings.push(Finding::new("baseline-missing", Verdict::Poor, "baseline", what, remedy));
    }
    let (shown, findings) = compared(now, &before);
    advice.statements = shown;
    advice.findings.extend(findings);
    Ok(())
}

fn missing(state: StatementsState) -> Finding {
    let (what, remedy) = match state {
        StatementsState::NotCreated => (
            "pg_stat_statements is loaded, but not created in this database",
            "as a superuser in the record's database: CREATE EXTENSION pg_stat_statements",
        ),
        _ => (
            "pg_stat_statements is not loaded: what statements cost, and whether their plans got worse, is unknown",
            "install PostgreSQL's contributed modules, add pg_stat_statements to shared_preload_libraries, restart, and \
             CREATE EXTENSION pg_stat_statements in the record's database",
        ),
    };
    Finding::new("statements-not-counted", Verdict::Poor, "statements", what.to_owned(), remedy.to_owned())
}

/// The costliest first, since the baseline where its counters still run; and what has got worse.
fn compared(now: Vec<Counted>, before: &HashMap<String, (Cost, bool)>) -> (Vec<Statement>, Vec<Finding>) {
    let (mut shown, mut findings) = (Vec::new(), Vec::new());
    for Counted { statement, query, cost } in now {
        let base = before.get(&statement);
        let cost = match base {
            Some((base, true)) if cost.calls >= base.calls => cost.since(*base),
            _ => cost,
        };
        if cost.calls == 0 {
            continue;
        }
        let one = Statement {
            statement: statement.chars().take(12).collect(),
            query: shortened(&query),
            calls: cost.calls,
            total_ms: cost.ms,
            ms_each: cost.ms_each(),
            blocks_each: cost.blocks_each(),
            baseline_ms_each: base.map(|(base, _)| base.ms_each()),
            baseline_blocks_each: base.map(|(base, _)| base.blocks_each()),
        };
        if let Some((base, _)) = base {
            findings.extend(worse(&one, *base));
        }
        shown.push(one);
    }
    shown.sort_by(|one, other| other.total_ms.total_cmp(&one.total_ms));
    shown.truncate(TOP);
    (shown, findings)
}

fn worse(now: &Statement, base: Cost) -> Option<Finding> {
    if now.calls < CALLS_MIN || base.calls < CALLS_MIN {
        return None;
    }
    let (blocks, ms) = (base.blocks_each(), base.ms_each());
    if now.blocks_each >= blocks * BLOCKS_TIMES && now.blocks_each >= blocks + BLOCKS_MORE {
        let what = format!("touches {:.1} blocks each time instead of {blocks:.1}: {}", now.blocks_each, now.query);
        let remedy =
            "EXPLAIN it: an index may be gone or invalid, statistics old (ANALYZE), or the table full of dead rows";
        return Some(Finding::new("plan-regression", Verdict::Bad, &now.statement, what, remedy.to_owned()));
    }
    (now.ms_each >= ms * SLOWER_TIMES && now.ms_each >= ms + SLOWER_MORE_MS).then(|| {
        let what = format!("takes {:.2} ms each time instead of {ms:.2}, by the same plan: {}", now.ms_each, now.query);
        let remedy = "the machine or its disk is slower or busier than it was; look at locks and I/O".to_owned();
        Finding::new("statement-slower", Verdict::Poor, &now.statement, what, remedy)
    })
}

/// One line, without comments, as long as it tells what it is.
fn shortened(query: &str) -> String {
    const MOST: usize = 160;
    let lines = query.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let line = words.join(" ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}

/// Replaces the baseline by what statements have cost so far.
pub(super) async fn keep(session: &mut Session) -> Result<usize> {
    let client = &mut session.client;
    let schema = place(client).await?.map_err(|state| {
        let finding = missing(state);
        let message = "what statements cost is not counted, so there is no baseline to keep";
        Error::retry("statements-not-counted", message).with("found", finding.found).with("remedy", finding.remedy)
    })?;
    let (now, since) = all(client, &schema).await?;
    let column = |of: fn(&Counted) -> &str| now.iter().map(of).collect::<Vec<&str>>();
    let number = |of: fn(&Cost) -> u64| now.iter().map(|one| signed(of(&one.cost))).collect::<Vec<i64>>();
    let (statements, queries) = (column(|one| &one.statement), column(|one| &one.query));
    let (calls, rows, blocks) = (number(|one| one.calls), number(|one| one.rows), number(|one| one.blocks));
    let ms: Vec<f64> = now.iter().map(|one| one.cost.ms).collect();
    let kept = async {
        let transaction = client.transaction().await?;
        transaction.execute("DELETE FROM nephkeep.statement_baseline", &[]).await?;
        transaction.execute(KEEP, &[&statements, &queries, &calls, &ms, &rows, &blocks, &since]).await?;
        transaction.commit().await
    };
    kept.await.map_err(|e| classify(&e))?;
    Ok(now.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(calls: u64, ms: f64, rows: u64, blocks: u64) -> Counted {
        let cost = Cost { calls, ms, rows, blocks };
        Counted { statement: "a1".into(), query: "-- why\nSELECT  1 -- this\n FROM t".into(), cost }
    }

    fn whats(now: Counted, base: Counted, running: bool) -> Vec<&'static str> {
        let before = HashMap::from([("a1".to_owned(), (base.cost, running))]);
        compared(vec![now], &before).1.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_plan_that_touches_more_blocks_is_a_regression_whatever_came_before() {
        let base = counted(1_000, 100.0, 1_000, 4_000);
        // The thousand good calls of the baseline do not water the bad ones down.
        let now = counted(1_100, 200.0, 1_100, 4_000 + 100 * 40);
        assert_eq!(whats(now.clone(), base.clone(), true), ["plan-regression"]);
        assert_eq!(whats(now, base.clone(), false), [""; 0], "counted anew since, and on average still good");
        assert_eq!(whats(counted(100, 10.0, 100, 4_000), base, false), ["plan-regression"]);
    }

    #[test]
    fn larger_batches_and_few_calls_are_no_regression() {
        let base = counted(1_000, 1_000.0, 1_000, 10_000);
        let larger = counted(2_000, 101_000.0, 101_000, 1_010_000);
        assert_eq!(whats(larger, base.clone(), true), [""; 0]);
        assert_eq!(whats(counted(49, 9_000.0, 49, 90_000), base, false), [""; 0]);
    }

    #[test]
    fn slower_by_the_same_plan_is_told_as_load() {
        let base = counted(1_000, 1_000.0, 1_000, 4_000);
        assert_eq!(whats(counted(100, 500.0, 100, 400), base.clone(), false), ["statement-slower"]);
        assert_eq!(whats(counted(100, 150.0, 100, 400), base, false), [""; 0]);
    }

    #[test]
    fn the_costliest_come_first_on_one_line() {
        let two = Counted { statement: "b2".into(), ..counted(1, 5.0, 1, 1) };
        let (shown, _) = compared(vec![counted(1, 1.0, 1, 1), two, counted(0, 9.0, 0, 0)], &HashMap::new());
        let names: Vec<_> = shown.iter().map(|one| (one.statement.as_str(), one.query.as_str())).collect();
        assert_eq!(names, [("b2", "SELECT 1 FROM t"), ("a1", "SELECT 1 FROM t")]);
    }
}
