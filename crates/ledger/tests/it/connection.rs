//! URLs, sessions and what becomes of them when the server dies.

use crate::shared::{config_of, connect, directory};
use ledger::{
    connection::{Connector, RecordUrl, discard_if_gone, reader},
    server::{Local, LocalOptions, ServerState},
};
use model::ErrorKind;
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test(flavor = "multi_thread")]
async fn both_urls_reach_a_private_server_and_sessions_are_set_up() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = Local::start(&record, LocalOptions::default()).await.unwrap();
    let socket = format!("postgres://nephkeep@/postgres?host={}", local.socket_dir().display());
    for url in [RecordUrl::Local(record.clone()), socket.parse().unwrap()] {
        let connector = Connector::new(&url).unwrap();
        let session = connector.connect("test", "SET jit = off").await.unwrap();
        let isolation = session.client.query_one("SHOW default_transaction_isolation", &[]).await.unwrap();
        assert_eq!(isolation.get::<_, &str>(0), "serializable");
        let pool = connector.pool(2).unwrap();
        let client = reader(&pool).await.unwrap();
        let refused = client.batch_execute("CREATE TABLE t ()").await.unwrap_err();
        assert_eq!(refused.code().map(|c| c.code()), Some("25006"));
    }
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_killed_server_are_dropped_and_fresh_ones_work() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = Local::start(&record, LocalOptions::default()).await.unwrap();
    let pool = Connector::new(&RecordUrl::Local(record)).unwrap().pool(2).unwrap();
    let (one, two) = (reader(&pool).await.unwrap(), reader(&pool).await.unwrap());
    let mut state = local.state();
    for pid in local.processes() {
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
    let error = one.query_one("SELECT pg_sleep(60)", &[]).await.unwrap_err();
    let error = discard_if_gone(one, &error);
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "record-unreachable"));
    drop(two);
    state.wait_for(|state| matches!(state, ServerState::Ready { restarts: 1.., .. })).await.unwrap();
    for _ in 0..2 {
        reader(&pool).await.unwrap().query_one("SELECT 1", &[]).await.unwrap();
    }
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_and_a_wrong_password_say_so() {
    let nobody: RecordUrl = "postgres://u:p@127.0.0.1:1/x?connect_timeout=2".parse().unwrap();
    let error = Connector::new(&nobody).unwrap().connect("test", "").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "record-unreachable"));

    let directory = directory();
    let local = Local::start(&directory.path().join("record"), LocalOptions::default()).await.unwrap();
    connect(&config_of(&local)).await.unwrap();
    let wrong = format!("postgres://nephkeep:guess@/postgres?host={}", local.socket_dir().display());
    let error = Connector::new(&wrong.parse().unwrap()).unwrap().connect("test", "").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, "record-login-refused"));
    assert!(!error.to_string().contains("guess"));
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_warning_marks_the_commit_as_unreplicated() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = Local::start(&record, LocalOptions::default()).await.unwrap();
    let session = Connector::new(&RecordUrl::Local(record)).unwrap().connect("test", "").await.unwrap();
    session.client.batch_execute("SELECT 1").await.unwrap();
    assert!(!session.take_unreplicated());
    let warn = "DO $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication due to user request'; END $$";
    session.client.batch_execute(warn).await.unwrap();
    assert!(session.take_unreplicated());
    assert!(!session.take_unreplicated());
    local.stop().await.unwrap();
}
