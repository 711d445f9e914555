//! The upkeep of tables: what it looks after, that it holds nobody up, and how partitions are to be visited.

use crate::opened::{Opened, quick};
use ledger::{Op, Settings};
use std::time::Duration;

/// Looks all the time.
fn eager() -> Settings {
    Settings { upkeep_every: Duration::from_millis(20), ..quick() }
}

/// Asks until the answer is yes.
async fn until(opened: &Opened, question: &str) {
    let client = opened.sql().await;
    let look = async {
        while !client.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap_or_else(|_| panic!("never: {question}"));
}

async fn counted(what: impl Fn() -> u64) {
    let look = async {
        while what() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_that_autovacuum_leaves_is_vacuumed_and_parents_are_analysed() {
    let opened = Opened::on(crate::shared::database().await, eager()).await;
    let sql = opened.sql().await;
    let fill = "ALTER TABLE nephkeep.dead_letter SET (autovacuum_enabled = false);
        INSERT INTO nephkeep.dead_letter (tenant, consumer, topic, n, ordinal, attempts, reason)
            SELECT 'a', 'b', 'c', n, 1, 1, 'd' FROM generate_series(1, 2000) n;
        DELETE FROM nephkeep.dead_letter;
        SELECT pg_stat_force_next_flush()";
    sql.batch_execute(fill).await.unwrap();
    until(&opened, "SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'dead_letter'").await;
    let parents = "SELECT count(*) = 3 FROM pg_stat_user_tables
        WHERE relname IN ('change', 'audit', 'request') AND last_analyze IS NOT NULL";
    until(&opened, parents).await;
    let metrics = opened.ledger.metrics();
    counted(|| metrics.upkeep_last_run.get()).await;
    assert!(metrics.upkeep_vacuumed.get() >= 1 && metrics.upkeep_analyzed.get() >= 3);
    assert_eq!(metrics.upkeep_failures.get(), 0);
    opened.ledger.close().await;
}

/// An ANALYZE of the resources that takes for ever: an index over an expression that sleeps, over rows nobody writes.
async fn endless_analyze(opened: &Opened) {
    let begun = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'nephkeep upkeep'
        AND datname = current_database() AND query LIKE '%resource%' AND wait_event = 'PgSleep')";
    make_endless(opened).await;
    until(opened, begun).await;
}

async fn make_endless(opened: &Opened) {
    let endless = "ALTER TABLE nephkeep.resource SET (autovacuum_enabled = false);
        CREATE FUNCTION public.nap(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
        CREATE INDEX naps ON nephkeep.resource (public.nap(n)) WHERE kind = 99;
        INSERT INTO nephkeep.resource (tenant, kind, id, version, ordinal, n, created_n, deleted, class, subject, key_id,
            content_tag) SELECT 'z', 99, n::text, 1, 1, n, n, false, 1, 'z', 1, '' FROM generate_series(1, 1500) n;
        CREATE OR REPLACE FUNCTION public.nap(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
            AS 'BEGIN PERFORM pg_sleep(3600); RETURN $1; END';
        SELECT pg_stat_force_next_flush()";
    opened.sql().await.batch_execute(endless).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upkeep_blocks_no_write_and_gives_way_to_whoever_waits_for_its_lock() {
    let opened = Opened::on(crate::shared::database().await, eager()).await;
    let metrics = opened.ledger.metrics();
    endless_analyze(&opened).await;
    // It holds its lock, and nothing that is written or read needs that one.
    opened.one("a", Op::Put, "1").await.unwrap();
    assert_eq!(opened.text("a").await, Some((1, "1".to_owned())));
    assert_eq!(metrics.upkeep_yielded.get(), 0, "nobody has waited");
    // What does need it is not held up for the hour.
    opened.sql().await.batch_execute("ALTER TABLE nephkeep.resource SET (fillfactor = 91)").await.unwrap();
    counted(|| metrics.upkeep_yielded.get()).await;
    assert_eq!(metrics.upkeep_failures.get(), 0);
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_the_upkeep_ends_when_its_time_is_over_and_says_what_is_left() {
    let settings = Settings { upkeep_limit: Duration::from_secs(4), ..eager() };
    let opened = Opened::on(crate::shared::database().await, settings).await;
    let metrics = opened.ledger.metrics();
    make_endless(&opened).await;
    counted(|| metrics.upkeep_cut_short.get()).await;
    counted(|| metrics.upkeep_waiting.get()).await;
    let (cut, runs) = (metrics.upkeep_cut_short.get(), metrics.upkeep_runs.get());
    // It rests; the others are looked after.
    counted(|| metrics.upkeep_runs.get().saturating_sub(runs + 2)).await;
    assert_eq!(metrics.upkeep_cut_short.get(), cut);
    assert!(metrics.upkeep_waiting.get() >= 1);
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upkeep_in_the_middle_of_its_work_ends_with_its_server() {
    let opened = Opened::on(crate::shared::database().await, eager()).await;
    endless_analyze(&opened).await;
    opened.ledger.close().await;
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'nephkeep upkeep%'
        AND datname = current_database())";
    until(&opened, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_says_how_it_is_visited_also_one_that_an_older_server_made() {
    let opened = Opened::new().await;
    let lacking = "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'nephkeep' AND c.relkind = 'r' AND NOT coalesce(c.reloptions, '{}') @> '{vacuum_truncate=false}'";
    assert_eq!(opened.number(lacking).await, 0);
    opened.ledger.close().await;
    let reset = "DO $$ DECLARE one regclass; BEGIN
        FOR one IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent IN
            ('nephkeep.change'::regclass, 'nephkeep.audit'::regclass, 'nephkeep.request'::regclass) LOOP
            EXECUTE format('ALTER TABLE %s RESET (autovacuum_vacuum_insert_threshold, vacuum_truncate)', one);
        END LOOP; END $$";
    opened.sql().await.batch_execute(reset).await.unwrap();
    assert!(opened.number(lacking).await > 5);
    let next = opened.beside(quick()).await;
    until(&next, &format!("SELECT ({lacking}) = 0")).await;
    next.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_counted_on_a_server_of_ours() {
    let opened = Opened::on(crate::shared::database().await, Settings { flock: true, ..quick() }).await;
    let loaded = "SELECT count(*) FROM pg_settings WHERE name = 'shared_preload_libraries'
        AND setting = 'pg_stat_statements'";
    if opened.number(loaded).await == 0 {
        testkit::skipped::skipped("this PostgreSQL has no pg_stat_statements");
        return;
    }
    until(&opened, "SELECT to_regclass('public.pg_stat_statements') IS NOT NULL").await;
    opened.ledger.close().await;
}
