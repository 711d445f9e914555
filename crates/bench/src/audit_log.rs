//! `cargo x bench audit`: the transparency log alone, in process: durable access entries at 10,000/s and what they
//! cost, and how fast the offline verifier reads them all again.

use crate::{
    Verdict,
    machine::{self, FOREIGN_MAX, REPEATS_MAX},
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

const READERS: u64 = 400;
/// Eleven of them a millisecond, each with an entry of its own: a tenth more than the target, so that it can be reached.
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
    while rounds.len() < arguments.rounds && disturbed <= REPEATS_MAX {
        let round = one_round(&log, arguments.seconds).await?;
        eprintln!("bench: audit: {:.0} entries/s, {:.1} % of a core", round.entries_per_second, round.core * 100.0);
        if round.foreign <= FOREIGN_MAX {
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
    let (work, target) = (format!("access entries, durable, by {READERS} readers"), "≥ 10,000/s at ≤ 15 % of a core");
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

/// Of one millisecond; one reader after the other has its turn.
fn notes(tick: u64) -> Vec<AccessNote> {
    (0..READERS_A_TICK).map(|reader| note((tick * READERS_A_TICK + reader) % READERS, tick)).collect()
}

/// Open loop: what is noted in a millisecond waits together until it is durable.
async fn one_round(log: &Arc<TransparencyLog>, seconds: f64) -> Result<Round> {
    let (sampler, begun, before, own) = (machine::Sampler::begin(), Instant::now(), log.counters(), own_threads());
    let mut ticks = tokio::time::interval(TICK);
    let mut waiting = JoinSet::new();
    for tick in 0..(seconds * 1000.0) as u64 {
        ticks.tick().await;
        let log = log.clone();
        waiting.spawn(async move { log.access(notes(tick)).await });
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn four_hundred_readers_have_their_turns() {
        let names = |ticks: std::ops::Range<u64>| ticks.flat_map(notes).map(|note| note.principal).collect::<Vec<_>>();
        assert_eq!(names(0..1_000).into_iter().collect::<BTreeSet<_>>().len(), 400);
        assert_eq!(names(7..8).into_iter().collect::<BTreeSet<_>>().len(), 11);
    }
}
