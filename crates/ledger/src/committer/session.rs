//! The committer's one connection: its session settings pin the plan, its driver hears the warnings.

use crate::Settings;
use futures_util::future::poll_fn;
use model::{Error, Result};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Statement, error::SqlState};

const SESSION: &str = "SET default_transaction_isolation = 'serializable'; SET plan_cache_mode = force_generic_plan; \
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
    SET jit = off; SET work_mem = '64MB'; SET search_path = pg_catalog; SET lock_timeout = 0; \
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = ";

#[derive(Debug)]
pub(crate) struct Session {
    pub client: Client,
    pub statement: Statement,
    warnings: Arc<AtomicU64>,
    driver: JoinHandle<()>,
}

impl Session {
    pub(crate) async fn open(config: &Config, settings: &Settings) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        let warnings = Arc::new(AtomicU64::new(0));
        let driver = tokio::spawn(drive(connection, warnings.clone()));
        let sync = if settings.skips_sync() { "off" } else { "on" };
        client.batch_execute(&format!("{SESSION}{sync}")).await?;
        let statement = client.prepare(&super::statement::text(settings)).await?;
        Ok(Self { client, statement, warnings, driver })
    }

    /// How often the server has said that a commit did not wait for its synchronous standby.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>, warnings: Arc<AtomicU64>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && *notice.code() == SqlState::WARNING
        {
            warnings.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The record cannot be reached.
pub(crate) fn unreachable(error: tokio_postgres::Error) -> Error {
    Error::retry("record-unreachable", "PostgreSQL does not answer; nothing was written").caused_by(error)
}
