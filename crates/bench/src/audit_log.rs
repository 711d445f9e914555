//! `cargo x bench audit`: the transparency log alone, in process: durable access entries at 10,000/s and what they
//! cost, and how fast the offline verifier reads them all again.

use crate::{
    Verdict, machine,
    results::{self, Row, grouped, median},
    stand::{Place, failed},
};
use audit::{AccessNote, TransparencyLog, verify::verify};
use clap::Args;
use model::{Class, Error, Incarnation, Position, Result, Shard};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Eleven readers a millisecond, each with an entry of its own: a tenth more than the target, so that it can be reached.
const READERS_A_TICK: u64 = 11;
const TICK: Duration = Duration::from_millis(1);
const TARGET: f64 = 10_000.0;
const VERIFIED: u64 = 1_000_000;

#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Where the directory of the benchmark is made
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/audit.json
    #[arg(long)]
    no_write: bool,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    entries_per_second: f64,
    /// Of one processor, by the log's own threads.
    core: f64,
    foreign: f64,
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let directory = place.path().join("audit");
    let log = Arc::new(TransparencyLog::open(&directory)?);
    let mut rounds = Vec::new();
    let mut disturbed = 0;
    while rounds.len() < arguments.rounds && disturbed <= 30 {
        let round = one_round(&log, arguments.seconds).await?;
        eprintln!("bench: audit: {:.0} entries/s, {:.1} % of a core", round.entries_per_second, round.core * 100.0);
        if round.foreign <= 0.10 {
            rounds.push(round);
        } else {
            disturbed += 1;
        }
    }
    fill(&log).await?;
    let key = log.public_key().clone();
    log.close();
    drop(log);
    let (verified_per_second, entries) = verified(&directory, &key, arguments.rounds)?;
    let mut rows = Vec::new();
    let (work, target) = ("access entries, durable, by 400 readers", "≥ 10,000/s at ≤ 15 % of a core");
    if rounds.len() < arguments.rounds {
        rows.push(Row::not_measured(work, target, "others used the processors"));
    } else {
        let rate = median(rounds.iter().map(|round| round.entries_per_second).collect()).unwrap_or(0.0);
        let core = median(rounds.iter().map(|round| round.core).collect()).unwrap_or(1.0);
        let measured = format!("{}/s at {:.1} % of a core", grouped(rate), core * 100.0);
        rows.push(Row::new(work, target, measured, rate >= TARGET && core <= 0.15));
    }
    let measured = format!("{}/s over {} entries", grouped(verified_per_second), grouped(entries as f64));
    rows.push(Row::new(
        "offline verification of the audit log",
        "≥ 300,000 entries/s",
        measured,
        verified_per_second >= 300_000.0,
    ));
    let details = json!({"disturbed": disturbed, "rounds": rounds.iter()
        .map(|r| json!({"per_second": r.entries_per_second.round(), "core": r.core, "foreign": r.foreign})).collect::<Vec<_>>()});
    results::conclude("audit", facts, details, &rows, !arguments.no_write)
}

fn note(reader: u64, n: u64) -> AccessNote {
    AccessNote {
        principal: format!("reader-{reader}").into(),
        tenant: "north".into(),
        purpose: "operation".into(),
        class: Class::Confidential,
        position: Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 7 }, n },
    }
}

/// Open loop: what is noted in a millisecond waits together until it is durable.
async fn one_round(log: &Arc<TransparencyLog>, seconds: f64) -> Result<Round> {
    let (sampler, begun, before, own) = (machine::Sampler::begin(), Instant::now(), log.counters(), own_threads());
    let mut ticks = tokio::time::interval(TICK);
    let mut waiting = JoinSet::new();
    for tick in 0..(seconds * 1000.0) as u64 {
        ticks.tick().await;
        let log = log.clone();
        waiting.spawn(async move {
            let notes = (0..READERS_A_TICK).map(|reader| note(reader + READERS_A_TICK * (tick % 40), tick));
            log.access(notes.collect()).await
        });
    }
    while let Some(done) = waiting.join_next().await {
        done.map_err(|error| Error::bug("a reader ended").caused_by(error))??;
    }
    let span = begun.elapsed().as_secs_f64();
    let entries = (log.counters().entries - before.entries) as f64;
    let core = own_threads().saturating_sub(own).as_secs_f64() / span;
    Ok(Round { entries_per_second: entries / span, core, foreign: sampler.end(None, &[]).foreign })
}

/// Processor time of the log's own threads.
fn own_threads() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let used: u64 = text.split_whitespace().next()?.parse().ok()?;
        name.starts_with("audit-").then_some(used)
    });
    Duration::from_nanos(nanos.sum())
}

/// So that the verifier has a million entries at least.
async fn fill(log: &Arc<TransparencyLog>) -> Result<()> {
    while log.size() < VERIFIED {
        let size = log.size();
        let notes = (0..5_000).map(|reader| note(reader, size + reader)).collect();
        log.access(notes).await?;
    }
    Ok(())
}

/// Median entries a second.
fn verified(directory: &Path, key: &audit::PublicKey, rounds: usize) -> Result<(f64, u64)> {
    let (mut rates, mut size) = (Vec::new(), 0);
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        let report = verify(directory, key)?;
        if !report.ok() {
            return Err(failed("the audit log does not verify"));
        }
        size = report.size;
        rates.push(size as f64 / begun.elapsed().as_secs_f64());
    }
    Ok((median(rates).unwrap_or(0.0), size))
}
