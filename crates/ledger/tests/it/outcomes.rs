//! Unknown outcomes are decided exactly, whatever breaks and when.

use crate::{
    opened::{Opened, quick, write},
    shared,
};
use ledger::{
    Group, Op, Settings,
    server::{Local, LocalOptions},
};
use std::{collections::BTreeMap, time::Duration};
use tokio_postgres::Client;

const COMMITTER: &str = "application_name = 'nephkeep committer' AND datname = current_database()";

async fn end_committer(client: &Client, how: &str) {
    let text = format!("SELECT count({how}(pid)) FROM pg_stat_activity WHERE {COMMITTER}");
    assert_eq!(client.query_one(&text, &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// Until the committer's statement waits for this.
async fn until_waiting(client: &Client, event: &str) {
    let text = format!("SELECT count(*) FROM pg_stat_activity WHERE {COMMITTER} AND wait_event = $1");
    let look = async {
        while client.query_one(&text, &[&event]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.unwrap();
}

#[tokio::test]
async fn a_backend_killed_before_its_commit_is_run_again_once() {
    // What waits for the head row must be the batch: no renewal comes between.
    let settings = Settings { lease: Duration::from_secs(3_600), ..quick() };
    let opened = Opened::on(shared::database().await, settings).await;
    let (holder, other) = (opened.sql().await, opened.sql().await);
    holder.batch_execute("BEGIN; SELECT 1 FROM nephkeep.log_head FOR UPDATE").await.unwrap();
    let writing = opened.one("a", Op::Create, "1");
    let breaking = async {
        until_waiting(&other, "transactionid").await;
        end_committer(&other, "pg_terminate_backend").await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (written, ()) = tokio::join!(writing, breaking);
    assert_eq!(written.unwrap().position.n, 1);
    assert_eq!(opened.number("SELECT epoch FROM nephkeep.log_head").await, 2);
    assert_eq!(opened.ledger.metrics().unknown_outcomes.get(), 1);
    opened.assert_sound().await;
}

/// A server whose commits can be held between durable here and replicated, by a standby that does not exist.
async fn with_a_ghost_standby(directory: &std::path::Path) -> (Local, Opened) {
    let local = Local::start(&directory.join("record"), LocalOptions::default()).await.unwrap();
    // No renewal comes between.
    let settings = Settings { lease: Duration::from_secs(3_600), ..quick() };
    let opened = Opened::on(shared::config_of(&local), settings).await;
    (local, opened)
}

async fn ghost(client: &Client, name: &str) {
    client.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

/// From now on commits wait. A reload takes its time, so one is tried until it waits.
async fn until_commits_wait(opened: &Opened, other: &Client) {
    let probe = opened.sql().await;
    let pid: i32 = probe.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let trying = async {
        loop {
            // Cancelled in its wait it returns with a warning, and has shown what was to be shown.
            probe.batch_execute("SELECT pg_current_xact_id()").await.unwrap();
        }
    };
    let text = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
    let looking = async {
        while other.query_one(text, &[&pid]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = trying => {}
        () = looking => {}
    }
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
}

/// The client saw no answer, but the commit stands: it is found by its identity and not repeated.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    for how in ["pg_terminate_backend", "pg_cancel_backend"] {
        let directory = shared::directory();
        let (local, opened) = with_a_ghost_standby(directory.path()).await;
        opened.one("a", Op::Create, "old").await.unwrap();
        let other = opened.sql().await;
        ghost(&other, "ghost").await;
        until_commits_wait(&opened, &other).await;
        let transaction = Group {
            reads: vec![crate::opened::key("a")],
            writes: vec![write("a", Op::Put, "new"), write("b", Op::Create, "1")],
            ..Group::default()
        };
        let breaking = async {
            until_waiting(&other, "SyncRep").await;
            end_committer(&other, how).await;
            // The bump must not be taken for replicated either: it waits, or is told and tries again.
            until_waiting(&other, "SyncRep").await;
            assert_eq!(opened.ledger.watch_published().borrow().clone(), 1, "nobody may see it yet");
            ghost(&other, "").await;
        };
        let (written, ()) = tokio::join!(opened.ledger.write(&opened.access, transaction), breaking);
        let written = written.unwrap();
        assert_eq!(written.writes.iter().map(|w| (w.version, w.position.n)).collect::<Vec<_>>(), [(2, 2), (1, 3)]);
        assert_eq!(written.reads[0].as_ref().unwrap().version, 1, "as it stood at the commit, {how}");
        assert_eq!(opened.ledger.metrics().unknown_outcomes.get(), 1);
        assert_eq!(opened.text("a").await, Some((2, "new".into())));
        opened.assert_sound().await;
        opened.ledger.close().await;
        local.stop().await.unwrap();
    }
}

/// PostgreSQL turns read only (a demoted primary): writes are refused, nothing is lost, and it goes on by itself.
#[tokio::test]
async fn a_primary_that_turns_read_only_is_left_and_found_again() {
    let directory = shared::directory();
    let local = Local::start(&directory.path().join("record"), LocalOptions::default()).await.unwrap();
    let opened = Opened::on(shared::config_of(&local), quick()).await;
    opened.one("a", Op::Create, "1").await.unwrap();
    let other = opened.sql().await;
    let turn = async |on: &str| {
        let text = format!("ALTER SYSTEM SET default_transaction_read_only = '{on}'");
        other.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        other.batch_execute(&text).await.unwrap();
        other.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    turn("on").await;
    let refused = loop {
        // Until the server has read its settings.
        if let Err(error) = opened.one("b", Op::Put, "x").await {
            break error;
        }
    };
    assert!(["record-read-only", "record-unreachable"].contains(&refused.code()), "{refused:?}");
    turn("off").await;
    let written = async {
        while let Err(error) = opened.one("c", Op::Put, "1").await {
            assert_eq!(error.kind(), model::ErrorKind::Retry, "{error:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
    opened.assert_sound().await;
    opened.ledger.close().await;
    local.stop().await.unwrap();
}

/// 32 writers while the whole server is killed again and again.
#[tokio::test]
async fn kill_9_loses_and_repeats_nothing() {
    let directory = shared::directory();
    let local = Local::start(&directory.path().join("record"), LocalOptions::default()).await.unwrap();
    let opened = Opened::on(shared::config_of(&local), quick()).await;
    let (stop, _) = tokio::sync::watch::channel(false);
    let writer = |number: u32| {
        let (opened, stopped) = (&opened, stop.subscribe());
        async move {
            let mut acknowledged = BTreeMap::new();
            for at in 0_u32.. {
                if *stopped.borrow() {
                    break;
                }
                let id = format!("w{number}-{at}");
                match opened.one(&id, Op::Create, &id).await {
                    Ok(receipt) => drop(acknowledged.insert(id, receipt.position.n)),
                    Err(error) => assert_eq!(error.kind(), model::ErrorKind::Retry, "{error:?}"),
                }
            }
            acknowledged
        }
    };
    let killing = async {
        for round in 1..=3_u64 {
            let enough = opened.ledger.metrics().batches.get() + 20;
            while opened.ledger.metrics().batches.get() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for pid in local.processes() {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let mut state = local.state();
            let back = state
                .wait_for(|s| matches!(s, ledger::server::ServerState::Ready { restarts, .. } if *restarts >= round));
            drop(tokio::time::timeout(Duration::from_secs(60), back).await.unwrap().unwrap());
        }
        let enough = opened.ledger.metrics().batches.get() + 20;
        while opened.ledger.metrics().batches.get() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send_replace(true);
    };
    let (written, ()) = tokio::join!(futures_util::future::join_all((0..32).map(writer)), killing);
    let acknowledged: BTreeMap<String, u64> = written.into_iter().flatten().collect();
    assert!(opened.ledger.metrics().unknown_outcomes.get() > 0);
    let rows = opened.sql().await.query("SELECT id, n FROM nephkeep.change", &[]).await.unwrap();
    let present: BTreeMap<String, u64> =
        rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).cast_unsigned())).collect();
    assert_eq!(present.len(), rows.len(), "nothing twice");
    for (id, n) in &acknowledged {
        assert_eq!(present.get(id), Some(n), "{id}");
    }
    opened.assert_sound().await;
    opened.ledger.close().await;
    local.stop().await.unwrap();
}
