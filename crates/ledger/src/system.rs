//! What the server itself needs of the record, across tenants: its caches of principals and subscriptions, the
//! positions of hub delivery, readiness. Nothing here leaves the process: it carries no `Access` and no release.

use crate::{ChangePage, Ledger, Resource};
use model::{Error, Kind, Position, Result, Tenant};
use std::time::Duration;

impl Ledger {
    /// Whether the record can be read now; the error says why not.
    pub async fn ready(&self) -> Result<()> {
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Every live resource of a kind the server caches (principals, subscriptions), and the position it was read at.
    pub async fn everywhere(&self, kind: Kind) -> Result<(Vec<Resource>, Position)> {
        let _ = kind;
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Changes of all tenants after a position, waiting up to `wait` for the first.
    pub async fn log_after(&self, after: Option<Position>, limit: usize, wait: Duration) -> Result<ChangePage> {
        let _ = (after, limit, wait);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Where a consumer stands; `None` before its first move.
    pub async fn consumer_position(&self, tenant: &Tenant, consumer: &str) -> Result<Option<Position>> {
        let _ = (tenant, consumer);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Moves consumers forward, never back within one incarnation.
    pub async fn consumer_advance(&self, moves: &[(Tenant, String, Position)]) -> Result<()> {
        let _ = moves;
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    pub async fn consumer_forget(&self, tenant: &Tenant, consumer: &str) -> Result<()> {
        let _ = (tenant, consumer);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
}
