//! What an operator should know of the record's tables, indexes and statements, and what to do: `nephkeep record advise`.
//! It looks and changes nothing; the one thing it keeps, on request, is a baseline of what statements cost.

mod indexes;
mod statements;
mod tables;

use crate::{Ledger, doctor::Verdict};
use model::Result;
use serde::Serialize;

/// Never serializable: nothing here may make the committer's statement fail.
const LOOKING: &str = "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = on; \
    SET jit = off; SET statement_timeout = '20s'; SET lock_timeout = '2s'";
const KEEPING: &str = "SET default_transaction_isolation = 'read committed'; SET jit = off; \
    SET statement_timeout = '20s'; SET lock_timeout = '2s'";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A closed list of words.
    pub what: &'static str,
    pub verdict: Verdict,
    /// The table, index, statement or session it is about.
    pub on: String,
    pub found: String,
    pub remedy: String,
}

impl Finding {
    fn new(what: &'static str, verdict: Verdict, on: &str, found: String, remedy: String) -> Self {
        Self { what, verdict, on: on.to_owned(), found, remedy }
    }
}

/// A table with all its partitions.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TableFacts {
    pub table: String,
    pub rows: u64,
    pub dead: u64,
    /// With indexes and side tables.
    pub bytes: u64,
    pub scans: u64,
    pub rows_scanned: u64,
    pub index_scans: u64,
    pub rows_fetched: u64,
    pub last_vacuum: Option<String>,
    pub last_analyze: Option<String>,
    /// Of the oldest transaction id, as a part of the age that forces a visit.
    pub age: f64,
}

/// Since the baseline, where its counters still run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// The beginning of the digest of its text.
    pub statement: String,
    pub query: String,
    pub calls: u64,
    pub total_ms: f64,
    /// Per row that it gives, or per call where it gives fewer.
    pub ms_each: f64,
    pub blocks_each: f64,
    pub baseline_ms_each: Option<f64>,
    pub baseline_blocks_each: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatementsState {
    Counted,
    /// Loaded by PostgreSQL, not created in this database.
    NotCreated,
    #[default]
    NotLoaded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Baseline {
    pub kept_at: String,
    pub statements: usize,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Advice {
    /// The worst first.
    pub findings: Vec<Finding>,
    pub tables: Vec<TableFacts>,
    pub statements_state: StatementsState,
    pub baseline: Option<Baseline>,
    /// The costliest.
    pub statements: Vec<Statement>,
}

impl Ledger {
    /// Looks at everything; fails only when PostgreSQL does not answer.
    pub async fn advise(&self) -> Result<Advice> {
        let session = self.record().connector.connect("nephkeep advice", LOOKING).await?;
        let mut advice = Advice::default();
        tables::look(&session.client, &mut advice).await?;
        indexes::look(&session.client, &mut advice).await?;
        statements::look(&session.client, &mut advice).await?;
        advice.findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        Ok(advice)
    }

    /// What statements cost so far is good: later advice is measured by it. Returns how many statements it has.
    pub async fn keep_baseline(&self) -> Result<usize> {
        let mut session = self.record().connector.connect("nephkeep advice", KEEPING).await?;
        statements::keep(&mut session).await
    }
}
