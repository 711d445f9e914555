//! What every handler sees: the record, the identities, the limits, the counters.

use crate::{
    http::prometheus::Gates,
    identity::Authenticator,
    limits::Limits,
    metrics::{CopyMetrics, DocumentMetrics, Documents, Metrics, Postgresql, RecallMetrics, RecordMetrics},
    sinks::Sender,
};
use audit::TransparencyLog;
use keys::Keystore;
use ledger::Ledger;
use model::tmf921;
use relay::{Relay, events::Events};
use std::{fmt, ops::Deref, sync::Arc};
use stores::metrics::Tier;
use tokio::sync::{Mutex, MutexGuard, Semaphore, watch};

/// Requests that change one resource wait for one another here instead of failing against each other (RECORD 16).
const LANES: usize = 4096;

/// Cheap to clone; lives as long as the server.
#[derive(Clone)]
pub struct App(Arc<Inner>);

#[expect(missing_debug_implementations, reason = "App prints for it")]
pub struct Inner {
    pub ledger: Ledger,
    pub keystore: Arc<Keystore>,
    pub audit: Arc<TransparencyLog>,
    pub relay: Arc<Relay>,
    pub events: Arc<Events>,
    /// The metrics copy.
    pub series: Arc<Tier>,
    pub metric_gates: Arc<Gates>,
    pub authenticator: Authenticator,
    pub limits: Limits,
    pub metrics: Metrics,
    pub documents: Arc<Documents>,
    pub postgresql: Postgresql,
    /// Sends to webhook sinks, and knows how each is.
    pub sinks: Sender,
    pub started: jiff::Timestamp,
    /// What every `href` begins with.
    pub base_href: String,
    pub requests: Semaphore,
    pub watchers: Arc<Semaphore>,
    /// True once the server stops: long answers end.
    pub stop: watch::Sender<bool>,
    lanes: Box<[Mutex<()>]>,
}

/// What a server is built from; the binary wires it.
#[derive(Debug, Clone)]
pub struct Parts {
    pub ledger: Ledger,
    pub keystore: Arc<Keystore>,
    pub audit: Arc<TransparencyLog>,
    pub relay: Arc<Relay>,
    pub events: Arc<Events>,
    pub series: Arc<Tier>,
}

impl App {
    #[must_use]
    pub fn new(parts: Parts, authenticator: Authenticator, limits: Limits, sinks: Sender) -> Self {
        let counted = RecordMetrics {
            record: parts.ledger.metrics(),
            audit: Arc::clone(&parts.audit),
            events: Arc::clone(&parts.events),
        };
        let copies = CopyMetrics { relay: Arc::clone(&parts.relay), series: Arc::clone(&parts.series) };
        let recall = RecallMetrics(Arc::clone(&parts.relay));
        let documents = Arc::<Documents>::default();
        let postgresql = Postgresql::new(&parts.ledger);
        Self(Arc::new(Inner {
            ledger: parts.ledger,
            keystore: parts.keystore,
            audit: parts.audit,
            relay: parts.relay,
            events: parts.events,
            series: parts.series,
            metric_gates: Arc::new(Gates::new(&limits.metric)),
            authenticator,
            metrics: Metrics::default()
                .with(counted)
                .with(copies)
                .with(postgresql.shown())
                .with_tenants(DocumentMetrics(Arc::clone(&documents)))
                .with_tenants(recall),
            documents,
            postgresql,
            sinks,
            started: crate::clock::wall(),
            base_href: tmf921::BASE_PATH.to_owned(),
            requests: Semaphore::new(limits.requests),
            watchers: Arc::new(Semaphore::new(limits.watchers)),
            limits,
            stop: watch::Sender::new(false),
            lanes: (0..LANES).map(|_| Mutex::new(())).collect(),
        }))
    }

    /// The lane of one resource: held from reading it until its change is durable.
    pub async fn lane(&self, key: &model::ResourceKey) -> MutexGuard<'_, ()> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let lane = usize::try_from(hash % LANES as u64).unwrap_or(0);
        self.0.lanes[lane].lock().await
    }
}

impl Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
