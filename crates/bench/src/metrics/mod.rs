//! `cargo x bench metrics`: remote write and range queries through our door, against the same Prometheus alone.
//!
//! Both sides get the same bytes from the same sender, and processor time is that of everything behind the address that
//! is written to: for the door the server and both its engines, for Prometheus alone that one process. The own page is
//! not kept meanwhile, so that nothing else writes.

mod decoding;
mod engines;
mod queries;
mod sender;

use crate::{
    Verdict, machine,
    results::{self, Row, grouped},
    stand::{Place, failed, layout},
};
use clap::Args;
use engines::{Alone, Block, Door};
use sender::{Message, Sent, Series};
use serde_json::json;
use std::{path::PathBuf, sync::Arc, time::Duration};
use stores::metrics::Program;

/// As a platform's own scrape.
const CADENCE_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A head of more than three hours is written to a block of two.
const ROUNDS_FOR_A_BLOCK: i64 = 800;

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
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let Ok(program) = Program::find(None) else {
        let why = "skipped, engine missing: no prometheus program";
        let rows = [Row::not_measured("remote write through our door", "≤ 1.3 × Prometheus alone", why)];
        return results::conclude("metrics", facts, json!({}), &rows, !arguments.no_write);
    };
    let series = Arc::new(sender::made_up(arguments.series));
    let now_ms = jiff::Timestamp::now().as_millisecond() / HOUR_MS * HOUR_MS;
    let (old, new) = (now_ms - arguments.days * DAY_MS, now_ms - DAY_MS);

    let alone = Alone::start(place.path(), &program)?;
    alone.answers().await?;
    let bare = load(&arguments, &series, Message::V1, new, Side::Alone(&alone)).await?;
    drop(alone);

    let mut door = Door::start(layout(crate::isolation::binary::build(false)?, place.path().join("nephkeep"))).await?;
    let history = door.sender(Message::V1)?.rounds(&series, (old, HOUR_MS), arguments.days * 24 - 24).await?;
    let first = load(&arguments, &series, Message::V1, new, Side::Door(&door)).await?;
    let second = load(&arguments, &series, Message::V2, first.next_ms, Side::Door(&door)).await?;
    let missing = ROUNDS_FOR_A_BLOCK - (second.next_ms - new) / CADENCE_MS;
    let rest = door.sender(Message::V1)?.rounds(&series, (second.next_ms, CADENCE_MS), missing.max(1)).await?;
    let block = engines::block(&door.data(), new, Duration::from_secs(180)).await?;
    let asked = queries::ask(&door, old, now_ms - DAY_MS).await?;
    door.stop().await?;

    let sent = [&first.sent, &second.sent, &history, &rest];
    let decoding = vec![decoding::row(&series)?];
    let rows =
        [decoding, write_rows(&bare, &first, &second, &sent), size_rows(block.as_ref()), asked.rows(arguments.series)];
    let details = json!({
        "prometheus": program.version.text,
        "series": arguments.series,
        "alone": bare.details(), "door_v1": first.details(), "door_v2": second.details(),
        "history_samples": history.samples, "block": block.map(|block| block.details()), "queries": asked.details(),
    });
    results::conclude("metrics", facts, details, &rows.concat(), !arguments.no_write)
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
            "per_second": self.per_second(), "per_core": self.per_core(), "cost_us": self.cost_us() })
    }
}

async fn load(
    arguments: &Arguments,
    series: &Arc<Vec<Series>>,
    message: Message,
    from_ms: i64,
    side: Side<'_>,
) -> model::Result<Load> {
    let (mut sender, server, engines) = match side {
        Side::Alone(alone) => (alone.sender(message), None, vec![alone.pid()]),
        Side::Door(door) => (door.sender(message)?, door.pid(), door.engines()),
    };
    // The first round makes the series, which costs more than any later one.
    let warm = sender.rounds(series, (from_ms, CADENCE_MS), 20).await?;
    let sampler = machine::Sampler::begin();
    let begun = std::time::Instant::now();
    let mut sent = Sent::default();
    let mut next_ms = from_ms + 20 * CADENCE_MS;
    while begun.elapsed().as_secs_f64() < arguments.seconds {
        sent.add(&sender.rounds(series, (next_ms, CADENCE_MS), 5).await?);
        next_ms += 5 * CADENCE_MS;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = sampler.end(server, &engines);
    if warm.written != warm.samples {
        return Err(failed("samples of the warm-up are missing").with("written", warm.written));
    }
    Ok(Load { sent, seconds, cpu_s: used.server_s + used.database_s, next_ms })
}

fn write_rows(bare: &Load, first: &Load, second: &Load, sent: &[&Sent]) -> Vec<Row> {
    let ratio = |load: &Load| load.cost_us() / bare.cost_us();
    let told = |load: &Load| {
        format!(
            "{:.2} × ({:.2} µs of processor for each sample, {:.2} µs alone)",
            ratio(load),
            load.cost_us(),
            bare.cost_us()
        )
    };
    let speed =
        |load: &Load| format!("{}/s, {}/s for each core used", grouped(load.per_second()), grouped(load.per_core()));
    let (samples, written): (u64, u64) = (sent.iter().map(|s| s.samples).sum(), sent.iter().map(|s| s.written).sum());
    vec![
        Row::new("remote write to Prometheus alone", "told", speed(bare), true),
        Row::new("remote write 1.0 through our door", "told", speed(first), true),
        Row::new(
            "remote write 2.0 through our door, stored as 1.0 where the engine is old",
            "told",
            speed(second),
            true,
        ),
        Row::new(
            "processor time of a sample through our door, remote write 1.0",
            "≤ 1.3 × Prometheus alone",
            told(first),
            ratio(first) <= 1.3,
        ),
        Row::new(
            "processor time of a sample through our door, remote write 2.0",
            "≤ 1.3 × Prometheus alone",
            told(second),
            ratio(second) <= 1.3,
        ),
        Row::new(
            "samples sent = samples the Written headers tell",
            "equal",
            format!("{} sent, {} written", grouped(samples as f64), grouped(written as f64)),
            samples == written,
        ),
    ]
}

fn size_rows(block: Option<&Block>) -> Vec<Row> {
    let work = "size of a sample on disk, index included (every 15 s)";
    vec![match block {
        Some(block) => {
            let bytes = block.bytes_per_sample();
            Row::new(work, "told", format!("{bytes:.2} B, 1 : {:.1} to 16 B", 16.0 / bytes), true)
        }
        None => Row::not_measured(work, "told", "no block was written in time"),
    }]
}
