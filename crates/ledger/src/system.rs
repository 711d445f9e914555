//! What the server itself needs of the record, across tenants: its caches of principals and subscriptions, the
//! positions of hub delivery. Nothing here leaves the process: it carries no `Access` and no release.

use crate::{
    Change, ChangePage, Ledger, Resource, changes,
    committer::Stored,
    connection::{discard_if_gone, reader},
    gateway::opened,
    read::rows::{Tenants, envelope, signed, unsigned, unsigned_int},
};
use deadpool_postgres::Object;
use model::{Class, Error, Kind, Position, ResourceKey, Result, Tenant};
use std::time::Duration;
use tokio_postgres::{IsolationLevel, Row, types::ToSql};

/// How long a snapshot may be ahead of what is published.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);

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
        let Some(first) = rows.first() else {
            return Err(Error::retry("record-starting", "the record has no head for this shard yet"));
        };
        let head = unsigned(first.get(7))?;
        record.published.wait_for(head, PUBLISH_LIMIT).await?;
        let mut tenants = Tenants::default();
        let mut found = Vec::with_capacity(rows.len());
        for row in rows.iter().filter(|row| row.get::<_, Option<&str>>(0).is_some()) {
            found.push(self.of_row(kind, row, &mut tenants)?);
        }
        Ok((found, record.position_at(head)?))
    }

    fn of_row(&self, kind: Kind, row: &Row, tenants: &mut Tenants) -> Result<Resource> {
        let key = ResourceKey::new(&tenants.of(row, 0)?, kind, row.get(1))?;
        let stored = Stored {
            version: unsigned(row.get(2))?,
            ordinal: unsigned_int(row.get(3))?,
            n: unsigned(row.get(4))?,
            class: Class::from_code(row.get(5))?,
            sealed: envelope(row, 6).unwrap_or_default(),
        };
        opened(self.record(), &key, &stored)
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

    /// One statement that reads.
    pub(crate) async fn rows(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let client = reader(&self.record().pool).await?;
        let outcome = async {
            let statement = client.prepare_cached(text).await?;
            client.query(&statement, parameters).await
        };
        match outcome.await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(discard_if_gone(client, &error)),
        }
    }

    /// One statement that writes outside the committer: nothing here touches resources or the log.
    pub(crate) async fn write_apart(&self, text: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut client = reader(&self.record().pool).await?;
        match write_apart(&mut client, text, parameters).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(discard_if_gone(client, &error)),
        }
    }
}

/// Readers' sessions are read-only by default; this transaction is not, and it is not serializable, so that it can
/// never make the committer's statement fail.
pub(crate) async fn write_apart(
    client: &mut Object,
    text: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let transaction = builder.start().await?;
    let statement = transaction.prepare_cached(text).await?;
    let rows = transaction.query(&statement, parameters).await?;
    transaction.commit().await?;
    Ok(rows)
}
