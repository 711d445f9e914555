//! Each seeded bug does its harm: what checkers must find is really there.

use crate::{
    opened::{Opened, group, quick, write},
    shared,
};
use ledger::{
    Group, Idempotency, Op, SeededBug, Settings,
    server::{Local, LocalOptions},
};

async fn with(bug: SeededBug) -> Opened {
    Opened::on(shared::database().await, Settings { seeded_bug: Some(bug), ..quick() }).await
}

#[tokio::test]
async fn skipped_dedupe_runs_a_request_twice() {
    let opened = with(SeededBug::SkipDedupe).await;
    let request = || Group {
        idempotency: Some(Idempotency { key: "k".into(), body: "b".into() }),
        ..group(vec![write("a", Op::Put, "x")])
    };
    for version in 1..=2 {
        let receipt = opened.ledger.write(&opened.access, request()).await.unwrap();
        assert_eq!((receipt.writes[0].version, receipt.replayed), (version, false));
    }
}

#[tokio::test]
async fn a_skipped_epoch_lets_a_fenced_leader_write() {
    let opened = with(SeededBug::SkipEpoch).await;
    opened.sql().await.batch_execute("UPDATE nephkeep.log_head SET epoch = epoch + 1, holder = 'other'").await.unwrap();
    opened.one("a", Op::Create, "x").await.unwrap();
}

#[tokio::test]
async fn without_its_lease_a_fenced_leader_serves_the_past() {
    let opened = with(SeededBug::CachedReadsWithoutLease).await;
    opened.one("a", Op::Create, "old").await.unwrap();
    opened.sql().await.batch_execute("UPDATE nephkeep.log_head SET epoch = epoch + 1, holder = 'other'").await.unwrap();
    opened.sql().await.batch_execute("UPDATE nephkeep.resource SET deleted = true, sealed = NULL").await.unwrap();
    assert_eq!(opened.one("b", Op::Create, "x").await.unwrap_err().code(), "not-leader");
    assert_eq!(opened.text("a").await, Some((1, "old".into())));
}

#[tokio::test]
async fn without_sync_a_write_is_acknowledged_before_it_is_safe() {
    let directory = shared::directory();
    let extra = vec![("synchronous_standby_names".to_owned(), "ghost".to_owned())];
    let options = LocalOptions { extra, ..LocalOptions::default() };
    let local = Local::start(&directory.path().join("record"), options).await.unwrap();
    let settings = Settings { seeded_bug: Some(SeededBug::SyncCommitOff), ..quick() };
    let opening = Opened::on(shared::config_of(&local), settings);
    // Migrations wait for the standby like everybody: they are let go, the writes after them need nobody.
    let letting_go = async {
        let client = shared::connect(&shared::config_of(&local)).await.unwrap();
        let text = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        loop {
            client.batch_execute(text).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let opened = tokio::select! {
        opened = opening => opened,
        () = letting_go => unreachable!(),
    };
    opened.one("a", Op::Create, "x").await.unwrap();
    opened.ledger.close().await;
    local.stop().await.unwrap();
}
