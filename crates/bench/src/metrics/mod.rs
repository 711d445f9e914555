//! `cargo x bench metrics`: remote write and range queries through our door, against the same Prometheus alone.
//!
//! Both sides get the same bytes from the same sender, and processor time is that of everything behind the address that
//! is written to: for the door the server and both its engines, for Prometheus alone that one process. The own page is
//! not kept meanwhile, so that nothing else writes. What others disturbed, by more than a tenth of the processors, is
//! repeated; its rows are *not measured* when it never was quiet.

mod decoding;
mod engines;
mod queries;
mod sender;

use crate::{
    Verdict,
    machine::{self, FOREIGN_MAX, REPEATS_MAX},
    results::{self, Row, TOLD, grouped},
    stand::{Place, failed},
};
use clap::Args;
use engines::{Alone, Block, Door};
use model::Result;
use sender::{Message, Sender, Sent, Series};
use serde_json::json;
use std::{path::PathBuf, sync::Arc};
use stores::metrics::Program;

/// As a platform's own scrape.
const CADENCE_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Of the last day, for one load and its repetitions: no sample may be of the future.
const ROOM_MS: i64 = DAY_MS / 2;
/// The first round makes the series, which costs more than any later one.
const WARM_UP: i64 = 20;
const DISTURBED: &str = "others used the processors";
/// A head of more than three hours is written to a block of two; blocks begin at even hours. Four and a half hours have
/// one in them that begins after the first sample.
const ROUNDS_FOR_A_BLOCK: i64 = 1_080;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Series that are written
    #[arg(long, default_value_t = 10_000)]
    series: usize,
    /// Of each measured load
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Days of hourly samples that the long queries read
    #[arg(long, default_value_t = 90)]
    days: i64,
    /// Where the directory of the benchmark is made
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/metrics.json
    #[arg(long)]
    no_write: bool,
    /// To try the benchmark out on a busy machine: counts disturbed runs too, and writes nothing
    #[arg(long)]
    ignore_noise: bool,
}

impl Arguments {
    fn writes(&self) -> bool {
        !self.no_write && !self.ignore_noise
    }

    fn is_quiet(&self, foreign: f64) -> bool {
        self.ignore_noise || foreign <= FOREIGN_MAX
    }

    /// What came of the first quiet run, or of none.
    async fn quiet<T>(&self, name: &str, mut once: impl AsyncFnMut() -> Result<T>) -> Result<Option<T>> {
        for _ in 0..=REPEATS_MAX {
            let sampler = machine::Sampler::begin();
            let measured = once().await?;
            let foreign = sampler.end(None, &[]).foreign;
            eprintln!("bench: metrics: {name}, others {:.0} %", foreign * 100.0);
            if self.is_quiet(foreign) {
                return Ok(Some(measured));
            }
        }
        Ok(None)
    }
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let Ok(program) = Program::find(None) else {
        let why = "skipped, engine missing: no prometheus program";
        let rows = [Row::not_measured("remote write through our door", "≤ 1.3 × Prometheus alone", why)];
        return results::conclude("metrics", facts, json!({}), &rows, arguments.writes());
    };
    let series = Arc::new(sender::made_up(arguments.series));
    let now_ms = crate::clock::wall().as_millisecond() / HOUR_MS * HOUR_MS;
    let new = now_ms - DAY_MS;
    let old = new - arguments.days * DAY_MS;

    let alone = Alone::start(place.path(), &program)?;
    alone.answers().await?;
    let bare = load(&arguments, &series, Message::V1, (new, new + ROOM_MS), Side::Alone(&alone)).await?;
    drop(alone);

    let mut door = Door::start(place.path()).await?;
    let history = door.sender(Message::V1)?.rounds(&series, (old, HOUR_MS), arguments.days * 24).await?;
    engines::settled(&door.data()).await?;
    let first = load(&arguments, &series, Message::V1, (new, new + ROOM_MS), Side::Door(&door)).await?;
    let second = load(&arguments, &series, Message::V2, (first.next_ms, now_ms), Side::Door(&door)).await?;
    let missing = ROUNDS_FOR_A_BLOCK - (second.next_ms - new) / CADENCE_MS;
    let rest = door.sender(Message::V1)?.rounds(&series, (second.next_ms, CADENCE_MS), missing.max(1)).await?;
    engines::settled(&door.data()).await?;
    let block = engines::block(&door.data(), new)?;
    let asked = arguments.quiet("queries", async || queries::ask(&door, old, new).await).await?;
    door.stop().await?;
    let decoded = arguments.quiet("decoding", async || decoding::measure(&series)).await?;

    let sent = [&first.sent, &second.sent, &history, &rest];
    let rows = [
        vec![decoding::row(decoded)],
        write_rows(&bare, &first, &second, &sent),
        size_rows(block.as_ref()),
        queries::rows(asked.as_ref(), arguments.series, arguments.days),
    ];
    let details = json!({
        "prometheus": program.version.text,
        "series": arguments.series,
        "alone": bare.details(), "door_v1": first.details(), "door_v2": second.details(),
        "history_samples": history.samples, "block": block.map(|block| block.details()),
        "queries": asked.map(|asked| asked.details()),
    });
    results::conclude("metrics", facts, details, &rows.concat(), arguments.writes())
}

enum Side<'s> {
    Alone(&'s Alone),
    Door(&'s Door),
}

/// One measured load.
struct Load {
    sent: Sent,
    seconds: f64,
    /// Of everything behind the address.
    cpu_s: f64,
    /// Of all processor time, what others used.
    foreign: f64,
    /// Not too much, that is.
    is_quiet: bool,
    next_ms: i64,
}

impl Load {
    fn per_second(&self) -> f64 {
        self.sent.samples as f64 / self.seconds
    }

    fn per_core(&self) -> f64 {
        self.sent.samples as f64 / self.cpu_s.max(0.01)
    }

    fn cost_us(&self) -> f64 {
        self.cpu_s * 1e6 / (self.sent.samples as f64).max(1.0)
    }

    fn details(&self) -> serde_json::Value {
        json!({ "samples": self.sent.samples, "seconds": self.seconds, "cpu_s": self.cpu_s,
            "per_second": self.per_second(), "per_core": self.per_core(), "cost_us": self.cost_us(),
            "foreign": self.foreign })
    }
}

/// The first quiet load, or the last of those that had room between these times.
async fn load(
    arguments: &Arguments,
    series: &Arc<Vec<Series>>,
    message: Message,
    (from_ms, until_ms): (i64, i64),
    side: Side<'_>,
) -> Result<Load> {
    let (mut sender, server, engines) = match side {
        Side::Alone(alone) => (alone.sender(message), None, vec![alone.pid()]),
        Side::Door(door) => (door.sender(message)?, door.pid(), door.engines()),
    };
    let warm = sender.rounds(series, (from_ms, CADENCE_MS), WARM_UP).await?;
    if warm.written != warm.samples {
        return Err(failed("samples of the warm-up are missing").with("written", warm.written));
    }
    let (mut begin_ms, mut disturbed) = (from_ms + WARM_UP * CADENCE_MS, 0);
    loop {
        let load = one_load(arguments, series, &mut sender, begin_ms, (server, &engines)).await?;
        let (rate, others) = (load.per_second(), load.foreign * 100.0);
        eprintln!("bench: metrics: {}, {message:?}: {rate:.0} samples/s, others {others:.0} %", sender.path);
        disturbed += usize::from(!load.is_quiet);
        let again_ms = load.next_ms + (load.next_ms - begin_ms);
        if load.is_quiet || disturbed > REPEATS_MAX || again_ms > until_ms {
            return Ok(load);
        }
        begin_ms = load.next_ms;
    }
}

async fn one_load(
    arguments: &Arguments,
    series: &Arc<Vec<Series>>,
    sender: &mut Sender,
    begin_ms: i64,
    (server, engines): (Option<i32>, &[i32]),
) -> Result<Load> {
    let sampler = machine::Sampler::begin();
    let begun = std::time::Instant::now();
    let (mut sent, mut next_ms) = (Sent::default(), begin_ms);
    while begun.elapsed().as_secs_f64() < arguments.seconds {
        sent.add(&sender.rounds(series, (next_ms, CADENCE_MS), 5).await?);
        next_ms += 5 * CADENCE_MS;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = sampler.end(server, engines);
    let (cpu_s, foreign) = (used.server_s + used.database_s, used.foreign);
    Ok(Load { sent, seconds, cpu_s, foreign, is_quiet: arguments.is_quiet(foreign), next_ms })
}

fn write_rows(bare: &Load, first: &Load, second: &Load, sent: &[&Sent]) -> Vec<Row> {
    let speed = |work: &str, load: &Load| {
        let told = || format!("{}/s, {}/s for each core used", grouped(load.per_second()), grouped(load.per_core()));
        row(load.is_quiet, work, TOLD, || (told(), true))
    };
    let cost = |version: &str, load: &Load| {
        let (cost, alone) = (load.cost_us(), bare.cost_us());
        let ratio = cost / alone;
        let told = || format!("{ratio:.2} × ({cost:.2} µs of processor for each sample, {alone:.2} µs alone)");
        let work = format!("processor time of a sample through our door, remote write {version}");
        let quiet = load.is_quiet && bare.is_quiet;
        row(quiet, &work, "≤ 1.3 × Prometheus alone", || (told(), ratio <= 1.3))
    };
    let (samples, written): (u64, u64) = (sent.iter().map(|s| s.samples).sum(), sent.iter().map(|s| s.written).sum());
    vec![
        speed("remote write to Prometheus alone", bare),
        speed("remote write 1.0 through our door", first),
        speed("remote write 2.0 through our door, stored as 1.0 where the engine is old", second),
        cost("1.0", first),
        cost("2.0", second),
        Row::new(
            "samples sent = samples the Written headers tell",
            "equal",
            format!("{} sent, {} written", grouped(samples as f64), grouped(written as f64)),
            samples == written,
        ),
    ]
}

fn row(quiet: bool, work: &str, target: &str, measured: impl FnOnce() -> (String, bool)) -> Row {
    if !quiet {
        return Row::not_measured(work, target, DISTURBED);
    }
    let (told, met) = measured();
    Row::new(work, target, told, met)
}

fn size_rows(block: Option<&Block>) -> Vec<Row> {
    let work = "size of a sample on disk, index included (every 15 s)";
    vec![match block {
        Some(block) => {
            let bytes = block.bytes_per_sample();
            Row::told(work, format!("{bytes:.2} B, 1 : {:.1} to 16 B", 16.0 / bytes))
        }
        None => Row::not_measured(work, TOLD, "no block was written"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Outcome;

    fn arguments(ignore_noise: bool) -> Arguments {
        Arguments { series: 1, seconds: 1.0, days: 1, place: None, no_write: false, ignore_noise }
    }

    fn load(foreign: f64) -> Load {
        let sent = Sent { samples: 1_000_000, written: 1_000_000 };
        let is_quiet = arguments(false).is_quiet(foreign);
        Load { sent, seconds: 1.0, cpu_s: 1.0, foreign, is_quiet, next_ms: 0 }
    }

    #[test]
    fn what_counts_disturbed_runs_writes_nothing() {
        assert!(arguments(false).writes() && !arguments(false).is_quiet(0.5));
        assert!(!arguments(true).writes() && arguments(true).is_quiet(0.5));
    }

    #[test]
    fn what_others_disturbed_is_not_measured() {
        let (quiet, disturbed) = (load(0.02), load(0.5));
        let outcomes = |bare: &Load, first: &Load| -> Vec<Outcome> {
            let rows = write_rows(bare, first, &quiet, &[&first.sent]);
            rows.into_iter().map(|row| row.outcome).collect()
        };
        let (met, not, told) = (Outcome::Met, Outcome::NotMeasured, Outcome::Told);
        assert_eq!(outcomes(&quiet, &quiet), [told, told, told, met, met, met]);
        assert_eq!(outcomes(&quiet, &disturbed), [told, not, told, not, met, met]);
        // What is compared with a disturbed one is no comparison.
        assert_eq!(outcomes(&disturbed, &quiet), [not, told, told, not, not, met]);
    }
}
