//! Every migration on a scratch database, and the runner's refusals.

use crate::shared::{connect, database};
use ledger::migrations::{Migration, Phase, SHIPPED, apply, apply_these, plan};

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_runs_once_and_is_remembered() {
    let mut client = connect(&database().await).await.unwrap();
    let before = plan(&client, Phase::Contract).await.unwrap();
    assert_eq!((before.applied.len(), before.pending.len()), (0, SHIPPED.len()));
    assert_eq!(apply(&mut client, Phase::Contract).await.unwrap().len(), SHIPPED.len());
    assert_eq!(apply(&mut client, Phase::Contract).await.unwrap().len(), 0);
    let after = plan(&client, Phase::Contract).await.unwrap();
    assert_eq!((after.applied.len(), after.pending.len()), (SHIPPED.len(), 0));
    client.query("SELECT n FROM nephkeep.change", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_at_once_apply_each_migration_once() {
    let config = database().await;
    let (mut one, mut two) = (connect(&config).await.unwrap(), connect(&config).await.unwrap());
    let (one, two) = tokio::join!(apply(&mut one, Phase::Contract), apply(&mut two, Phase::Contract));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), SHIPPED.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_migration_leaves_nothing_and_drift_is_refused() {
    let mut client = connect(&database().await).await.unwrap();
    let good = Migration { id: 1, name: "good", sql: "-- phase: expand\nCREATE TABLE good ();" };
    let bad = Migration { id: 2, name: "bad", sql: "-- phase: expand\nCREATE TABLE half (); SELECT 1/0;" };
    let failed = apply_these(&mut client, &[good, bad], Phase::Expand).await.unwrap_err();
    assert_eq!((failed.code(), failed.fact("name")), ("migration-failed", Some("bad")));
    let half = client.query_one("SELECT to_regclass('half') IS NULL, to_regclass('good') IS NULL", &[]).await.unwrap();
    assert_eq!((half.get::<_, bool>(0), half.get::<_, bool>(1)), (true, false));

    let edited = Migration { sql: "-- phase: expand\nCREATE TABLE good (x int);", ..good };
    let refused = apply_these(&mut client, &[edited], Phase::Expand).await.unwrap_err();
    assert_eq!(refused.code(), "migration-drift");
    let refused = apply_these(&mut client, &[], Phase::Expand).await.unwrap_err();
    assert_eq!(refused.code(), "record-newer");
}
