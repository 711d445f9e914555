//! The `audit` table: who wrote what when. Reads and denials stand in the transparency log.

use super::{
    changes,
    rows::{Tenants, signed, tag, unsigned, unsigned_int},
};
use crate::{
    ChangeAction,
    connection::{discard_if_gone, reader},
};
use deadpool_postgres::{Object, Pool};
use jiff::Timestamp;
use model::{Class, Kind, ResourceKey, Result, Tenant, Version};
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;

/// All that is given must hold. Ordered by position.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    pub principal: Option<String>,
    pub kind: Option<Kind>,
    pub id: Option<String>,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    /// Keyset: entries after this position.
    pub after_n: u64,
    /// 0 counts as 100; at most 1,000.
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub n: u64,
    pub ordinal: u32,
    pub at: Timestamp,
    pub hlc: u64,
    pub principal: String,
    pub action: ChangeAction,
    pub key: ResourceKey,
    pub version: Version,
    pub class: Class,
    pub purpose: String,
    pub content_tag: [u8; 32],
}

#[derive(Debug, Clone)]
pub struct AuditPage {
    pub rows: Vec<AuditRow>,
    /// For the next page's `after_n`; `None`: this was the last.
    pub next: Option<u64>,
    /// Entries are complete up to this position.
    pub published: u64,
}

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1_000;
/// Positions that one statement walks over (BRIN finds their blocks), and statements of one call. A search that
/// finds little says where to go on, instead of running without bound.
const WINDOW: u64 = 100_000;
const WINDOWS: u32 = 20;

/// Absent filters compare with a value that holds for every row, so that there is one statement and one plan;
/// time bounds prune partitions.
const STATEMENT: &str = "
    SELECT n, ordinal, at, hlc, principal, action, tenant, kind, id, version, class, purpose, content_tag
    FROM nephkeep.audit
    WHERE tenant = $1 AND n > $2 AND n <= $3
        AND ($4::text IS NULL OR principal = $4) AND ($5::int2 IS NULL OR kind = $5) AND ($6::text IS NULL OR id = $6)
        AND at >= $7 AND at < $8
    ORDER BY n LIMIT $9";

/// Entries of one tenant, up to `published`.
pub async fn list(pool: &Pool, tenant: &Tenant, published: u64, query: &AuditQuery) -> Result<AuditPage> {
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MOST) } as usize;
    let client = reader(pool).await?;
    let (mut rows, mut through) = (Vec::new(), query.after_n);
    for _ in 0..WINDOWS {
        if rows.len() >= limit || through >= published {
            break;
        }
        let end = published.min(through.saturating_add(WINDOW));
        match window(&client, tenant, query, (through, end), limit - rows.len()).await {
            Ok(found) => rows.extend(found),
            Err(error) => return Err(discard_if_gone(client, &error)),
        }
        through = end;
    }
    let mut tenants = Tenants::default();
    let rows: Vec<AuditRow> = rows.iter().map(|row| audit_row(row, &mut tenants)).collect::<Result<_>>()?;
    let next = match rows.last() {
        Some(last) if rows.len() >= limit => Some(last.n),
        _ => Some(through).filter(|through| *through < published),
    };
    Ok(AuditPage { rows, next, published })
}

async fn window(
    client: &Object,
    tenant: &Tenant,
    query: &AuditQuery,
    (after, end): (u64, u64),
    limit: usize,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(STATEMENT).await?;
    let (after, end, limit) = (signed(after), signed(end), i64::try_from(limit).unwrap_or(i64::MAX));
    let (name, kind) = (tenant.as_str(), query.kind.map(Kind::code));
    let from = query.from.map_or(SystemTime::UNIX_EPOCH, system_time);
    let to = query.to.map_or_else(end_of_time, system_time);
    client.query(&statement, &[&name, &after, &end, &query.principal, &kind, &query.id, &from, &to, &limit]).await
}

/// Before 1970 there are no entries.
fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_microsecond()).unwrap_or(0))
}

/// Year 9999: beyond every partition, within PostgreSQL's range.
fn end_of_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_370_764_800)
}

/// Reads the columns of the statement above, in its order.
pub(crate) fn audit_row(row: &Row, tenants: &mut Tenants) -> Result<AuditRow> {
    let at: SystemTime = row.get(2);
    let out_of_range = |e| model::Error::corrupt("row-malformed", "a stored time is out of range").caused_by(e);
    Ok(AuditRow {
        n: unsigned(row.get(0))?,
        ordinal: unsigned_int(row.get(1))?,
        at: Timestamp::try_from(at).map_err(|e: jiff::Error| out_of_range(e))?,
        hlc: unsigned(row.get(3))?,
        principal: row.get(4),
        action: changes::action(row.get(5))?,
        key: ResourceKey {
            tenant: tenants.of(row, 6)?,
            kind: Kind::from_code(row.get(7))?,
            id: row.get::<_, &str>(8).into(),
        },
        version: unsigned(row.get(9))?,
        class: Class::from_code(row.get(10))?,
        purpose: row.get(11),
        content_tag: tag(row, 12)?,
    })
}
