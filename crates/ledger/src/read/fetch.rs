//! Many keys in one statement: one snapshot, with its head, so that the caller can wait until all of it is
//! published (RECORD 4).

use super::rows::{envelope, unsigned, unsigned_int};
use crate::connection::{discard_if_gone, reader};
use bytes::Bytes;
use deadpool_postgres::Pool;
use model::{Class, Error, ResourceKey, Result, Shard, Version};
use tokio_postgres::Row;

/// A row of `resource` as stored; sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResource {
    pub version: Version,
    pub ordinal: u32,
    pub n: u64,
    pub created_n: u64,
    pub class: Class,
    /// `None`: a tombstone.
    pub sealed: Option<Bytes>,
}

#[derive(Debug, Clone)]
pub struct Fetched {
    /// In the order of the keys; `None`: never written.
    pub rows: Vec<Option<StoredResource>>,
    /// The last position of the snapshot: wait until it is published before releasing anything of it.
    pub head: u64,
}

/// The join is by primary key from a bounded list: one index descent for each key, whatever the statistics say.
const STATEMENT: &str = "
    SELECT r.version, r.ordinal, r.n, r.created_n, r.class, r.sealed, h.next - 1, k.ord
    FROM nephkeep.log_head h
    CROSS JOIN unnest($2::text[], $3::int2[], $4::text[]) WITH ORDINALITY AS k(tenant, kind, id, ord)
    LEFT JOIN LATERAL (
        SELECT * FROM nephkeep.resource r WHERE r.tenant = k.tenant AND r.kind = k.kind AND r.id = k.id OFFSET 0
    ) r ON true
    WHERE h.shard = $1
    ORDER BY k.ord";

/// Reads version, ordinal, n, created_n, class and sealed, in this order, from column `first` on.
pub(crate) fn stored(row: &Row, first: usize) -> Result<StoredResource> {
    Ok(StoredResource {
        version: unsigned(row.get(first))?,
        ordinal: unsigned_int(row.get(first + 1))?,
        n: unsigned(row.get(first + 2))?,
        created_n: unsigned(row.get(first + 3))?,
        class: Class::from_code(row.get(first + 4))?,
        sealed: envelope(row, first + 5),
    })
}

/// Fetches the current versions of the keys.
pub async fn fetch(pool: &Pool, shard: Shard, keys: &[ResourceKey]) -> Result<Fetched> {
    let client = reader(pool).await?;
    let tenants: Vec<&str> = keys.iter().map(|key| key.tenant.as_str()).collect();
    let kinds: Vec<i16> = keys.iter().map(|key| key.kind.code()).collect();
    let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
    let outcome = async {
        let statement = client.prepare_cached(STATEMENT).await?;
        client.query(&statement, &[&i32::from(shard.0), &tenants, &kinds, &ids]).await
    };
    let rows = match outcome.await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    if rows.len() != keys.len() {
        let message = "the record has no head for this shard; has it been opened by a server?";
        return Err(Error::refused("record-not-migrated", message).with("shard", shard.0));
    }
    let head = rows.first().map_or(Ok(0), |row| unsigned(row.get(6)))?;
    let rows = rows.iter().map(|row| match row.get::<_, Option<i64>>(0) {
        Some(_) => stored(row, 0).map(Some),
        None => Ok(None),
    });
    Ok(Fetched { rows: rows.collect::<Result<_>>()?, head })
}
