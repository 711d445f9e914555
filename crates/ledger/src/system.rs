//! What the server itself needs of the record, across tenants: its caches of principals and subscriptions, the
//! positions of hub delivery. Nothing here leaves the process: it carries no `Access` and no release.

use crate::{
    Change, ChangePage, Ledger, Resource, changes,
    read::rows::{signed, unsigned, unsigned_int},
    record::starting,
};
use model::{Kind, Position, Result, Tenant};
use std::time::Duration;
use tokio_postgres::{Row, types::ToSql};

/// One descent per tenant finds the tenants, one index range per tenant its resources: never a scan of the table.
const OF_KIND: &str = "
    WITH RECURSIVE tenants(tenant) AS (
        SELECT min(tenant) FROM nephkeep.resource
        UNION ALL
        SELECT (SELECT min(r.tenant) FROM nephkeep.resource r WHERE r.tenant > t.tenant)
        FROM tenants t WHERE t.tenant IS NOT NULL
    )
    SELECT r.tenant, r.id, r.version, r.ordinal, r.n, r.class, r.sealed, h.next - 1
    FROM nephkeep.log_head h
    LEFT JOIN (
        tenants t JOIN nephkeep.resource r ON r.tenant = t.tenant AND r.kind = $2 AND NOT r.deleted
    ) ON true
    WHERE h.shard = $1";

const CONSUMER: &str = "SELECT ordinal, n FROM nephkeep.consumer WHERE tenant = $1 AND consumer = $2";

/// A later life may begin at a lower position than the last one reached.
const ADVANCE: &str = "
    INSERT INTO nephkeep.consumer AS c (tenant, consumer, ordinal, n, epoch)
    SELECT tenant, consumer, ordinal, n, 0
    FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) AS m(tenant, consumer, ordinal, n)
    ON CONFLICT (tenant, consumer) DO UPDATE SET ordinal = excluded.ordinal, n = excluded.n
    WHERE (c.ordinal, c.n) < (excluded.ordinal, excluded.n)";

/// With its dead letters.
const FORGET: &str = "
    WITH letters AS (DELETE FROM nephkeep.dead_letter WHERE tenant = $1 AND consumer = $2)
    DELETE FROM nephkeep.consumer WHERE tenant = $1 AND consumer = $2";

impl Ledger {
    /// Every live resource of a kind the server caches (principals, subscriptions), and the position it was read at.
    pub async fn everywhere(&self, kind: Kind) -> Result<(Vec<Resource>, Position)> {
        let record = self.record();
        let rows = self.rows(OF_KIND, &[&i32::from(record.shard().0), &kind.code()]).await?;
        let head = record.published_head(unsigned(rows.first().ok_or_else(starting)?.get(7))?).await?;
        let live = rows.iter().filter(|row| row.get::<_, Option<&str>>(0).is_some());
        let found = self.kept_rows(kind, live)?.iter().map(|kept| self.open_kept(kept)).collect::<Result<_>>()?;
        Ok((found, head))
    }

    /// Changes of all tenants after a position, waiting up to `wait` for the first.
    pub async fn log_after(&self, after: Option<Position>, limit: usize, wait: Duration) -> Result<ChangePage> {
        changes::of_all(self.record(), after, limit, wait).await
    }

    /// The state that a change of the log made, opened: for copies, which are checked against the record.
    pub fn state_of(&self, change: &Change) -> Result<Resource> {
        changes::resource(self.record(), change)
    }

    /// Where a consumer stands; `None` before its first move.
    pub async fn consumer_position(&self, tenant: &Tenant, consumer: &str) -> Result<Option<Position>> {
        let rows = self.rows(CONSUMER, &[&tenant.as_str(), &consumer]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        self.record().position(unsigned_int(row.get(0))?, unsigned(row.get(1))?).map(Some)
    }

    /// Moves consumers forward, never back within one incarnation.
    pub async fn consumer_advance(&self, moves: &[(Tenant, String, Position)]) -> Result<()> {
        let tenants: Vec<&str> = moves.iter().map(|(tenant, ..)| tenant.as_str()).collect();
        let consumers: Vec<&str> = moves.iter().map(|(_, consumer, _)| consumer.as_str()).collect();
        let ordinals: Vec<i32> =
            moves.iter().map(|(.., at)| i32::try_from(at.incarnation.ordinal).unwrap_or(i32::MAX)).collect();
        let numbers: Vec<i64> = moves.iter().map(|(.., at)| signed(at.n)).collect();
        self.write_apart(ADVANCE, &[&tenants, &consumers, &ordinals, &numbers]).await.map(drop)
    }

    pub async fn consumer_forget(&self, tenant: &Tenant, consumer: &str) -> Result<()> {
        self.write_apart(FORGET, &[&tenant.as_str(), &consumer]).await.map(drop)
    }

    pub(crate) async fn rows(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.record().rows(text, parameters).await
    }

    pub(crate) async fn write_apart(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.record().write_apart(text, parameters).await
    }
}
