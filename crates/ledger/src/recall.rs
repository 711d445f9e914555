//! What the log says about the past: of a batch, of a request seen before, of a key at a position.

use crate::committer::{Done, Stored};
use crate::{
    connection::classify,
    read::rows::{signed, tag, unsigned},
};
use bytes::Bytes;
use model::{Class, Error, Kind, ResourceKey, Result, Tenant};
use tokio_postgres::{Client, Row};

/// First and last position of a batch that committed.
pub(crate) async fn batch(client: &Client, uuid: &str) -> Result<Option<(u64, u64)>> {
    let text = "SELECT first, last FROM nephkeep.batch WHERE batch_uuid = $1::text::uuid";
    let row = client.query_opt(text, &[&uuid]).await.map_err(|error| classify(&error))?;
    row.map(|row| Ok((unsigned(row.get(0))?, unsigned(row.get(1))?))).transpose()
}

/// A stored key.
pub(crate) fn key_of(row: &Row, at: usize) -> Result<ResourceKey> {
    let broken = |error: Error| {
        Error::corrupt("key-malformed", "a stored key is not one this version would write").caused_by(error)
    };
    let tenant = Tenant::new(row.get(at)).map_err(broken)?;
    ResourceKey::new(&tenant, Kind::from_code(row.get(at + 1))?, row.get(at + 2)).map_err(broken)
}

/// The writes at these positions.
pub(crate) async fn written(client: &Client, first: u64, last: u64) -> Result<Vec<(ResourceKey, Done)>> {
    let text = "SELECT tenant, kind, id, n, version FROM nephkeep.change WHERE n BETWEEN $1 AND $2 ORDER BY n";
    let rows = client.query(text, &[&signed(first), &signed(last)]).await.map_err(|error| classify(&error))?;
    let write = |row: &Row| Ok((key_of(row, 0)?, Done { n: unsigned(row.get(3))?, version: unsigned(row.get(4))? }));
    rows.iter().map(write).collect()
}

/// A request that is still known: its last position, how many writes it had, and the tag of its body.
pub(crate) async fn request(
    client: &Client,
    tenant: &Tenant,
    principal: &str,
    key: &str,
) -> Result<Option<(u64, u64, [u8; 32])>> {
    let text = "SELECT n, writes, body_tag FROM nephkeep.request
        WHERE tenant = $1 AND principal = $2 AND key = $3 ORDER BY day DESC LIMIT 1";
    let found = client.query_opt(text, &[&tenant.as_str(), &principal, &key]).await;
    let Some(row) = found.map_err(|error| classify(&error))? else { return Ok(None) };
    Ok(Some((unsigned(row.get(0))?, unsigned(row.get::<_, i32>(1).into())?, tag(&row, 2)?)))
}

/// The version of a key that stood right before a position: back along the key's own changes.
pub(crate) async fn as_of(client: &Client, key: &ResourceKey, before: u64) -> Result<Option<Stored>> {
    let text = "WITH RECURSIVE back AS (
            SELECT c.n, c.version, c.ordinal, c.class, c.sealed, c.prev_n
            FROM nephkeep.resource r JOIN nephkeep.change c ON c.n = r.n
            WHERE r.tenant = $1 AND r.kind = $2 AND r.id = $3
            UNION ALL
            SELECT c.n, c.version, c.ordinal, c.class, c.sealed, c.prev_n
            FROM back b JOIN nephkeep.change c ON c.n = b.prev_n WHERE b.n >= $4)
        SELECT n, version, ordinal, class, sealed FROM back WHERE n < $4 ORDER BY n DESC LIMIT 1";
    let found = client.query_opt(text, &[&key.tenant.as_str(), &key.kind.code(), &&*key.id, &signed(before)]).await;
    let Some(row) = found.map_err(|error| classify(&error))? else { return Ok(None) };
    let Some(sealed) = row.get::<_, Option<&[u8]>>(4) else { return Ok(None) };
    Ok(Some(Stored {
        version: unsigned(row.get(1))?,
        ordinal: row.get::<_, i32>(2).cast_unsigned(),
        n: unsigned(row.get(0))?,
        class: Class::from_code(row.get(3))?,
        sealed: Bytes::copy_from_slice(sealed),
    }))
}
