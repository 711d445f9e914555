//! `cargo x bench events`: how fast events come to a consumer group and how soon, in process and over HTTP.
//!
//! An event's own time is the reading of the log's clock in the committer, before its commit: so the latencies here hold
//! the commit too, and are not flattered by when a writer hears of it. A run during which others used more than a tenth
//! of the processors is repeated; after 30 repetitions a row is *not measured*.

mod door;
mod inside;

use crate::{
    Verdict,
    machine::{self, FOREIGN_MAX, REPEATS_MAX, Used},
    results::{self, Row, TOLD, grouped, median},
    stand::{Place, Stand},
};
use clap::Args;
use model::Result;
use operations::drill::latency::Percentiles;
use serde_json::{Value, json};
use std::path::PathBuf;

const WRITES: f64 = 5_000.0;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Rounds of each figure; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of the runs at 5,000 writes/s
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Events in the log
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// Where the directory of the benchmark is made; a disk, not memory
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/events.json
    #[arg(long)]
    no_write: bool,
    /// To try the benchmark out on a busy machine: counts disturbed runs too, and writes nothing
    #[arg(long)]
    ignore_noise: bool,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub per_second: f64,
    pub latency: Percentiles,
    pub used: Used,
}

/// The runs of one figure that count.
#[derive(Debug)]
struct Figure {
    samples: Vec<Sample>,
    disturbed: usize,
}

impl Figure {
    fn over(&self, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        // A row whose repetitions were used up is not measured, whatever was measured before.
        if self.disturbed > REPEATS_MAX { None } else { median(self.samples.iter().map(of).collect()) }
    }

    fn rate_row(&self, work: &str, least: Option<f64>) -> Row {
        let target = least.map_or(TOLD.to_owned(), |least| format!("≥ {}/s", grouped(least)));
        match self.over(|sample| sample.per_second) {
            Some(rate) => {
                Row::new(work, target, format!("{}/s", grouped(rate)), least.is_none_or(|least| rate >= least))
            }
            None => Row::not_measured(work, target, "others used the processors"),
        }
    }

    fn latency_row(&self, work: &str, most_ms: f64) -> Row {
        let target = format!("P99 ≤ {most_ms} ms");
        let (p50, p99) = (self.over(|s| s.latency.p50_ms), self.over(|s| s.latency.p99_ms));
        let (Some(p50), Some(p99), Some(rate)) = (p50, p99, self.over(|s| s.per_second)) else {
            return Row::not_measured(work, target, "others used the processors");
        };
        // Slower writers would make it easy.
        let met = p99 <= most_ms && rate >= WRITES * 0.98;
        Row::new(work, target, format!("P50 {p50:.2} ms, P99 {p99:.2} ms at {}/s", grouped(rate)), met)
    }

    fn details(&self) -> Value {
        let shown = |sample: &Sample| {
            json!({"per_second": sample.per_second.round(), "latency": sample.latency, "server_s": sample.used.server_s,
                "database_s": sample.used.database_s, "own_s": sample.used.own_s, "foreign": sample.used.foreign})
        };
        json!({"disturbed": self.disturbed, "samples": self.samples.iter().map(shown).collect::<Vec<_>>()})
    }
}

impl Arguments {
    /// Rounds of one figure, each repeated until nobody else disturbed it.
    async fn figure(&self, name: &str, mut once: impl AsyncFnMut() -> Result<Sample>) -> Result<Figure> {
        let mut figure = Figure { samples: Vec::new(), disturbed: 0 };
        while figure.samples.len() < self.rounds && figure.disturbed <= REPEATS_MAX {
            let sample = once().await?;
            let (rate, p99, foreign) = (sample.per_second, sample.latency.p99_ms, sample.used.foreign);
            eprintln!("bench: events: {name}: {rate:.0}/s, P99 {p99:.2} ms, others {:.0} %", foreign * 100.0);
            if self.ignore_noise || foreign <= FOREIGN_MAX {
                figure.samples.push(sample);
            } else {
                figure.disturbed += 1;
            }
        }
        Ok(figure)
    }
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let mut inside = inside::Inside::start(place.path()).await?;
    inside.fill(arguments.rows).await?;
    let memory = arguments.figure("in process", async || inside.read_all(arguments.rows).await).await?;
    let soon = arguments.figure("in process, soon", async || inside.soon(arguments.seconds).await).await?;
    let inside = inside.forgetful().await?;
    let replay = arguments.figure("in process, replay", async || inside.read_all(arguments.rows).await).await?;
    inside.stop().await?;

    let mut stand = Stand::start(place.path()).await?;
    stand.fill(arguments.rows).await?;
    let group = door::Reader::join(&stand).await?;
    let http = arguments.figure("over HTTP", async || group.read_all(&stand, arguments.rows).await).await?;
    let http_soon =
        arguments.figure("over HTTP, soon", async || group.soon(&mut stand, arguments.seconds).await).await?;
    stand.site.stop().await?;

    let rows = [
        http.rate_row("events to one group over HTTP in batches, a backlog read from PostgreSQL", Some(85_000.0)),
        memory.rate_row("events to one group in process, out of memory", Some(150_000.0)),
        replay.rate_row("events to one group in process, a backlog read from PostgreSQL", None),
        soon.latency_row("change (commit included) to consumer in process, 5,000 writes/s", 10.0),
        http_soon.latency_row("change (commit included) to consumer over HTTP long-poll, 5,000 intents/s", 10.0),
    ];
    let details = json!({"rounds": arguments.rounds, "seconds": arguments.seconds, "events": arguments.rows,
        "http": http.details(), "memory": memory.details(), "replay": replay.details(), "soon": soon.details(),
        "http_soon": http_soon.details()});
    results::conclude("events", facts, details, &rows, !arguments.no_write && !arguments.ignore_noise)
}

/// How long ago a moment of the log's clock was.
fn since(micros: u64) -> std::time::Duration {
    let now = u64::try_from(crate::clock::wall().as_microsecond()).unwrap_or(0);
    std::time::Duration::from_micros(now.saturating_sub(micros))
}
