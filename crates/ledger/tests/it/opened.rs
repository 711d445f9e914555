//! A ledger on a fresh database, with its own keystore and transparency log.

use crate::shared;
use audit::TransparencyLog;
use bytes::Bytes;
use keys::Keystore;
use ledger::{Group, Ledger, Op, Receipt, Settings, Write, connection::Connector};
use model::{Access, Class, Columns, Kind, Prepared, ResourceKey, Result, Role, Subject, Tenant};
use std::{sync::Arc, time::Duration};
use tokio_postgres::{Client, Config};

pub struct Opened {
    pub ledger: Ledger,
    pub config: Config,
    pub keystore: Arc<Keystore>,
    pub log: Arc<TransparencyLog>,
    pub access: Access,
    directory: tempfile::TempDir,
}

pub fn connector(config: &Config) -> Connector {
    let tokio_postgres::config::Host::Unix(socket) = &config.get_hosts()[0] else { unreachable!() };
    let password = std::str::from_utf8(config.get_password().unwrap()).unwrap();
    let (user, name) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    let url = format!("postgres://{user}:{password}@/{name}?host={}", socket.display());
    Connector::new(&url.parse().unwrap()).unwrap()
}

pub fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}
pub fn key(id: &str) -> ResourceKey {
    ResourceKey::new(&tenant(), Kind::Configuration, id).unwrap()
}
pub fn document(text: &str) -> Prepared {
    let document = Bytes::from(format!("{{\"text\":\"{text}\"}}"));
    let (subject, columns) = (Subject::of_tenant(&tenant()), Columns::default());
    Prepared { document, class: Class::Internal, subject, columns }
}
pub fn write(id: &str, op: Op, text: &str) -> Write {
    let document = (!matches!(op, Op::Delete { .. })).then(|| document(text));
    Write { key: key(id), op, document }
}
pub fn group(writes: Vec<Write>) -> Group {
    Group { writes, ..Group::default() }
}
/// The shared server of the tests runs without fsync.
fn forgetful() -> Settings {
    Settings { without_durability: true, ..Settings::default() }
}
pub fn quick() -> Settings {
    Settings { lease: Duration::from_millis(1_500), change_partition: 1_000, ..forgetful() }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // Its last checkpoint comes before its directory goes, not after.
        self.log.close();
    }
}

impl Opened {
    pub async fn new() -> Self {
        Self::on(shared::database().await, quick()).await
    }
    pub async fn on(config: Config, settings: Settings) -> Self {
        let directory = shared::directory();
        let (keystore, _) = Keystore::create(&keys::Settings::under(&directory.path().join("keys"))).unwrap();
        Self::with(config, settings, Arc::new(keystore), directory).await
    }
    /// Another server on the same record, with the same keystore and a log of its own.
    pub async fn beside(&self, settings: Settings) -> Self {
        Self::with(self.config.clone(), settings, self.keystore.clone(), shared::directory()).await
    }
    /// Another server on the same record that opened the same keystore for itself, as another process does.
    pub async fn apart(&self, settings: Settings) -> Self {
        let keystore = Keystore::open(&self.keys()).unwrap();
        Self::with(self.config.clone(), settings, Arc::new(keystore), shared::directory()).await
    }
    pub fn keys(&self) -> keys::Settings {
        keys::Settings::under(&self.directory.path().join("keys"))
    }
    async fn with(config: Config, settings: Settings, keystore: Arc<Keystore>, directory: tempfile::TempDir) -> Self {
        let log = Arc::new(TransparencyLog::open(&directory.path().join("log")).unwrap());
        let ledger = Ledger::open(settings, connector(&config), keystore.clone(), log.clone()).await.unwrap();
        let access = Access::new("ann", &[Role::Writer], &tenant(), "test");
        Self { ledger, config, keystore, log, access, directory }
    }

    pub async fn one(&self, id: &str, op: Op, text: &str) -> Result<Receipt> {
        self.ledger.write(&self.access, group(vec![write(id, op, text)])).await
    }
    pub async fn text(&self, id: &str) -> Option<(u64, String)> {
        let found = self.ledger.read(&self.access, &key(id)).await.unwrap()?;
        let ledger::Content::Clear(document) = found.document else { panic!("not in clear") };
        let value: serde_json::Value = serde_json::from_slice(&document).unwrap();
        Some((found.version, value["text"].as_str().unwrap().to_owned()))
    }
    pub async fn sql(&self) -> Client {
        shared::connect(&self.config).await.unwrap()
    }
    pub async fn number(&self, text: &str) -> i64 {
        self.sql().await.query_one(text, &[]).await.unwrap().get(0)
    }
    /// Log and tables agree: gapless, one audit row and one batch for each change.
    pub async fn assert_sound(&self) {
        let changes = self.number("SELECT count(*) FROM nephkeep.change").await;
        let next = self.number("SELECT next - 1 FROM nephkeep.log_head").await;
        assert_eq!(changes, next, "gapless");
        assert_eq!(self.number("SELECT coalesce(max(n), 0) FROM nephkeep.change").await, next);
        let paired = "SELECT count(*) FROM nephkeep.change c JOIN nephkeep.audit a USING (n, version, content_tag)";
        assert_eq!(self.number(paired).await, next, "one audit row each");
        let covered = "SELECT coalesce(sum(last - first + 1), 0)::bigint FROM nephkeep.batch";
        assert_eq!(self.number(covered).await, next, "batches cover the log");
        let current =
            "SELECT count(*) FROM nephkeep.resource r JOIN nephkeep.change c USING (n, tenant, kind, id, version)";
        assert_eq!(self.number(current).await, self.number("SELECT count(*) FROM nephkeep.resource").await);
    }
}
