//! The change log by position. Readers see only what is published (RECORD 3).
//!
//! Rows come binary and sealed, in one pass; opening a document is the caller's business, and only where wanted.

use super::rows::{Tenants, envelope, signed, tag, unsigned, unsigned_int};
use crate::{
    Change, ChangeAction,
    connection::{discard_if_gone, reader},
    record::Record,
};
use deadpool_postgres::Pool;
use futures_util::TryStreamExt;
use model::{Class, Error, Incarnation, Kind, Position, ResourceKey, Result, Shard, Tenant};
use tokio_postgres::{Row, types::ToSql};

/// Positions that one statement may walk over: a tenant with few changes among many gets an empty page and a
/// later place to go on from, instead of a statement without bound.
pub(crate) const WINDOW: u64 = 50_000;

const OF_ALL: &str = "
    SELECT n, ordinal, random, tenant, kind, id, version, action, class, principal, hlc, content_tag, sealed
    FROM nephkeep.change WHERE n > $1 AND n <= $2 ORDER BY n LIMIT $3";
const OF_TENANT: &str = "
    SELECT n, ordinal, random, tenant, kind, id, version, action, class, principal, hlc, content_tag, sealed
    FROM nephkeep.change WHERE n > $1 AND n <= $2 AND tenant = $4 ORDER BY n LIMIT $3";

const SINGLE: &str = "
    SELECT n, ordinal, random, tenant, kind, id, version, action, class, principal, hlc, content_tag, sealed
    FROM nephkeep.change WHERE n = ANY($1) AND n <= $2 AND tenant = $3";

/// Single changes of a tenant by their numbers, in no order.
pub(crate) async fn at(record: &Record, tenant: &Tenant, numbers: &[u64], published: u64) -> Result<Vec<Change>> {
    let numbers: Vec<i64> = numbers.iter().copied().map(signed).collect();
    let rows = record.rows(SINGLE, &[&numbers, &signed(published), &tenant.as_str()]).await?;
    let mut decoder = Decoder::new(record.shard());
    rows.iter().map(|row| decoder.change(row)).collect()
}

/// A stretch of the log as read: its changes, and the position up to which nothing was left out.
#[derive(Debug, Clone)]
pub struct Stretch {
    pub changes: Vec<Change>,
    pub through: u64,
}

/// Changes after `after`, not beyond `published`; of one tenant, or of all (relay, sequencer, verifier).
pub async fn read(
    pool: &Pool,
    shard: Shard,
    tenant: Option<&Tenant>,
    after: u64,
    published: u64,
    limit: usize,
) -> Result<Stretch> {
    let end = published.min(after.saturating_add(WINDOW));
    if end <= after || limit == 0 {
        return Ok(Stretch { changes: Vec::new(), through: after });
    }
    let client = reader(pool).await?;
    let (first, last, most) = (signed(after), signed(end), i64::try_from(limit).unwrap_or(i64::MAX));
    let name = tenant.map(Tenant::as_str);
    let outcome = async {
        let text = if name.is_some() { OF_TENANT } else { OF_ALL };
        let statement = client.prepare_cached(text).await?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&first, &last, &most];
        if let Some(name) = &name {
            parameters.push(name);
        }
        let rows = client.query_raw(&statement, parameters).await?;
        let mut decoder = Decoder::new(shard);
        let changes = Vec::with_capacity(limit.min(4_096));
        rows.try_fold(changes, |mut changes, row| {
            changes.push(decoder.change(&row));
            std::future::ready(Ok(changes))
        })
        .await
    };
    let changes = match outcome.await {
        Ok(changes) => changes.into_iter().collect::<Result<Vec<_>>>()?,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    let full = changes.len() >= limit;
    let through = changes.last().filter(|_| full).map_or(end, |change| change.position.n);
    Ok(Stretch { changes, through })
}

/// Turns rows, with the columns of the statements above, into changes.
#[derive(Debug)]
pub(crate) struct Decoder {
    shard: Shard,
    tenants: Tenants,
}

impl Decoder {
    pub(crate) fn new(shard: Shard) -> Self {
        Self { shard, tenants: Tenants::default() }
    }

    pub(crate) fn change(&mut self, row: &Row) -> Result<Change> {
        let incarnation =
            Incarnation { ordinal: unsigned_int(row.get(1))?, random: row.get::<_, i64>(2).cast_unsigned() };
        let position = Position { shard: self.shard, incarnation, n: unsigned(row.get(0))? };
        let key = ResourceKey {
            tenant: self.tenants.of(row, 3)?,
            kind: Kind::from_code(row.get(4))?,
            id: row.get::<_, &str>(5).into(),
        };
        Ok(Change {
            position,
            key,
            version: unsigned(row.get(6))?,
            action: action(row.get(7))?,
            class: Class::from_code(row.get(8))?,
            principal: row.get(9),
            hlc: unsigned(row.get(10))?,
            content_tag: tag(row, 11)?,
            stored: envelope(row, 12).unwrap_or_default(),
        })
    }
}

pub(crate) fn action(code: i16) -> Result<ChangeAction> {
    match code {
        1 => Ok(ChangeAction::Created),
        2 => Ok(ChangeAction::Updated),
        3 => Ok(ChangeAction::Deleted),
        4 => Ok(ChangeAction::Fork),
        5 => Ok(ChangeAction::Barrier),
        _ => Err(Error::corrupt("row-malformed", "a stored action is not one of 1..=5").with("action", code)),
    }
}
