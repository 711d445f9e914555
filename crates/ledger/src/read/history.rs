//! The versions of one key: from its row back along `prev_n`, one primary key lookup for each.

use super::{changes::Decoder, rows::signed};
use crate::{
    Change,
    connection::{discard_if_gone, reader},
};
use deadpool_postgres::Pool;
use model::{ResourceKey, Result, Shard, Version};

/// The chain stops by itself where older partitions have been archived away.
const STATEMENT: &str = "
    WITH RECURSIVE chain AS (
        SELECT c.*, 1 AS depth FROM nephkeep.change c
        WHERE c.n = (SELECT r.n FROM nephkeep.resource r WHERE r.tenant = $1 AND r.kind = $2 AND r.id = $3)
        UNION ALL
        SELECT c.*, chain.depth + 1 FROM chain JOIN nephkeep.change c ON c.n = chain.prev_n WHERE chain.depth < $4
    )
    SELECT n, ordinal, random, tenant, kind, id, version, action, class, principal, hlc, content_tag, sealed
    FROM chain WHERE version < $5 ORDER BY n DESC LIMIT $6";

/// How far back one statement follows the chain.
const DEPTH: i32 = 100_000;

/// Versions below `before` (`None`: the newest), newest first, at most `limit`.
pub async fn versions(
    pool: &Pool,
    shard: Shard,
    key: &ResourceKey,
    before: Option<Version>,
    limit: usize,
) -> Result<Vec<Change>> {
    let client = reader(pool).await?;
    let (tenant, kind, id) = (key.tenant.as_str(), key.kind.code(), &*key.id);
    let (before, limit) = (before.map_or(i64::MAX, signed), i64::try_from(limit).unwrap_or(i64::MAX));
    let outcome = async {
        let statement = client.prepare_cached(STATEMENT).await?;
        client.query(&statement, &[&tenant, &kind, &id, &DEPTH, &before, &limit]).await
    };
    let rows = match outcome.await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    let mut decoder = Decoder::new(shard);
    rows.iter().map(|row| decoder.change(row)).collect()
}
