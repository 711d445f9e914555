//! The committer's one connection: its session settings pin the plan.

use crate::{
    connection::{self, Connector, classify},
    settings::Settings,
};
use model::Result;
use tokio_postgres::{Client, Statement};

const SESSION: &str = "SET default_transaction_isolation = 'serializable'; SET plan_cache_mode = force_generic_plan; \
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET jit = off; SET work_mem = '64MB'; SET search_path = pg_catalog; SET lock_timeout = 0; \
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = ";

#[derive(Debug)]
pub(crate) struct Session {
    inner: connection::Session,
    pub statement: Statement,
}

impl Session {
    pub(crate) async fn open(connector: &Connector, settings: &Settings) -> Result<Self> {
        let sync = if settings.skips_sync() { "off" } else { "on" };
        let inner = connector.connect("nephkeep committer", &format!("{SESSION}{sync}")).await?;
        let text = super::statement::text(settings);
        let statement = inner.client.prepare(&text).await.map_err(|error| classify(&error))?;
        Ok(Self { inner, statement })
    }
    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }
    /// Whether a commit since the last call did not wait for its synchronous standby: its outcome is unknown.
    pub(crate) fn take_unreplicated(&self) -> bool {
        self.inner.take_unreplicated()
    }
}
