//! Completeness of the audit: every change has its `audit` row, every audit row its `Write` leaf in the
//! transparency log, by position, saying the same (RECORD 11). Walks all three side by side in stretches.
//!
//! The log is never rolled back: leaves of an older incarnation past a fork are voided, and passed over.

use super::{
    audit::{AuditRow, audit_row},
    rows::{Tenants, signed, tag, unsigned},
};
use crate::{
    ChangeAction,
    connection::{discard_if_gone, reader},
};
use audit::{Entry, EntryKind, Query, TransparencyLog};
use deadpool_postgres::Pool;
use model::{Error, Position, Result, Shard};
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

const STRETCH: u64 = 10_000;
/// Findings that are named; all are counted.
const NAMED: usize = 20;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Reconciliation {
    /// Positions compared: from the first audit row that is kept through the last leaf that was there at the start.
    pub from: u64,
    pub through: u64,
    pub changes: u64,
    pub audit_rows: u64,
    pub leaves: u64,
    /// Leaves of incarnations that were left behind.
    pub voided_leaves: u64,
    /// The first of them, in order.
    pub findings: Vec<Finding>,
    pub findings_in_all: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub n: u64,
    pub what: &'static str,
}

impl Reconciliation {
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.findings_in_all == 0
    }
    fn find(&mut self, n: u64, what: &'static str) {
        self.findings_in_all += 1;
        if self.findings.len() < NAMED {
            self.findings.push(Finding { n, what });
        }
    }
}

/// Compares everything up to the last `Write` leaf, or to `published` if that is less.
pub async fn reconcile(
    pool: &Pool,
    log: &Arc<TransparencyLog>,
    shard: Shard,
    published: u64,
) -> Result<Reconciliation> {
    let through = log.last_write(shard).map_or(0, |position| position.n).min(published);
    let (from, first_change, lives) = bounds(pool, shard).await?;
    let mut result = Reconciliation { from: from.min(through.saturating_add(1)), through, ..Reconciliation::default() };
    let mut leaves =
        Leaves { log: Arc::clone(log), shard, lives, rest: Some(0..log.size()), held: VecDeque::new(), voided: 0 };
    let mut after = from.saturating_sub(1);
    while after < through {
        let end = through.min(after + STRETCH);
        let rows = audit_rows(pool, after, end).await?;
        let changes = if end >= first_change {
            changes(pool, after.max(first_change.saturating_sub(1)), end).await?
        } else {
            BTreeMap::new()
        };
        let told = leaves.between(after, end).await?;
        compare(&mut result, (after, end), first_change, &rows, &changes, &told);
        after = end;
    }
    result.voided_leaves = leaves.voided;
    Ok(result)
}

/// What a change says, as far as an audit row repeats it.
type Told = (u64, String, [u8; 32]);

fn compare(
    result: &mut Reconciliation,
    (after, end): (u64, u64),
    first_change: u64,
    rows: &BTreeMap<u64, Vec<AuditRow>>,
    changes: &BTreeMap<u64, (ChangeAction, Told)>,
    leaves: &BTreeMap<u64, Vec<Entry>>,
) {
    for n in after + 1..=end {
        let (row, change, leaf) = (rows.get(&n), changes.get(&n), leaves.get(&n));
        result.audit_rows += row.map_or(0, |rows| rows.len() as u64);
        result.changes += u64::from(change.is_some());
        result.leaves += leaf.map_or(0, |leaves| leaves.len() as u64);
        // A fork and a barrier are positions of the log's own.
        let about_a_key =
            change.is_none_or(|(action, _)| !matches!(action, ChangeAction::Fork | ChangeAction::Barrier));
        if change.is_none() && n >= first_change {
            result.find(n, "a position without its change");
        }
        match (row.map(Vec::as_slice), leaf.map(Vec::as_slice)) {
            (None, _) if about_a_key => result.find(n, "a change without its audit row"),
            (Some([_, _, ..]), _) => result.find(n, "more than one audit row"),
            (Some(_), None) => result.find(n, "an audit row without its leaf in the transparency log"),
            (_, Some([_, _, ..])) => result.find(n, "more than one leaf in the transparency log"),
            (Some([row]), Some([leaf])) if !says_the_same(row, leaf) => {
                result.find(n, "a leaf that says something else than the audit row");
            }
            _ => {}
        }
        if let (Some([row]), Some((action, told))) = (row.map(Vec::as_slice), change)
            && (*action, told) != (row.action, &(row.version, row.key.to_string(), row.content_tag))
        {
            result.find(n, "an audit row that says something else than the change");
        }
    }
}

fn says_the_same(row: &AuditRow, leaf: &Entry) -> bool {
    let Entry::Write { principal, tenant, kind, id, version, class, purpose, content_tag, hlc, .. } = leaf else {
        return false;
    };
    (principal, tenant.as_str(), *kind, id.as_str())
        == (&row.principal, row.key.tenant.as_str(), row.key.kind.code(), &*row.key.id)
        && (*version, *class, purpose, *content_tag, *hlc)
            == (row.version, row.class, &row.purpose, row.content_tag, row.hlc)
}

/// The first audit row and the first change that are kept, and the lives of the log: ordinal and fork.
async fn bounds(pool: &Pool, shard: Shard) -> Result<(u64, u64, Vec<(u32, u64)>)> {
    let client = reader(pool).await?;
    let bounds =
        "SELECT coalesce((SELECT min(n) FROM nephkeep.audit), 1), coalesce((SELECT min(n) FROM nephkeep.change), 1)";
    let lives = "SELECT ordinal, fork_n FROM nephkeep.history WHERE shard = $1 ORDER BY ordinal";
    let shard = i32::from(shard.0);
    let outcome = async { Ok((client.query_one(bounds, &[]).await?, client.query(lives, &[&shard]).await?)) };
    let (bounds, lives) = match outcome.await {
        Ok(found) => found,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    let lives = lives.iter().map(|row| Ok((row.get::<_, i32>(0).cast_unsigned(), unsigned(row.get(1))?)));
    // Where the log begins, both begin: a missing first audit row must not hide behind its own absence.
    let (audit, change) = (unsigned(bounds.get(0))?, unsigned(bounds.get(1))?);
    Ok((audit.min(change), change, lives.collect::<Result<_>>()?))
}

async fn audit_rows(pool: &Pool, after: u64, end: u64) -> Result<BTreeMap<u64, Vec<AuditRow>>> {
    let text = "SELECT n, ordinal, at, hlc, principal, action, tenant, kind, id, version, class, purpose, content_tag
        FROM nephkeep.audit WHERE n > $1 AND n <= $2";
    let mut tenants = Tenants::default();
    let mut found: BTreeMap<u64, Vec<AuditRow>> = BTreeMap::new();
    for row in stretch(pool, text, after, end).await? {
        let row = audit_row(&row, &mut tenants)?;
        found.entry(row.n).or_default().push(row);
    }
    Ok(found)
}

async fn changes(pool: &Pool, after: u64, end: u64) -> Result<BTreeMap<u64, (ChangeAction, Told)>> {
    let text = "SELECT n, action, version, tenant, kind, id, content_tag FROM nephkeep.change WHERE n > $1 AND n <= $2";
    let rows = stretch(pool, text, after, end).await?;
    let told = rows.iter().map(|row| {
        let kind = model::Kind::from_code(row.get(4));
        let key = kind.map(|kind| format!("{}/{kind}/{}", row.get::<_, &str>(3), row.get::<_, &str>(5)));
        let action = super::changes::action(row.get(1))?;
        // The log's own rows are about no kind.
        let key = if matches!(action, ChangeAction::Fork | ChangeAction::Barrier) { String::new() } else { key? };
        Ok((unsigned(row.get(0))?, (action, (unsigned(row.get(2))?, key, tag(row, 6)?))))
    });
    told.collect()
}

async fn stretch(pool: &Pool, text: &'static str, after: u64, end: u64) -> Result<Vec<tokio_postgres::Row>> {
    let client = reader(pool).await?;
    let outcome = async {
        let statement = client.prepare_cached(text).await?;
        client.query(&statement, &[&signed(after), &signed(end)]).await
    };
    match outcome.await {
        Ok(rows) => Ok(rows),
        Err(error) => Err(discard_if_gone(client, &error)),
    }
}

/// The `Write` leaves of a shard in the order of the log, which is that of their positions.
struct Leaves {
    log: Arc<TransparencyLog>,
    shard: Shard,
    lives: Vec<(u32, u64)>,
    rest: Option<Range<u64>>,
    held: VecDeque<(u64, Entry)>,
    voided: u64,
}

impl Leaves {
    /// Leaves after `after` through `end`; earlier ones are passed over.
    async fn between(&mut self, after: u64, end: u64) -> Result<BTreeMap<u64, Vec<Entry>>> {
        let mut found: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        loop {
            while let Some((n, _)) = self.held.front() {
                if *n > end {
                    return Ok(found);
                }
                if let Some((n, entry)) = self.held.pop_front()
                    && n > after
                {
                    found.entry(n).or_default().push(entry);
                }
            }
            if self.rest.is_none() {
                return Ok(found);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<()> {
        let (log, range) = (Arc::clone(&self.log), self.rest.take());
        let limit = usize::try_from(STRETCH).unwrap_or(usize::MAX);
        let query = Query { range, kind: Some(EntryKind::Write), limit, ..Query::default() };
        let found = tokio::task::spawn_blocking(move || log.query(&query)).await;
        let found = found.map_err(|e| Error::bug("reading the transparency log failed").caused_by(e))??;
        self.rest = found.rest.filter(|rest| !rest.is_empty());
        for (_, entry) in found.entries {
            let Entry::Write { position, .. } = &entry else { continue };
            match position {
                position if position.shard != self.shard => {}
                position if self.is_voided(*position) => self.voided += 1,
                position => self.held.push_back((position.n, entry)),
            }
        }
        Ok(())
    }

    fn is_voided(&self, position: Position) -> bool {
        self.lives.iter().any(|(ordinal, fork_n)| *ordinal > position.incarnation.ordinal && position.n >= *fork_n)
    }
}
