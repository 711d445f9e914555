//! Connections to the record's PostgreSQL: one dedicated session for the committer, a pool for readers.
//!
//! A connection that answers that its server is going, gone or read-only is dropped, never reused: pooled
//! connections otherwise stay pinned to a demoted primary for days.

mod failure;
mod tls;
mod url;

pub use failure::{classify, is_gone, is_partition_missing};
pub use url::RecordUrl;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::StreamExt;
use model::{Error, Result};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Config, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

const POOL_WAIT: Duration = Duration::from_secs(5);

/// A snapshot is a serial state here, because one committer writes serially: readers need no predicate locks.
/// Every statement of theirs goes by an index, whatever the statistics of a young table say.
const READER: &str = "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on; \
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET jit = off; SET statement_timeout = '30s'; SET lock_timeout = '5s'";

/// What migrations, partitions and inspection use.
pub const ADMINISTRATION: &str =
    "SET default_transaction_isolation = 'serializable'; SET jit = off; SET lock_timeout = '10s'";

/// How to reach one record; makes sessions.
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    limit: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration's own Debug hides the password.
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A connection with its driver task; closed when dropped.
#[derive(Debug)]
pub struct Session {
    pub client: Client,
    unreplicated: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

impl Session {
    /// Whether a commit since the last call came back without its synchronous replication: its outcome is
    /// unknown and must be resolved (RECORD 3).
    #[must_use]
    pub fn take_unreplicated(&self) -> bool {
        self.unreplicated.swap(false, Ordering::SeqCst)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connector {
    pub fn new(url: &RecordUrl) -> Result<Self> {
        let url::Target { config, verification } = url.target()?;
        let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let per_host = config.get_connect_timeout().copied().unwrap_or(url::CONNECT_LIMIT);
        // Also bounds what the client library does not: the handshake after the socket is connected.
        let limit = per_host.saturating_mul(hosts.saturating_add(1));
        Ok(Self { config, tls: tls::connector(&verification)?, limit })
    }

    /// A session of its own, set up by `settings` (SET statements).
    pub async fn connect(&self, application: &str, settings: &str) -> Result<Session> {
        let mut config = self.config.clone();
        config.application_name(application);
        let attempt = timeout(self.limit, config.connect(self.tls.clone())).await;
        let (client, connection) = attempt.map_err(|_| connect_timeout())?.map_err(|e| classify(&e))?;
        let unreplicated = Arc::new(AtomicBool::new(false));
        let driver = tokio::spawn(drive(connection, Arc::clone(&unreplicated)));
        let session = Session { client, unreplicated, driver };
        session.client.batch_execute(settings).await.map_err(|e| classify(&e))?;
        Ok(session)
    }

    /// Asks the server to give up what a session runs now.
    pub async fn cancel(&self, session: &Session) -> Result<()> {
        let token = session.client.cancel_token();
        let cancelled = timeout(self.limit, token.cancel_query(self.tls.clone()));
        cancelled.await.map_err(|_| connect_timeout())?.map_err(|e| classify(&e))
    }

    /// Read-only sessions, opened as they are needed.
    pub fn pool(&self, size: usize) -> Result<Pool> {
        let mut config = self.config.clone();
        config.application_name("nephkeep reader");
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, self.tls.clone(), manager);
        let set_up = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(READER).await.map_err(HookError::Backend) })
        });
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT))
            .create_timeout(Some(self.limit))
            .post_create(set_up)
            .build()
            .map_err(|e| Error::bug("the reader pool could not be built").caused_by(e))
    }
}

/// Delivers messages, and notes the one warning that turns a commit into an unknown outcome.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, unreplicated: Arc<AtomicBool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = futures_util::stream::poll_fn(|context| connection.poll_message(context));
    while let Some(message) = messages.next().await {
        match message {
            // The text may be translated, so the code decides: any bare warning counts. It arrives before the
            // answer it belongs to, so the flag stands when the caller looks.
            Ok(AsyncMessage::Notice(notice)) if notice.code() == &SqlState::WARNING => {
                tracing::warn!(message = notice.message(), "PostgreSQL warns");
                unreplicated.store(true, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = %classify(&error), "a connection to PostgreSQL ended");
                return;
            }
        }
    }
}

/// A reader session from the pool.
pub async fn reader(pool: &Pool) -> Result<Object> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => classify(&error),
        PoolError::Timeout(_) => {
            Error::retry("record-busy", "no connection to PostgreSQL was free in time; try again").caused_by(error)
        }
        PoolError::Closed => Error::retry("shutting-down", "this server is stopping"),
        error => Error::bug("the reader pool refuses to work").caused_by(error),
    })
}

/// Gives a session up for good when the error says that its server is of no more use.
pub fn discard_if_gone(object: Object, error: &tokio_postgres::Error) -> Error {
    if is_gone(error) {
        // Others of the same server are as useless; those in use find out by themselves.
        if let Some(pool) = Object::pool(&object) {
            pool.retain(|_, _| false);
        }
        drop(Object::take(object));
    }
    classify(error)
}

fn connect_timeout() -> Error {
    Error::retry("record-unreachable", "PostgreSQL did not answer in time; is it running, and is the address right?")
}
