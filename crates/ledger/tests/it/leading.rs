//! Who leads: fencing, following, taking over, and what a fenced leader must not do.

use crate::{
    opened::{Opened, key, quick, write},
    shared,
};
use ledger::{Group, Leadership, Op, Settings};
use std::time::Duration;

async fn until_leading(opened: &Opened) -> u64 {
    let mut leadership = opened.ledger.watch_leadership();
    let wait = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. }));
    let now = tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap().unwrap().clone();
    let Leadership::Leader { epoch } = now else { unreachable!() };
    epoch
}

/// Another holder appears, as if this server had been frozen for longer than its lease.
async fn usurp(opened: &Opened) {
    let text = "UPDATE nephkeep.log_head SET epoch = epoch + 1, holder = 'other', holder_url = 'http://other:1'";
    let session = opened.sql().await;
    // The leader renews the same row meanwhile: this waits for it instead of failing.
    session.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
    assert_eq!(session.execute(text, &[]).await.unwrap(), 1);
}

const EVERYTHING: [&str; 9] =
    ["resource", "change", "audit", "batch", "request", "subject", "name_index", "log_head", "history"];

async fn contents(opened: &Opened) -> Vec<String> {
    let client = opened.sql().await;
    let mut all = Vec::new();
    for table in EVERYTHING {
        let text = format!("SELECT coalesce(string_agg(t::text, ';' ORDER BY t::text), '') FROM nephkeep.{table} t");
        all.push(client.query_one(&text, &[]).await.unwrap().get::<_, String>(0));
    }
    all
}

#[tokio::test]
async fn a_stale_epoch_writes_nothing_anywhere_and_serves_nothing_remembered() {
    let opened = Opened::new().await;
    opened.one("a", Op::Create, "old").await.unwrap();
    assert_eq!(opened.text("a").await, Some((1, "old".into())));
    usurp(&opened).await;
    let before = contents(&opened).await;
    let refused = Group {
        idempotency: Some(ledger::Idempotency { key: "k".into(), body: "b".into() }),
        writes: vec![write("a", Op::Put, "lost"), write("new", Op::Create, "lost")],
        ..Group::default()
    };
    assert_eq!(opened.ledger.write(&opened.access, refused).await.unwrap_err().code(), "not-leader");
    assert_eq!(contents(&opened).await, before);
    assert!(matches!(opened.ledger.leadership(), Leadership::Follower { .. }));
    // The other leader goes on: its value is seen, ours is not served.
    let text = "UPDATE nephkeep.resource SET version = 2 WHERE id = 'a'";
    opened.sql().await.execute(text, &[]).await.unwrap();
    let hits = opened.ledger.metrics().cache_hits.get();
    let read = opened.ledger.read(&opened.access, &key("a")).await;
    assert_eq!(read.unwrap_err().code(), "envelope-altered", "read from the record, where the envelope is another's");
    assert_eq!(opened.ledger.metrics().cache_hits.get(), hits);
}

#[tokio::test]
async fn a_refused_member_also_finds_out_that_the_lease_is_lost() {
    let opened = Opened::new().await;
    opened.one("a", Op::Create, "1").await.unwrap();
    usurp(&opened).await;
    assert_eq!(opened.one("a", Op::Create, "2").await.unwrap_err().code(), "not-leader", "not already-exists");
}

#[tokio::test]
async fn a_follower_reads_redirects_and_takes_over_after_a_clean_release() {
    let settings = Settings { holder_url: Some("http://first:1".into()), ..quick() };
    let first = Opened::on(shared::database().await, settings).await;
    first.one("a", Op::Create, "1").await.unwrap();
    let second = first.beside(quick()).await;
    assert_eq!(second.ledger.leadership(), Leadership::Follower { leader_url: Some("http://first:1".into()) });
    assert_eq!(second.text("a").await, Some((1, "1".into())));
    let refused = second.one("b", Op::Create, "1").await.unwrap_err();
    assert_eq!((refused.code(), refused.fact("leader")), ("not-leader", Some("http://first:1")));
    let receipt = first.one("a", Op::Put, "2").await.unwrap();
    second.ledger.wait_for(receipt.position, Duration::from_secs(10)).await.unwrap();
    assert_eq!(second.text("a").await, Some((2, "2".into())));
    assert_eq!(second.ledger.metrics().cache_hits.get(), 0, "a follower remembers nothing");
    first.ledger.close().await;
    assert_eq!(until_leading(&second).await, 2);
    assert_eq!(second.one("a", Op::Replace { expected: 2 }, "3").await.unwrap().position.n, 3);
    second.assert_sound().await;
}

#[tokio::test]
async fn a_dead_holder_is_replaced_when_its_renewals_stop_or_at_once_under_the_flock() {
    let first = Opened::new().await;
    first.ledger.close().await;
    let orphan =
        |flock: bool| format!("UPDATE nephkeep.log_head SET released = false, holder = 'gone', flock = {flock}");
    first.sql().await.batch_execute(&orphan(false)).await.unwrap();
    let second = first.beside(quick()).await;
    assert!(matches!(second.ledger.leadership(), Leadership::Follower { .. }), "the holder may be alive");
    assert_eq!(until_leading(&second).await, 2);
    second.ledger.close().await;
    first.sql().await.batch_execute(&orphan(true)).await.unwrap();
    let settings = Settings { flock: true, lease: Duration::from_secs(3_600), ..quick() };
    first.sql().await.batch_execute("UPDATE nephkeep.log_head SET lease_ms = 3600000").await.unwrap();
    let third = first.beside(settings).await;
    assert_eq!(until_leading(&third).await, 3, "an hour is not waited for");
}

#[tokio::test]
async fn an_idle_leader_keeps_its_lease_and_its_cache() {
    let first = Opened::new().await;
    first.one("a", Op::Create, "1").await.unwrap();
    let second = first.beside(quick()).await;
    // Renewals are seen going on while nothing is written.
    let renewals = "SELECT renewals FROM nephkeep.log_head";
    let start = first.number(renewals).await;
    while first.number(renewals).await < start + 8 {
        tokio::task::yield_now().await;
    }
    assert_eq!(first.ledger.leadership(), Leadership::Leader { epoch: 1 });
    assert!(matches!(second.ledger.leadership(), Leadership::Follower { .. }));
    assert_eq!(first.text("a").await, Some((1, "1".into())));
    assert!(first.ledger.metrics().cache_hits.get() > 0);
    assert_eq!(first.number("SELECT published FROM nephkeep.log_head").await, 1, "told while idle");
}

#[tokio::test]
async fn a_statement_that_writes_other_rows_than_it_decided_stops_the_committer() {
    let opened = Opened::new().await;
    opened.one("a", Op::Create, "1").await.unwrap();
    let text = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
        CREATE TRIGGER swallow BEFORE INSERT ON nephkeep.change_p0 FOR EACH ROW EXECUTE FUNCTION nothing()";
    opened.sql().await.batch_execute(text).await.unwrap();
    assert_eq!(opened.one("b", Op::Create, "1").await.unwrap_err().code(), "bug");
    assert_eq!(opened.one("c", Op::Create, "1").await.unwrap_err().code(), "bug", "for good");
    assert_eq!(opened.number("SELECT count(*) FROM nephkeep.resource").await, 1);
    opened.assert_sound().await;
}

/// The holder renews in the very moment in which a successor, having waited long enough, takes over.
#[tokio::test]
async fn a_holder_that_renews_just_in_time_is_waited_for_anew() {
    let first = Opened::new().await;
    first.ledger.close().await;
    let orphan = "UPDATE nephkeep.log_head SET released = false, holder = 'slow', flock = false";
    first.sql().await.batch_execute(orphan).await.unwrap();
    let mut holder = first.sql().await;
    let renewal = holder.transaction().await.unwrap();
    renewal.execute("UPDATE nephkeep.log_head SET renewals = renewals + 1", &[]).await.unwrap();
    let second = first.beside(quick()).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'nephkeep committer' AND wait_event_type = 'Lock' AND datname = current_database()";
    let sql = first.sql().await;
    while sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let renewed = std::time::Instant::now();
    renewal.commit().await.unwrap();
    assert_eq!(until_leading(&second).await, 2);
    assert!(renewed.elapsed() >= quick().lease, "the holder trusts its memory for most of a lease: {renewed:?}");
}
