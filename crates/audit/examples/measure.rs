//! Quick figures of this crate alone: `cargo run --release -p audit --example measure -- DIR`. The promises are
//! measured by `cargo x bench audit`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use audit::{AccessNote, Entry, TransparencyLog, verify::verify};
use model::{Class, Incarnation, Position, Shard};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 0xaa55 }, n }
}

fn write(n: u64) -> Entry {
    Entry::Write {
        position: at(n),
        hlc: model::Hlc::from_micros(n).0,
        principal: "operator@north".into(),
        tenant: "north".into(),
        action: "update".into(),
        kind: 1,
        id: format!("5f2b0c1e-7c1d-4b6e-9d54-{n:012}"),
        version: 3,
        class: Class::Confidential,
        purpose: "operation".into(),
        content_tag: [7; 32],
    }
}

/// CPU of this whole process, threads included.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

/// CPU of the log's own threads, which all begin with `audit-`.
fn own_cpu() -> Duration {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if std::fs::read_to_string(task.join("comm")).unwrap().starts_with("audit-") {
            let facts = std::fs::read_to_string(task.join("schedstat")).unwrap();
            nanos += facts.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    Duration::from_nanos(nanos)
}

fn note(reader: u64, n: u64) -> AccessNote {
    AccessNote {
        principal: format!("reader-{reader}").into(),
        tenant: "north".into(),
        purpose: "operation".into(),
        class: Class::Confidential,
        position: at(n),
    }
}

/// Open loop: every millisecond ten reads by ten different principals (ten leaves), each released when durable.
async fn access_entries(log: &Arc<TransparencyLog>) {
    let (began, used, own, before) = (Instant::now(), cpu(), own_cpu(), log.counters());
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (worst, mut waiting) = (Arc::new(parking_lot::Mutex::new(Vec::new())), Vec::new());
    for tick in 0..5_000u64 {
        ticks.tick().await;
        let (log, worst) = (Arc::clone(log), Arc::clone(&worst));
        waiting.push(tokio::spawn(async move {
            let start = Instant::now();
            log.access((0..10).map(|reader| note(reader + 10 * (tick % 40), tick)).collect()).await.unwrap();
            worst.lock().push(start.elapsed());
        }));
    }
    for wait in waiting {
        wait.await.unwrap();
    }
    let (span, after) = (began.elapsed().as_secs_f64(), log.counters());
    let mut times = worst.lock().clone();
    times.sort_unstable();
    println!(
        "access entries: {:.0}/s durable, {:.1} % of a core ({:.1} % with the load), {:.0} flushes/s, {:.0} syncs/s, P50 {:?}, P99 {:?}",
        (after.entries - before.entries) as f64 / span,
        100.0 * (own_cpu() - own).as_secs_f64() / span,
        100.0 * (cpu() - used).as_secs_f64() / span,
        (after.flushes - before.flushes) as f64 / span,
        (after.syncs - before.syncs) as f64 / span,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
}

/// Closed loop: 256 readers of one principal wait for each read.
async fn reads(log: &Arc<TransparencyLog>) {
    let (began, used, before) = (Instant::now(), cpu(), log.counters());
    let readers: Vec<_> = (0..256u64)
        .map(|reader| {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                let sample = note(0, 0);
                while began.elapsed() < Duration::from_secs(4) {
                    log.note([AccessNote { position: at(reader), ..sample.clone() }])
                        .unwrap()
                        .released()
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let (span, after) = (began.elapsed().as_secs_f64(), log.counters());
    let count = (after.positions - before.positions) as f64;
    println!(
        "confidential reads, 256 waiting: {:.0}/s, {:.2} us CPU each, {:.0} flushes/s, {:.0} leaves/s",
        count / span,
        1e6 * (cpu() - used).as_secs_f64() / count,
        (after.flushes - before.flushes) as f64 / span,
        (after.entries - before.entries) as f64 / span,
    );
}

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).unwrap();
    let log = Arc::new(TransparencyLog::open(directory.as_ref()).unwrap());
    let (began, used) = (Instant::now(), cpu());
    for batch in 0..1_000u64 {
        log.append((1..=500).map(|n| write(batch * 500 + n)).collect()).await.unwrap();
    }
    let (span, spent) = (began.elapsed(), cpu() - used);
    println!(
        "500,000 writes, 500 at a time: {:.0}/s durable, {:.2} us CPU each",
        5e5 / span.as_secs_f64(),
        spent.as_secs_f64() * 2.0
    );
    access_entries(&log).await;
    reads(&log).await;
    let key = log.public_key().clone();
    log.close();
    let (began, used) = (Instant::now(), cpu());
    let report = verify(directory.as_ref(), &key).unwrap();
    let (span, spent) = (began.elapsed().as_secs_f64(), (cpu() - used).as_secs_f64());
    println!(
        "verify: {} entries, ok {}, {:.0}/s ({:.0}/s of CPU)",
        report.size,
        report.ok(),
        report.size as f64 / span,
        report.size as f64 / spent
    );
}
