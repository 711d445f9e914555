//! A record of one test and the event tier on it.

use audit::TransparencyLog;
use bytes::Bytes;
use keys::Keystore;
use ledger::{Group, Ledger, Op, Settings, Write, connection::Connector};
use model::{Access, Class, Columns, Kind, Position, Prepared, ResourceKey, Role, Subject, Tenant};
use relay::events::{Events, Topics, topics::BUILT_IN};
use std::sync::Arc;
use testkit::postgresql;

pub struct Stand {
    pub ledger: Ledger,
    pub events: Events,
    pub access: Access,
    pub keystore: Arc<Keystore>,
    pub database: tokio_postgres::Config,
    log: Arc<TransparencyLog>,
    _directory: tempfile::TempDir,
}

impl Stand {
    pub async fn new() -> Self {
        let directory = postgresql::directory();
        let (keystore, _) = Keystore::create(&keys::Settings::under(&directory.path().join("keys"))).unwrap();
        let keystore = Arc::new(keystore);
        let log = Arc::new(TransparencyLog::open(&directory.path().join("log")).unwrap());
        let database = postgresql::database().await;
        let connector = Connector::new(&postgresql::url_of(&database).parse().unwrap()).unwrap();
        let settings = Settings { change_partition: 10_000, without_durability: true, ..Settings::default() };
        let ledger = Ledger::open(settings, connector, Arc::clone(&keystore), Arc::clone(&log)).await.unwrap();
        let events = Events::new(&ledger, Topics::read(BUILT_IN).unwrap());
        let access = Access::new("ann", &[Role::Writer, Role::Auditor], &Tenant::new("acme").unwrap(), "test");
        Self { ledger, events, access, keystore, database, log, _directory: directory }
    }

    /// Another server on the same record, which follows; with its transparency log, to be closed with it.
    pub async fn beside(&self) -> (Ledger, Arc<TransparencyLog>, tempfile::TempDir) {
        let directory = postgresql::directory();
        let log = Arc::new(TransparencyLog::open(&directory.path().join("log")).unwrap());
        let connector = Connector::new(&postgresql::url_of(&self.database).parse().unwrap()).unwrap();
        let settings = Settings { without_durability: true, ..Settings::default() };
        let keystore = Arc::clone(&self.keystore);
        let ledger = Ledger::open(settings, connector, keystore, Arc::clone(&log)).await.unwrap();
        (ledger, log, directory)
    }

    /// One change of a configuration key.
    pub async fn put(&self, id: &str) -> Position {
        let key = ResourceKey::new(&self.access.tenant, Kind::Configuration, id).unwrap();
        let (subject, columns) = (Subject::of_tenant(&self.access.tenant), Columns::default());
        let document = Prepared { document: Bytes::from_static(b"{}"), class: Class::Internal, subject, columns };
        let group = Group { writes: vec![Write { key, op: Op::Put, document: Some(document) }], ..Group::default() };
        self.ledger.write(&self.access, group).await.unwrap().position
    }

    /// As if everything up to here had been written so many days ago.
    pub async fn age(&self, through: u64, days: u64) {
        let client = postgresql::connect(&self.database).await.unwrap();
        let micros = days * 86_400 * 1_000_000;
        let back = model::Hlc::from_micros(micros).0;
        let older = format!("UPDATE nephkeep.change SET hlc = hlc - {back} WHERE n <= {through}");
        client.batch_execute(&older).await.unwrap();
    }

    /// As if this member had been away longer than its lease.
    pub async fn expire(&self, member: &str) {
        let client = postgresql::connect(&self.database).await.unwrap();
        let away = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             UPDATE nephkeep.consumer_member SET expires = '-infinity' WHERE member = '{member}'; COMMIT"
        );
        client.batch_execute(&away).await.unwrap();
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Its last checkpoint comes before its directory goes, not after.
        self.log.close();
    }
}
