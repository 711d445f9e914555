//! The supervised private server.

use crate::shared::{config_of, connect, directory, mode};
use ledger::server::{Local, LocalOptions, ServerState};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

async fn start(record: &Path) -> Local {
    Local::start(record, LocalOptions::default()).await.unwrap()
}

/// Until the supervisor reports the restart.
async fn restarted(local: &Local) -> i32 {
    let mut state = local.state();
    let ready = state.wait_for(|state| matches!(state, ServerState::Ready { restarts: 1.., .. })).await.unwrap();
    let ServerState::Ready { pid, .. } = *ready else { unreachable!() };
    pid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_its_data() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = start(&record).await;
    let client = connect(&config_of(&local)).await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 7 AS n").await.unwrap();
    let first = local.pid().unwrap();
    local.processes().into_iter().for_each(kill);
    assert_ne!(restarted(&local).await, first);
    let client = connect(&config_of(&local)).await.unwrap();
    let n: i32 = client.query_one("SELECT n FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(n, 7);
    local.stop().await.unwrap();
    assert!(!record.join("data/postmaster.pid").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postmaster_alone_is_replaced_too() {
    let directory = directory();
    let local = start(&directory.path().join("record")).await;
    // A busy backend does not notice by itself that its postmaster is gone.
    let client = connect(&config_of(&local)).await.unwrap();
    let busy =
        tokio::spawn(async move { client.query_one("SELECT count(*) FROM generate_series(1, 1e11)", &[]).await });
    let watcher = connect(&config_of(&local)).await.unwrap();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%1e11%' AND pid <> pg_backend_pid()";
    while watcher.query_one(running, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    kill(local.pid().unwrap());
    let pid = restarted(&local).await;
    assert!(busy.await.unwrap().is_err());
    assert_eq!(local.pid(), Some(pid));
    connect(&config_of(&local)).await.unwrap();
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_supervisor_is_refused_and_the_next_one_clears_up() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = start(&record).await;
    let refused = Local::start(&record, LocalOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), "directory-in-use");
    assert_eq!(refused.fact("held by pid"), Some(std::process::id().to_string().as_str()));
    local.stop().await.unwrap();

    // What a power cut can leave: an empty pid file, and a half-made directory.
    std::fs::write(record.join("data/postmaster.pid"), "").unwrap();
    std::fs::create_dir(record.join("data.new")).unwrap();
    start(&record).await.stop().await.unwrap();

    // The pid of a living stranger (ours): PostgreSQL alone would refuse to start.
    std::fs::write(record.join("data/postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    start(&record).await.stop().await.unwrap();

    // The same in the lock of the socket, as a killed postmaster that nobody reaps leaves it.
    let local = start(&record).await;
    let lock = local.socket_dir().join(format!(".s.PGSQL.{}.lock", local.port()));
    let text = std::fs::read_to_string(&lock).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    local.stop().await.unwrap();
    std::fs::write(&lock, format!("1\n{rest}")).unwrap();
    start(&record).await.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_of_a_killed_supervisor_is_stopped_by_the_next() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = start(&record).await;
    let mut config = tokio_postgres::Config::new();
    config.host_path(local.socket_dir()).user("nephkeep").password(local.password()).dbname("postgres");
    let pid = local.pid().unwrap();
    local.stop().await.unwrap();
    // As a killed supervisor leaves it: running, and nobody holds the lock.
    let data = record.join("data");
    let owner = std::fs::metadata(&data).unwrap();
    let mut orphan = std::process::Command::new(Local::find_binaries().unwrap().program("postgres"));
    orphan.arg("-D").arg(&data).env_clear().current_dir("/").stderr(std::process::Stdio::null());
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        orphan.uid(owner.uid()).gid(owner.gid());
    }
    let mut orphan = orphan.spawn().unwrap();
    while connect(&config).await.is_err() {
        tokio::task::yield_now().await;
    }
    let next = start(&record).await;
    assert!(orphan.wait().unwrap().success(), "it was shut down cleanly");
    assert_ne!(next.pid(), Some(pid));
    connect(&config).await.unwrap();
    next.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_closed_to_others_and_owned_by_the_right_account() {
    let directory = directory();
    let record = directory.path().join("record");
    let local = start(&record).await;
    for (file, expected) in [
        ("data", 0o700),
        ("socket", 0o700),
        ("password", 0o600),
        ("lock", 0o600),
        ("log", 0o600),
        ("data/pg_hba.conf", 0o600),
    ] {
        assert_eq!(mode(&record.join(file)), expected, "{file}");
    }
    assert_eq!(mode(&record) & 0o067, 0);
    assert!(!record.join("password.initdb").exists());
    assert_ne!(std::fs::metadata(record.join("data")).unwrap().uid(), 0);
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_does_not_open_and_settings_are_as_promised() {
    let directory = directory();
    let local = start(&directory.path().join("record")).await;
    let mut wrong = config_of(&local);
    wrong.password("guess");
    let refused = connect(&wrong).await.unwrap_err();
    assert_eq!(refused.code().map(|state| state.code()), Some("28P01"));
    let client = connect(&config_of(&local)).await.unwrap();
    for (name, expected) in [
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("wal_level", "replica"),
        ("lc_collate", "C"),
        ("server_encoding", "UTF8"),
        ("log_error_verbosity", "terse"),
    ] {
        let value: String = client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap().get(0);
        assert_eq!(value, expected, "{name}");
    }
    local.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_too_long_for_a_socket_gets_a_short_one() {
    let directory = directory();
    let record = directory.path().join("d".repeat(120));
    let local = start(&record).await;
    assert!(!local.socket_dir().starts_with(&record));
    connect(&config_of(&local)).await.unwrap();
    let short = local.socket_dir().to_owned();
    assert_eq!(std::fs::read_to_string(record.join("socket-path")).unwrap(), short.to_string_lossy());
    assert_eq!(mode(&short), 0o700);
    local.stop().await.unwrap();
    std::fs::remove_dir_all(short).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_files_and_closed_parents_are_refused_untouched() {
    let directory = directory();
    let record = directory.path().join("record");
    std::fs::create_dir_all(record.join("data")).unwrap();
    std::fs::write(record.join("data/thesis.txt"), "mine").unwrap();
    let refused = Local::start(&record, LocalOptions::default()).await.unwrap_err();
    assert_eq!(refused.code(), "directory-foreign");
    assert_eq!(std::fs::read_to_string(record.join("data/thesis.txt")).unwrap(), "mine");

    let missing = LocalOptions { binaries: Some(directory.path().to_owned()), ..LocalOptions::default() };
    let refused = Local::start(&directory.path().join("other"), missing).await.unwrap_err();
    assert_eq!(refused.code(), "postgresql-missing");

    if rustix::process::geteuid().is_root() {
        let closed = tempfile::tempdir().unwrap();
        std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let refused = Local::start(&closed.path().join("record"), LocalOptions::default()).await.unwrap_err();
        assert_eq!(refused.code(), "directory-not-traversable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let directory = directory();
    let extra = vec![("shared_buffers".to_owned(), "a lot".to_owned())];
    let refused =
        Local::start(&directory.path().join("record"), LocalOptions { extra, ..LocalOptions::default() }).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "server-start-failed");
    assert!(refused.fact("said").unwrap().contains("postgresql.conf"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_bounded_and_no_value_gets_into_it() {
    let directory = directory();
    let record = directory.path().join("record");
    start(&record).await.stop().await.unwrap();
    let long = 9 << 20;
    std::fs::OpenOptions::new().write(true).open(record.join("log")).unwrap().set_len(long).unwrap();
    let local = start(&record).await;
    assert!(std::fs::metadata(record.join("log.1")).unwrap().len() >= long);
    assert!(std::fs::metadata(record.join("log")).unwrap().len() < 1 << 20);
    let client = connect(&config_of(&local)).await.unwrap();
    client.batch_execute("CREATE TABLE t (id text PRIMARY KEY, n int)").await.unwrap();
    client.execute("INSERT INTO t VALUES ($1, 1)", &[&"s3cret"]).await.unwrap();
    client.execute("INSERT INTO t VALUES ($1, 1)", &[&"s3cret"]).await.unwrap_err();
    client.query("SELECT $1::text::int", &[&"s3cret"]).await.unwrap_err();
    client.batch_execute("INSERT INTO t VALUES ('other', 's3cret')").await.unwrap_err();
    local.stop().await.unwrap();
    let log = std::fs::read_to_string(record.join("log")).unwrap();
    assert!(log.contains("database system is shut down") && !log.contains("s3cret"), "{log}");
}
