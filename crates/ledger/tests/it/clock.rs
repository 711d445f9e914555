//! A wall clock that jumps: the record's time never goes back, and no request is forgotten or run twice.

use crate::opened::{Opened, group, quick, write};
use ledger::{Group, Idempotency, Op, Receipt, Settings, Wall};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

async fn on(wall: &Wall) -> Opened {
    Opened::on(crate::shared::database().await, with(wall)).await
}

fn with(wall: &Wall) -> Settings {
    Settings { wall: wall.clone(), ..quick() }
}

async fn ask(opened: &Opened, key: &str) -> Receipt {
    let idempotency = Some(Idempotency { key: key.into(), body: "body".into() });
    let asked = Group { idempotency, ..group(vec![write(key, Op::Put, "x")]) };
    opened.ledger.write(&opened.access, asked).await.unwrap()
}

/// Nothing of what a request of the past is asked again may happen again.
async fn assert_known(opened: &Opened, first: &Receipt) {
    let again = ask(opened, &first.writes[0].key.id).await;
    assert_eq!((again.replayed, again.position), (true, first.position));
}

/// Times of the log, in the order of the log.
async fn assert_never_back(opened: &Opened) {
    let back = "SELECT count(*) FROM (SELECT hlc < lag(hlc) OVER (ORDER BY n) OR at < lag(at) OVER (ORDER BY n) AS back
        FROM nephkeep.audit) steps WHERE back";
    assert_eq!(opened.number(back).await, 0);
    let ahead = "SELECT count(*) FROM nephkeep.log_head WHERE hlc < (SELECT max(hlc) FROM nephkeep.change)";
    assert_eq!(opened.number(ahead).await, 0);
    opened.assert_sound().await;
}

#[tokio::test]
async fn a_clock_that_jumps_forward_makes_no_request_forgotten() {
    let wall = Wall::default();
    let opened = on(&wall).await;
    let first = ask(&opened, "before").await;
    let mut later = Vec::new();
    for (at, days) in [2, 40].into_iter().enumerate() {
        wall.step(days * DAY);
        assert_known(&opened, &first).await;
        later.push(ask(&opened, &format!("after-{at}")).await);
    }
    assert_known(&opened, &first).await;
    opened.ledger.close().await;
    // A new leader tidies up before it leads.
    wall.step(400 * DAY);
    let next = opened.beside(with(&wall)).await;
    for known in later.iter().chain([&first]) {
        assert_known(&next, known).await;
    }
    assert_never_back(&next).await;
}

/// The clock is set a year ahead, and right again after the first write.
#[tokio::test]
async fn a_clock_that_jumps_there_and_back_loses_nothing() {
    let wall = Wall::default();
    let opened = on(&wall).await;
    let first = ask(&opened, "first").await;
    wall.step(365 * DAY);
    let ahead = ask(&opened, "ahead").await;
    wall.step(-365 * DAY);
    let back = ask(&opened, "back").await;
    for known in [&first, &ahead, &back] {
        assert_known(&opened, known).await;
    }
    assert_never_back(&opened).await;
    let span = "SELECT (extract(epoch FROM max(at) - min(at)) / 86400)::bigint FROM nephkeep.audit";
    assert_eq!(opened.number(span).await, 365, "time goes on from where it was");
}

#[tokio::test]
async fn a_clock_that_steps_back_repeats_nothing_and_records_no_earlier_time() {
    let wall = Wall::default();
    let opened = on(&wall).await;
    let mut known = vec![ask(&opened, "a").await];
    for (at, back) in [HOUR, 9 * HOUR, 3 * DAY, 45 * DAY].into_iter().enumerate() {
        wall.step(-back);
        known.push(ask(&opened, &format!("back-{at}")).await);
        for receipt in &known {
            assert_known(&opened, receipt).await;
        }
    }
    opened.ledger.close().await;
    // Its own clock has never been right.
    let next = opened.beside(with(&wall)).await;
    for receipt in &known {
        assert_known(&next, receipt).await;
    }
    known.push(ask(&next, "next").await);
    assert_eq!(next.number("SELECT count(*) FROM nephkeep.change").await, known.len() as i64);
    assert_never_back(&next).await;
}

/// Days with requests are kept, three of them before today's; what is older goes, and so do days without any.
#[tokio::test]
async fn requests_expire_by_days_on_which_there_were_any() {
    let wall = Wall::default();
    let opened = on(&wall).await;
    let mut days = Vec::new();
    for day in 0..5 {
        days.push(ask(&opened, &format!("day-{day}")).await);
        wall.step(if day == 2 { 30 * DAY } else { DAY });
        opened.one("other", Op::Put, "x").await.unwrap();
    }
    for known in &days[2..] {
        assert_known(&opened, known).await;
    }
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'nephkeep.request'::regclass";
    assert!(opened.number(partitions).await <= 6, "three that hold requests, yesterday, today, tomorrow");
    let again = ask(&opened, "day-0").await;
    assert_eq!((again.replayed, again.writes[0].version), (false, 2), "expired");
    opened.assert_sound().await;
}

/// The hot statement looks into every day that is kept, and into each by its unique index.
#[tokio::test]
async fn a_request_is_looked_up_by_one_probe_for_each_day_that_is_kept() {
    let opened = Opened::new().await;
    let client = opened.sql().await;
    let session = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; \
        SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";
    client.batch_execute(session).await.unwrap();
    let text = include_str!("../../src/committer/statement.sql");
    client.batch_execute(&format!("PREPARE hot AS {text}")).await.unwrap();
    let explain = format!("EXPLAIN EXECUTE hot({})", ["NULL"; 30].join(", "));
    let plan: Vec<String> =
        client.query(&explain, &[]).await.unwrap().iter().map(|row| row.get::<_, String>(0)).collect();
    let of_requests: Vec<&String> = plan.iter().filter(|line| line.contains("on request")).collect();
    let days = opened.number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'nephkeep.request'::regclass").await;
    let probes = of_requests.iter().filter(|line| line.contains("Index Scan") && line.contains("using request_"));
    assert_eq!(probes.count() as i64, days, "{plan:#?}");
    let whole = ["(tenant = m", "(principal = m", "(key = m"];
    let by_key = plan.iter().filter(|line| line.contains("Index Cond") && whole.iter().all(|part| line.contains(part)));
    assert_eq!(by_key.count() as i64, days, "{plan:#?}");
}
