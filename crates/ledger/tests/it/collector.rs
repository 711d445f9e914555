//! What PostgreSQL tells of itself, against a real one.

use crate::shared::{connect, database};
use ledger::{
    collector::{Collector, Family},
    connection::Connector,
};
use testkit::postgresql::url_of;

fn collector(url: &str) -> Collector {
    Collector::new(Connector::new(&url.parse().unwrap()).unwrap())
}

fn value(families: &[Family], name: &str) -> f64 {
    families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("{name} is missing")).series[0].1
}

#[tokio::test]
async fn connections_locks_and_who_waits_for_whom_are_told() {
    let config = database().await;
    let (holder, waiter) = (connect(&config).await.unwrap(), connect(&config).await.unwrap());
    holder.batch_execute("CREATE TABLE t ()").await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    let pid: i32 = waiter.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let waiting = tokio::spawn(async move { waiter.batch_execute("BEGIN; LOCK TABLE t; COMMIT").await });
    let waits = "SELECT coalesce(wait_event_type = 'Lock', false) FROM pg_stat_activity WHERE pid = $1";
    while !holder.query_one(waits, &[&pid]).await.unwrap().get::<_, bool>(0) {
        // A statement in a transaction sees the activity of its first look until it is told to look again.
        holder.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
    }
    let families = collector(&url_of(&config)).families().await;
    assert_eq!(value(&families, "pg_up"), 1.0);
    assert_eq!(value(&families, "nephkeep_postgresql_blocked_sessions"), 1.0);
    assert_eq!(value(&families, "nephkeep_postgresql_blocking_sessions"), 1.0);
    assert!(value(&families, "nephkeep_postgresql_longest_block_seconds") > 0.0);
    assert!(value(&families, "pg_stat_database_numbackends") >= 3.0);
    assert!(value(&families, "pg_database_size_bytes") > 1e6);
    assert!(value(&families, "pg_wal_size_bytes") > 1e6);
    assert!(value(&families, "pg_settings_max_connections") >= 10.0);
    assert!(value(&families, "pg_stat_bgwriter_buffers_alloc_total") > 0.0);
    let activity = families.iter().find(|family| family.name == "pg_stat_activity_count").unwrap();
    assert!(activity.series.iter().any(|(labels, count)| labels[1] == "idle in transaction" && *count >= 1.0));
    let names: std::collections::BTreeSet<_> = families.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families.len(), "a name stands once");
    holder.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_postgresql_that_does_not_answer_is_down_and_nothing_else() {
    let families = collector("postgres://nobody@127.0.0.1:1/none?sslmode=disable").families().await;
    assert_eq!((families.len(), value(&families, "pg_up")), (1, 0.0));
}
