//! Audit rows at the end of their term: what goes, and what is held back.

use crate::opened::{Opened, quick, tenant};
use ledger::{Op, Settings, Wall};
use model::{Access, Role};
use std::time::{Duration, SystemTime};

const MONTH: i64 = 31 * 86_400_000_000;
/// 2030-01-10T12:00:00Z: steps of 31 days from here meet each month once, and never its first day.
const BEGIN: i64 = 1_894_276_800_000_000;

/// A record whose clock stands at the beginning.
#[allow(clippy::disallowed_methods, reason = "what it sets back is the wall clock")]
async fn begin() -> (Opened, Wall) {
    let (wall, now) = (Wall::default(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
    wall.step(BEGIN - i64::try_from(now.as_micros()).unwrap());
    let every = Duration::from_millis(20);
    let settings = Settings { wall: wall.clone(), audit_months: 2, expiry_every: every, ..quick() };
    (Opened::on(crate::shared::database().await, settings).await, wall)
}

/// Until a run has seen everything that stands now.
async fn looked(opened: &Opened) {
    let metrics = opened.ledger.metrics();
    let before = metrics.expiry_runs.get();
    let look = async {
        while metrics.expiry_runs.get() < before + 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.unwrap();
}

/// One change in each of so many months.
async fn live(opened: &Opened, wall: &Wall, months: u64) {
    for month in 0..months {
        wall.step(if month > 0 { MONTH } else { 0 });
        opened.one("a", Op::Put, &month.to_string()).await.unwrap();
    }
}

/// Positions that have an audit row.
async fn audited(opened: &Opened) -> (i64, i64) {
    let row = opened.sql().await.query_one("SELECT min(n), max(n) FROM nephkeep.audit", &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// What archiving of changes will do.
async fn archive(opened: &Opened, through: i64) {
    opened.sql().await.execute("DELETE FROM nephkeep.change WHERE n <= $1", &[&through]).await.unwrap();
}

#[tokio::test]
async fn a_month_of_audit_rows_goes_at_the_end_of_its_term_when_nothing_needs_it() {
    let (opened, wall) = begin().await;
    live(&opened, &wall, 7).await;
    let metrics = opened.ledger.metrics();
    looked(&opened).await;
    assert_eq!(audited(&opened).await, (1, 7), "their changes are kept");
    assert_eq!((metrics.expiry_dropped.get(), metrics.expiry_held_back.get()), (0, 4));
    archive(&opened, 2).await;
    looked(&opened).await;
    assert_eq!(audited(&opened).await, (3, 7));
    assert_eq!((metrics.expiry_dropped.get(), metrics.expiry_held_back.get()), (2, 2));
    archive(&opened, 6).await;
    looked(&opened).await;
    assert_eq!(audited(&opened).await, (5, 7), "of this month and of the two before");
    assert_eq!((metrics.expiry_dropped.get(), metrics.expiry_held_back.get()), (4, 0));
    assert!(metrics.expiry_last_run.get() > 0 && metrics.expiry_failures.get() == 0);

    let auditor = Access::new("eve", &[Role::Auditor], &tenant(), "test");
    let found = opened.ledger.reconcile(&auditor).await.unwrap();
    assert!(found.is_complete(), "{found:?}");
    let query = audit::Query { principal: Some("nephkeep".into()), limit: 100, ..audit::Query::default() };
    let told = opened.log.query(&query).unwrap().entries;
    let named = |(_, entry): &(u64, audit::Entry)| match entry {
        audit::Entry::Act { action, detail, .. } => format!("{action} {detail}"),
        other => panic!("{other:?}"),
    };
    let months = ["01", "02", "03", "04"].map(|month| format!("audit-expire audit_2030_{month}"));
    assert_eq!(told.iter().map(named).collect::<Vec<_>>(), months, "each stands in the log first");
}

#[tokio::test]
async fn a_clock_that_jumps_ends_no_term_of_audit_rows() {
    let (opened, wall) = begin().await;
    live(&opened, &wall, 2).await;
    wall.step(500 * MONTH);
    opened.one("a", Op::Put, "ahead").await.unwrap();
    archive(&opened, 3).await;
    looked(&opened).await;
    assert_eq!(audited(&opened).await, (1, 3));
    // Only as many months with rows as are kept.
    let metrics = opened.ledger.metrics();
    assert_eq!((metrics.expiry_failures.get(), metrics.expiry_held_back.get()), (0, 0));
}

#[tokio::test]
async fn audit_rows_that_the_transparency_log_lacks_are_held_back() {
    let (opened, wall) = begin().await;
    opened.log.close();
    live(&opened, &wall, 6).await;
    archive(&opened, 6).await;
    looked(&opened).await;
    assert_eq!(audited(&opened).await, (1, 6));
    let metrics = opened.ledger.metrics();
    assert_eq!((metrics.expiry_failures.get(), metrics.expiry_held_back.get()), (0, 3));
}
