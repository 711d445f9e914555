//! What a server is made of, put together in the right order and taken apart in reverse. Concrete engines are named
//! here and nowhere else.
//!
//! Keys are looked at first (nothing is sealed without them), then comes the audit log (nothing is released without it),
//! then the record, which says how new the keystore must be that is opened for it, and last the door. A start that fails half-way takes apart what it had put together.

use crate::{
    bootstrap, continuity,
    embedder::Choice,
    exit::{Failure, Outcome},
    indexes::Indexes,
    keystore,
    layout::{self, Layout},
    metrics, recovery,
    settings::{Record, Settings},
};
use audit::TransparencyLog;
use keys::Keystore;
use ledger::{
    Leadership, Ledger,
    connection::{Connector, RecordUrl},
    server::{Local, LocalOptions},
};
use model::{Error, Position, Result, Shard};
use relay::{
    Engine, KeystoreKeys, Relay, Shaper, Slots,
    events::{Events, Topics, topics},
    knowledge::ToTexts,
};
use server::{Parts, Server};
use std::{fs, future::Future, net::SocketAddr, path::Path, pin::Pin, sync::Arc};
use stores::{
    Projection,
    metrics::Tier,
    text::TextCopy,
    vectors::{Basis, CopyKeys, VectorCopy},
};

#[derive(Debug)]
pub struct Stack {
    server: Server,
    ledger: Ledger,
    audit: Arc<TransparencyLog>,
    relay: Arc<Relay>,
    metrics: Arc<Tier>,
    local: Option<Local>,
    url: String,
    layout: Layout,
}

impl Stack {
    /// Everything is there and requests are answered once `run_until` is awaited. Interrupted in the middle, it ends
    /// what it had started: nobody else would look after that PostgreSQL.
    pub async fn start(
        layout: &Layout,
        settings: &Settings,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Outcome<Self> {
        // A taken port is the commonest reason to give up: found before anything else is started.
        let listen = free(settings.listen).await.map_err(Failure::environment)?;
        keystore::look(layout, settings).map_err(Failure::environment)?;
        let audit = audit(settings).map_err(Failure::environment)?;
        let told = audit.last_write(Shard(0));
        continuity::before(&settings.record, told).map_err(Failure::environment)?;
        let record = tokio::select! {
            biased;
            () = interrupted.as_mut() => Err(given_up(&settings.record).await),
            record = record(&settings.record, settings) => record,
        };
        let (local, url) = record.map_err(Failure::environment)?;
        let metrics = metrics::tier(settings, listen).await;
        let base = Base { audit: Arc::new(audit), url, flock: local.is_some(), told, metrics };
        let opened = tokio::select! {
            biased;
            () = interrupted => Err(Failure::environment(start_interrupted())),
            opened = Box::pin(base.open(layout, settings, listen)) => opened,
        };
        match opened {
            Ok(Open { server, ledger, relay, url }) => {
                let layout = layout.clone();
                Ok(Self { server, ledger, audit: base.audit, relay, metrics: base.metrics, local, url, layout })
            }
            Err(failure) => {
                base.audit.close();
                tokio::join!(metrics::stop(&base.metrics), stop(local));
                Err(failure)
            }
        }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until told to stop, then ends everything in the order in which it depends on one another.
    pub async fn run_until(self, stopped: impl Future<Output = ()>) -> Outcome {
        let app = self.server.app().clone();
        let served = tokio::select! {
            served = self.server.serve(stopped) => served,
            never = recovery::follow(&self.layout, &app) => match never {},
        };
        tracing::info!("stopping");
        let record = async {
            self.relay.close().await;
            self.ledger.close().await;
            self.audit.close();
            stop(self.local).await;
        };
        tokio::join!(record, metrics::stop(&self.metrics));
        Ok(served?)
    }
}

async fn stop(local: Option<Local>) {
    if let Some(local) = local
        && let Err(error) = local.stop().await
    {
        tracing::error!(%error, "the private PostgreSQL did not stop as it should");
    }
}

fn start_interrupted() -> Error {
    Error::retry("start-interrupted", "the start was interrupted; what it had started was stopped again")
}

/// Ends the PostgreSQL of an interrupted start, which its abandoned start no longer holds.
async fn given_up(record: &Record) -> Error {
    match record {
        Record::Local(directory) if directory.exists() => match Local::end_left_behind(directory).await {
            Ok(()) => start_interrupted(),
            Err(error) => error,
        },
        _ => start_interrupted(),
    }
}

struct Open {
    server: Server,
    ledger: Ledger,
    relay: Arc<Relay>,
    url: String,
}

/// The copies of this record, each with what it should hold. They are opened later: one that cannot be used must not
/// keep the record from being served.
fn relay(settings: &Settings, ledger: &Ledger, keystore: &Arc<Keystore>) -> Result<Arc<Relay>> {
    let keys: Arc<dyn CopyKeys> = Arc::new(KeystoreKeys(Arc::clone(keystore)));
    let Indexes { policy, recall } = settings.indexes;
    let engine: Engine = Arc::new(move |directory, embedder| {
        let (model, dimensions, keys) = (embedder.model().into(), embedder.dimensions(), Arc::clone(&keys));
        VectorCopy::new(directory, Basis { model, dimensions, keys, policy })
    });
    let embedders = [Some(&settings.embedder), settings.next_embedder.as_ref()];
    let embedders = embedders.into_iter().flatten().map(Choice::embedder).collect::<Result<_>>()?;
    let texts: Vec<(Arc<dyn Projection>, Arc<dyn Shaper>)> =
        vec![(TextCopy::new(&settings.text, ()), Arc::new(ToTexts))];
    let relay = Relay::with_vectors(ledger, Slots::new(&settings.vectors, engine), embedders, texts)?;
    Ok(Arc::new(relay.with_recall(recall)))
}

/// The event tier: the record's own log under a policy of topics.
fn events(settings: &Settings, ledger: &Ledger) -> Result<Arc<Events>> {
    let topics = match &settings.topics {
        None => Topics::read(topics::BUILT_IN)?,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                layout::io_error("settings-unreadable", "the policy of topics cannot be read", path, error)
            })?;
            Topics::read(&text).map_err(|error| error.with("file", path.display()))?
        }
    };
    Ok(Arc::new(Events::new(ledger, topics)))
}

/// What the record and the door stand on.
struct Base {
    audit: Arc<TransparencyLog>,
    url: RecordUrl,
    /// The record is local: we hold its lock, so no predecessor can be alive.
    flock: bool,
    /// The last change that the audit log knew of when it was opened.
    told: Option<Position>,
    metrics: Arc<Tier>,
}

impl Base {
    async fn open(&self, layout: &Layout, settings: &Settings, listen: SocketAddr) -> Outcome<Open> {
        let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{listen}"));
        let own = ledger::Settings {
            holder_url: Some(url.clone()),
            flock: self.flock,
            audit_months: settings.audit_keep_months,
            #[cfg(feature = "seeded-bugs")]
            seeded_bug: crate::seeded::chosen(),
            ..ledger::Settings::default()
        };
        let connector = Connector::new(&self.url).map_err(Failure::environment)?;
        let keystore = keystore::open(layout, settings, &connector).await;
        let keystore = Arc::new(keystore.map_err(Failure::environment)?);
        let ledger = Ledger::open(own, connector, Arc::clone(&keystore), Arc::clone(&self.audit)).await;
        let ledger = ledger.map_err(Failure::environment)?;
        let bound = async {
            self.continues(&ledger).map_err(Failure::environment)?;
            keystore::remember(layout, &keystore).map_err(Failure::environment)?;
            let relay = relay(settings, &ledger, &keystore)?;
            let events = events(settings, &ledger).map_err(Failure::environment)?;
            let server = self.bind(layout, listen, (&keystore, &ledger), (&relay, events)).await?;
            Ok((relay, server))
        };
        match Box::pin(bound).await {
            Ok((relay, server)) => {
                relay.start();
                Ok(Open { server, ledger, relay, url })
            }
            Err(failure) => {
                ledger.close().await;
                Err(failure)
            }
        }
    }

    /// A follower may not yet see all that it wrote itself; the leader has everything.
    fn continues(&self, ledger: &Ledger) -> Result<()> {
        match ledger.leadership() {
            Leadership::Leader { .. } => continuity::after(self.told, ledger.published()?),
            Leadership::Follower { .. } => Ok(()),
        }
    }

    async fn bind(
        &self,
        layout: &Layout,
        listen: SocketAddr,
        (keystore, ledger): (&Arc<Keystore>, &Ledger),
        (relay, events): (&Arc<Relay>, Arc<Events>),
    ) -> Outcome<Server> {
        let parts = Parts {
            ledger: ledger.clone(),
            keystore: Arc::clone(keystore),
            audit: Arc::clone(&self.audit),
            relay: Arc::clone(relay),
            events,
            series: Arc::clone(&self.metrics),
        };
        let settings =
            server::Settings { listen, limits: server::Limits::default(), sinks: server::sinks::Policy::default() };
        let server = Server::bind(settings, parts).await.map_err(Failure::environment)?;
        bootstrap::admin(layout, &server).await?;
        if matches!(ledger.leadership(), Leadership::Leader { .. }) {
            server.register_event_schemas().await.map_err(Failure::environment)?;
        }
        Ok(server)
    }
}

/// The address asked for, with a port where any was; refused when it is taken or outside loopback.
pub async fn free(listen: SocketAddr) -> Result<SocketAddr> {
    let listener = server::listen::bind(listen).await?;
    listener.local_addr().map_err(|error| Error::bug("a bound address cannot be read").caused_by(error))
}

fn audit(settings: &Settings) -> Result<TransparencyLog> {
    for directory in [&settings.audit_directory, &settings.audit_keys] {
        layout::private_directory(directory).map_err(|error| {
            layout::io_error("directory-unusable", "a directory of the audit log cannot be made", directory, error)
        })?;
    }
    TransparencyLog::open_with(&settings.audit())
}

/// A local one is started here; who asks for it stops it.
pub async fn record(record: &Record, settings: &Settings) -> Result<(Option<Local>, RecordUrl)> {
    match record {
        Record::Local(directory) => {
            let options = LocalOptions { binaries: settings.postgresql_bin.clone(), ..LocalOptions::default() };
            let local = Local::start(directory, options).await?;
            Ok((Some(local), record_url(record)?))
        }
        Record::Postgres { .. } => Ok((None, record_url(record)?)),
    }
}

/// Where the record is to be reached once its server runs.
pub fn record_url(record: &Record) -> Result<RecordUrl> {
    match record {
        Record::Local(directory) => Ok(RecordUrl::Local(directory.clone())),
        Record::Postgres { url, password_file: Some(path) } => with_password(url, path)?.parse(),
        Record::Postgres { url, password_file: None } => url.parse(),
    }
}

/// The password joins the URL in memory only.
fn with_password(url: &str, path: &Path) -> Result<String> {
    if !layout::is_private(path).unwrap_or(true) {
        let what =
            "others may read the file with the record's password; close it with chmod 600 and change the password";
        return Err(Error::refused("credential-exposed", what).with("path", path.display()));
    }
    let password = fs::read_to_string(path).map_err(|error| {
        layout::io_error("credential-unreadable", "the record's password cannot be read", path, error)
    })?;
    let mark = if url.contains('?') { '&' } else { '?' };
    let encoded = crate::routes::below("", password.trim_end_matches('\n'));
    Ok(format!("{url}{mark}password={}", encoded.trim_start_matches('/')))
}

/// The processes that a killed server left: its PostgreSQL's, its Prometheus'.
#[must_use]
pub fn left_behind(layout: &Layout) -> Vec<i32> {
    let Ok(settings) = Settings::load(layout, None) else { return Vec::new() };
    let mut left = local_record(&settings).map(Local::left_behind).unwrap_or_default();
    left.extend(metrics::left_behind(&settings));
    left
}

/// Ends them, cleanly where they let themselves be.
pub async fn stop_left_behind(layout: &Layout) -> Outcome {
    let settings = Settings::load(layout, None)?;
    let ended = metrics::end_left_behind(&settings).await;
    if let Some(directory) = local_record(&settings) {
        Local::end_left_behind(directory).await.map_err(Failure::environment)?;
    }
    ended.map_err(Failure::environment)
}

fn local_record(settings: &Settings) -> Option<&Path> {
    match &settings.record {
        Record::Local(directory) => Some(directory),
        Record::Postgres { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_joins_the_url_encoded_and_from_a_closed_file_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        layout::write_private(&path, b"a&b=c/d\n").unwrap();
        assert_eq!(with_password("postgres://u@h/d", &path).unwrap(), "postgres://u@h/d?password=a%26b%3Dc%2Fd");
        assert_eq!(
            with_password("postgres://u@h/d?x=1", &path).unwrap(),
            "postgres://u@h/d?x=1&password=a%26b%3Dc%2Fd"
        );
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(with_password("postgres://u@h/d", &path).unwrap_err().code(), "credential-exposed");
    }
}
