//! Hot statements are prepared once and planned once. PostgreSQL itself counts how often it has planned each statement.

use crate::opened::{Opened, group, key, quick, tenant, write};
use ledger::{Group, GroupKey, Idempotency, ListQuery, Op, Settings, groups::Commit};
use model::{Kind, Position};
use std::time::Duration;
use tokio_postgres::Client;

/// How often each thing is done; what runs as often as this is hot.
const TIMES: usize = 60;
/// A plan per session that asked, and some that a change of the schema made invalid.
const PLANS_MOST: i64 = TIMES as i64 / 2;

/// Statements on our tables that were planned about as often as they were run.
async fn planned_again(sql: &Client) -> Vec<String> {
    hot(sql).await.into_iter().filter(|(_, plans)| *plans > PLANS_MOST).map(|(query, _)| query).collect()
}

/// All hot statements on our tables, and how often each was planned.
async fn hot(sql: &Client) -> Vec<(String, i64)> {
    let text = "SELECT query, sum(plans)::bigint FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query LIKE '%nephkeep.%'
        GROUP BY query HAVING sum(calls) >= $1";
    let rows = sql.query(text, &[&i64::try_from(TIMES).unwrap()]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A record that remembers nothing, on a database that counts plans; `None` where nothing can be counted.
async fn counting() -> Option<(Opened, Client)> {
    let config = crate::shared::database().await;
    let sql = crate::shared::connect(&config).await.unwrap();
    let name = config.get_dbname().unwrap();
    let loaded = "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'";
    if !sql.query_one(loaded, &[]).await.unwrap().get::<_, bool>(0) {
        testkit::skipped::skipped("this PostgreSQL has no pg_stat_statements");
        return None;
    }
    let count = format!(
        "CREATE EXTENSION pg_stat_statements; ALTER DATABASE {name} SET pg_stat_statements.track_planning = on"
    );
    sql.batch_execute(&count).await.unwrap();
    let sql = crate::shared::connect(&config).await.unwrap();
    let settings = Settings { cache_bytes: 0, ring_bytes: 0, ..quick() };
    Some((Opened::on(config, settings).await, sql))
}

async fn write_often(opened: &Opened) -> Position {
    let mut last = None;
    for at in 0..TIMES {
        let idempotency = Some(Idempotency { key: format!("r{at}"), body: "x".into() });
        let written = Group { idempotency, ..group(vec![write(&format!("k{at}"), Op::Put, "x")]) };
        last = Some(opened.ledger.write(&opened.access, written).await.unwrap().position);
    }
    last.unwrap()
}

async fn read_often(opened: &Opened) {
    let (ledger, access) = (&opened.ledger, &opened.access);
    for at in 0..TIMES {
        let one = key(&format!("k{at}"));
        ledger.read(access, &one).await.unwrap().unwrap();
        ledger.history(access, &one).await.unwrap();
        ledger.log_after(None, 10, Duration::ZERO).await.unwrap();
        let query = ListQuery { limit: 5, ..ListQuery::default() };
        ledger.list(access, Kind::Configuration, &query).await.unwrap();
        ledger.kept(&tenant(), Kind::Configuration, "", 5).await.unwrap();
        ledger.everywhere(Kind::Configuration).await.unwrap();
    }
}

async fn follow_often(opened: &Opened, last: Position) {
    let ledger = &opened.ledger;
    let group = GroupKey { tenant: tenant(), name: "g".into() };
    assert!(ledger.group_create(&group, &[("t", 4)], Position { n: 0, ..last }).await.unwrap());
    let member = ledger.group_join(&group, "m", "p", Duration::from_secs(60)).await.unwrap();
    for n in 1..=TIMES as u64 {
        let through = Position { n, ..last };
        ledger.consumer_advance(&[(tenant(), "reader".to_owned(), through)]).await.unwrap();
        ledger.consumer_position(&tenant(), "reader").await.unwrap();
        ledger.group_beat(&group, "m", Some(member.epoch)).await.unwrap();
        let commit = Commit { member: "m".into(), epoch: member.epoch, through };
        ledger.group_commit(&group, &[commit]).await.unwrap();
        ledger.letters(&tenant(), "reader", 0, 5).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hot_statement_is_prepared_and_one_that_is_not_would_be_named() {
    let Some((opened, sql)) = counting().await else { return };
    let last = write_often(&opened).await;
    read_often(&opened).await;
    follow_often(&opened, last).await;
    let found = hot(&sql).await;
    let parts = [
        "WITH m AS MATERIALIZED",
        "unnest($2::text[], $3::int2[], $4::text[])",
        "RECURSIVE tenants",
        "nephkeep.consumer AS c",
        "nephkeep.consumer_position",
        "nephkeep.consumer_member",
        "nephkeep.dead_letter",
        "nephkeep.change",
    ];
    for part in parts {
        assert!(found.iter().any(|(query, _)| query.contains(part)), "not hot here: {part}\n{found:#?}");
    }
    assert_eq!(planned_again(&sql).await, [""; 0]);

    // The same look finds one that is sent as text.
    for n in 0..i64::try_from(TIMES).unwrap() {
        sql.query("SELECT version FROM nephkeep.resource WHERE n = $1", &[&n]).await.unwrap();
    }
    let named = planned_again(&sql).await;
    assert!(named.len() == 1 && named[0].starts_with("SELECT version FROM nephkeep.resource"), "{named:?}");
    opened.ledger.close().await;
}
