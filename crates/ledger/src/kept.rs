//! What the record holds of one kind, for its copies: page by page across tenants, sealed until it is needed. Nothing
//! here leaves the process: it carries no `Access` and no release.
//!
//! Pages are read at different moments. A copy takes the position before the first page and the log from there to
//! the head after the last one: both together are the record at that head, with no long snapshot held in PostgreSQL.

use crate::{
    Ledger, Resource,
    committer::Stored,
    gateway::opened,
    read::rows::{Tenants, envelope, unsigned, unsigned_int},
    record::starting,
};
use model::{Class, Kind, Position, ResourceKey, Result, Tenant, Version};
use tokio_postgres::Row;

/// One descent per tenant.
const TENANTS: &str = "
    WITH RECURSIVE tenants(tenant) AS (
        SELECT min(tenant) FROM nephkeep.resource
        UNION ALL
        SELECT (SELECT min(r.tenant) FROM nephkeep.resource r WHERE r.tenant > t.tenant)
        FROM tenants t WHERE t.tenant IS NOT NULL
    )
    SELECT tenant FROM tenants WHERE tenant IS NOT NULL ORDER BY tenant";

const PAGE: &str = "
    SELECT r.tenant, r.id, r.version, r.ordinal, r.n, r.class, r.sealed
    FROM nephkeep.resource r
    WHERE r.tenant = $1 AND r.kind = $2 AND r.id > $3 AND NOT r.deleted
    ORDER BY r.id LIMIT $4";

const OF_KEYS: &str = "
    SELECT r.tenant, r.id, r.version, r.ordinal, r.n, r.class, r.sealed
    FROM unnest($2::text[], $3::text[]) k(tenant, id)
    JOIN nephkeep.resource r ON r.tenant = k.tenant AND r.kind = $1 AND r.id = k.id AND NOT r.deleted";

const HEAD: &str = "SELECT next - 1 FROM nephkeep.log_head WHERE shard = $1";

/// A live resource as it is stored.
#[derive(Debug, Clone)]
pub struct Kept {
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
    pub class: Class,
    stored: Stored,
}

impl Ledger {
    /// Tenants that have something in the record, also if it is deleted.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let mut tenants = Tenants::default();
        self.rows(TENANTS, &[]).await?.iter().map(|row| tenants.of(row, 0)).collect()
    }

    /// The next resources of a tenant and kind, in the order of their ids.
    pub async fn kept(&self, tenant: &Tenant, kind: Kind, after: &str, limit: u32) -> Result<Vec<Kept>> {
        let rows = self.rows(PAGE, &[&tenant.as_str(), &kind.code(), &after, &i64::from(limit)]).await?;
        self.kept_rows(kind, rows.iter())
    }

    /// The same of these keys, whatever the order; none of those that are not there.
    pub async fn kept_of(&self, kind: Kind, keys: &[ResourceKey]) -> Result<Vec<Kept>> {
        let tenants: Vec<&str> = keys.iter().map(|key| key.tenant.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
        let rows = self.rows(OF_KEYS, &[&kind.code(), &tenants, &ids]).await?;
        self.kept_rows(kind, rows.iter())
    }

    /// The last position given out, once it is published: everything read before is at or before it.
    pub async fn head(&self) -> Result<Position> {
        let record = self.record();
        let rows = self.rows(HEAD, &[&i32::from(record.shard().0)]).await?;
        record.published_head(unsigned(rows.first().ok_or_else(starting)?.get(0))?).await
    }

    /// In clear; takes processor time.
    pub fn open_kept(&self, kept: &Kept) -> Result<Resource> {
        opened(self.record(), &kept.key, &kept.stored)
    }

    /// Of rows that begin with the columns of `PAGE`.
    pub(crate) fn kept_rows<'r>(&self, kind: Kind, rows: impl Iterator<Item = &'r Row>) -> Result<Vec<Kept>> {
        let mut tenants = Tenants::default();
        let kept = |row: &Row| {
            let stored = Stored {
                version: unsigned(row.get(2))?,
                ordinal: unsigned_int(row.get(3))?,
                n: unsigned(row.get(4))?,
                class: Class::from_code(row.get(5))?,
                sealed: envelope(row, 6).unwrap_or_default(),
            };
            Ok(Kept {
                key: ResourceKey::new(&tenants.of(row, 0)?, kind, row.get(1))?,
                version: stored.version,
                position: self.record().position(stored.ordinal, stored.n)?,
                class: stored.class,
                stored,
            })
        };
        rows.map(kept).collect()
    }
}
