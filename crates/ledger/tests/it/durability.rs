//! A PostgreSQL that is set to lose what it commits: nothing is acknowledged on it, whoever set it so and whenever.

use crate::{
    opened::{Opened, quick},
    shared,
};
use ledger::{
    Ledger, Op, Settings,
    server::{Local, LocalOptions, ServerState},
};
use model::{Error, ErrorKind, Result};
use std::{path::Path, time::Duration};
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { without_durability: false, ..quick() }
}

async fn start(record: &Path) -> Local {
    Local::start(record, LocalOptions::default()).await.unwrap()
}

async fn load(client: &Client, statement: &str) {
    client.batch_execute(statement).await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

/// Writes until one is refused, or taken again.
async fn until(opened: &Opened, done: impl Fn(&Result<()>) -> bool) -> Result<()> {
    let writing = async {
        loop {
            let written = opened.one("a", Op::Put, "text").await.map(drop);
            if done(&written) {
                return written;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, writing).await.unwrap()
}

fn names(error: &Error, setting: &str) {
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "record-not-durable"), "{error}");
    assert!(error.message().contains(setting), "{error}");
}

async fn open_another(opened: &Opened) -> Result<Ledger> {
    let connector = crate::opened::connector(&opened.config);
    Ledger::open(settings(), connector, opened.keystore.clone(), opened.log.clone()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_own_file_cannot_switch_durability_off() {
    let directory = shared::directory();
    let record = directory.path().join("record");
    start(&record).await.stop().await.unwrap();
    let own = "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nwork_mem = '5MB'\n";
    std::fs::write(record.join("data/own.conf"), own).unwrap();
    let local = start(&record).await;
    let client = shared::connect(&shared::config_of(&local)).await.unwrap();
    for (name, expected) in
        [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on"), ("work_mem", "5MB")]
    {
        let value: String = client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap().get(0);
        assert_eq!(value, expected, "{name}");
    }
    let opened = Opened::on(shared::config_of(&local), settings()).await;
    opened.one("a", Op::Create, "1").await.unwrap();
    opened.ledger.close().await;
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_postgresql_would_lose_it() {
    let directory = shared::directory();
    let local = start(&directory.path().join("record")).await;
    let opened = Opened::on(shared::config_of(&local), settings()).await;
    opened.one("a", Op::Create, "text").await.unwrap();
    let client = opened.sql().await;
    for (setting, on) in [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "local")] {
        load(&client, &format!("ALTER SYSTEM SET {setting} = off")).await;
        let refused = until(&opened, Result::is_err).await.unwrap_err();
        names(&refused, &format!("{setting} = off"));
        assert!(refused.context().is_empty(), "a writer is not told where files lie: {refused}");
        names(&opened.ledger.ready().await.unwrap_err(), setting);
        assert!(opened.text("a").await.is_some(), "reads go on");
        let another = open_another(&opened).await.unwrap_err();
        names(&another, setting);
        assert!(another.fact("set in").unwrap().contains("postgresql.auto.conf line"), "{another}");
        load(&client, &format!("ALTER SYSTEM SET {setting} = {on}")).await;
        until(&opened, Result::is_ok).await.unwrap();
        opened.ledger.ready().await.unwrap();
    }
    opened.assert_sound().await;
    opened.ledger.close().await;
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_comes_back_forgetful_is_not_led() {
    let directory = shared::directory();
    let local = start(&directory.path().join("record")).await;
    let opened = Opened::on(shared::config_of(&local), settings()).await;
    opened.one("a", Op::Create, "text").await.unwrap();
    // Not loaded: only the next server has it.
    opened.sql().await.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
    let (before, mut state) = (local.pid().unwrap(), local.state());
    let killed = rustix::process::Pid::from_raw(before).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let back = state.wait_for(|now| matches!(now, ServerState::Ready { pid, .. } if *pid != before));
    tokio::time::timeout(LIMIT, back).await.unwrap().unwrap();
    let refused = until(&opened, |written| matches!(written, Err(error) if error.code() == "record-not-durable")).await;
    names(&refused.unwrap_err(), "fsync = off");
    load(&opened.sql().await, "ALTER SYSTEM RESET fsync").await;
    until(&opened, Result::is_ok).await.unwrap();
    opened.assert_sound().await;
    opened.ledger.close().await;
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_of_the_database_alone_counts_too() {
    let directory = shared::directory();
    let local = start(&directory.path().join("record")).await;
    let config = shared::config_of(&local);
    let client = shared::connect(&config).await.unwrap();
    client.batch_execute("ALTER DATABASE postgres SET synchronous_commit = off").await.unwrap();
    let keystore = keys::Keystore::create(&keys::Settings::under(&directory.path().join("keys"))).unwrap().0;
    let log = audit::TransparencyLog::open(&directory.path().join("log")).unwrap();
    let connector = crate::opened::connector(&config);
    let refused = Ledger::open(settings(), connector, keystore.into(), log.into()).await.unwrap_err();
    names(&refused, "synchronous_commit = off");
    assert_eq!(refused.fact("set in"), Some("database"));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'nephkeep'";
    assert_eq!(client.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing was made");
    local.stop().await.unwrap();
}
