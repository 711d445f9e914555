//! `cargo x bench upkeep`: what compare-and-set at a steady rate leaves in the tables, and what it costs, with autovacuum
//! set for each table as shipped and with PostgreSQL's defaults.
//!
//! Each run has a record of its own and three equal parts: the load alone, the load while somebody holds a snapshot (as a
//! dump does, so that nothing can be removed), and the load after that. Bloat is the size of the tables at the end over
//! their size before the load: the same rows, as large as before. Runs of both kinds take turns, and the median counts.

mod load;

use crate::{
    Verdict,
    home::Home,
    machine::{self, FOREIGN_MAX, REPEATS_MAX},
    results::{self, Row, TOLD, grouped, median},
    stand::Place,
};
use clap::Args;
use load::Sample;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Runs of each kind; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Of each run
    #[arg(long, default_value_t = 180.0)]
    seconds: f64,
    /// Compare-and-sets per second
    #[arg(long, default_value_t = 3_000.0)]
    rate: f64,
    /// Documents under compare-and-set; every second one is large enough for the side table
    #[arg(long, default_value_t = 50_000)]
    rows: u64,
    /// Where the directory of the benchmark is made; a disk, not memory
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/upkeep.json
    #[arg(long)]
    no_write: bool,
    /// To try the benchmark out on a busy machine: counts disturbed runs too, and writes nothing
    #[arg(long)]
    ignore_noise: bool,
}

/// How the tables are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Shipped,
    /// No parameters of ours, the default pause between visits, no upkeep by the leader.
    Defaults,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Defaults => "defaults",
        }
    }
}

/// The runs of one kind that count.
#[derive(Debug, Default)]
struct Figure {
    samples: Vec<Sample>,
    disturbed: usize,
}

impl Figure {
    fn over(&self, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        // A row whose repetitions were used up is not measured, whatever was measured before.
        if self.disturbed > REPEATS_MAX { None } else { median(self.samples.iter().map(of).collect()) }
    }
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let (mut shipped, mut defaults) = (Figure::default(), Figure::default());
    let mut number = 0;
    while [&shipped, &defaults].iter().any(|f| f.samples.len() < arguments.rounds && f.disturbed <= REPEATS_MAX) {
        for (kind, figure) in [(Kind::Shipped, &mut shipped), (Kind::Defaults, &mut defaults)] {
            if figure.samples.len() >= arguments.rounds || figure.disturbed > REPEATS_MAX {
                continue;
            }
            number += 1;
            let home = Home::make(place.path(), &format!("upkeep-{number}"))?;
            let sample = load::run(&home, kind, arguments.rate, arguments.seconds, arguments.rows).await?;
            let (bloat, p99, foreign) = (sample.bloat(), sample.latency.p99_ms, sample.used.foreign);
            let name = kind.name();
            eprintln!("bench: upkeep: {name}: {bloat:.2} ×, P99 {p99:.2} ms, others {:.0} %", foreign * 100.0);
            if arguments.ignore_noise || foreign <= FOREIGN_MAX {
                figure.samples.push(sample);
            } else {
                figure.disturbed += 1;
            }
        }
    }
    let rows = rows(&arguments, &shipped, &defaults);
    let details = json!({"rounds": arguments.rounds, "seconds": arguments.seconds, "rate": arguments.rate,
        "documents": arguments.rows, "shipped": shown(&shipped), "defaults": shown(&defaults)});
    results::conclude("upkeep", facts, details, &rows, !arguments.no_write && !arguments.ignore_noise)
}

fn shown(figure: &Figure) -> Value {
    let samples: Vec<Value> = figure.samples.iter().map(Sample::shown).collect();
    json!({"disturbed": figure.disturbed, "samples": samples})
}

/// A number as a row shows it.
type Told = fn(f64) -> String;

fn rows(arguments: &Arguments, shipped: &Figure, defaults: &Figure) -> Vec<Row> {
    let load = format!("{:.0} s of compare-and-set at {}/s", arguments.seconds, grouped(arguments.rate));
    let row = |what: &str, target: &str, of: fn(&Sample) -> f64, told: Told, most: Option<f64>| {
        let (work, target) = (format!("{what}, {load}, against PostgreSQL's defaults"), target.to_owned());
        match (shipped.over(of), defaults.over(of)) {
            (Some(ours), Some(theirs)) => {
                let measured = format!("{} (defaults {})", told(ours), told(theirs));
                Row::new(work, target, measured, most.is_none_or(|most| ours <= theirs * most))
            }
            _ => Row::not_measured(work, target, "others used the processors"),
        }
    };
    let (times, ms): (Told, Told) = (|n| format!("{n:.2} ×"), |n| format!("{n:.2} ms"));
    let (whole, kilobytes): (Told, Told) = (|n| format!("{}/s", grouped(n)), |n| format!("{} kB", grouped(n / 1024.0)));
    vec![
        row("size of the current rows over their size before", "≤ defaults", Sample::bloat, times, Some(1.0)),
        row("size of the one head row after it", TOLD, |sample| sample.after.head as f64, kilobytes, None),
        row("P99 of a write", "≤ 1.1 × defaults", |sample| sample.latency.p99_ms, ms, Some(1.1)),
        row("P99 of a write once a held snapshot is gone", TOLD, |sample| sample.last.p99_ms, ms, None),
        row("writes done", TOLD, |sample| sample.per_second, whole, None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Outcome;

    fn figure(end: i64, p99_ms: f64) -> Figure {
        let mut sample = Sample::default();
        (sample.before.rows, sample.after.rows, sample.latency.p99_ms) = (100, end, p99_ms);
        Figure { samples: vec![sample], disturbed: 0 }
    }

    fn verdicts(shipped: &Figure, defaults: &Figure) -> [Outcome; 2] {
        let arguments =
            Arguments { rounds: 1, seconds: 1.0, rate: 1.0, rows: 1, place: None, no_write: true, ignore_noise: true };
        let rows = rows(&arguments, shipped, defaults);
        [rows[0].outcome, rows[2].outcome]
    }

    #[test]
    fn shipped_settings_are_met_only_where_they_are_better_than_none() {
        assert_eq!(verdicts(&figure(150, 1.0), &figure(200, 1.0)), [Outcome::Met, Outcome::Met]);
        assert_eq!(verdicts(&figure(201, 1.2), &figure(200, 1.0)), [Outcome::Unmet, Outcome::Unmet]);
        let none = Figure { disturbed: REPEATS_MAX + 1, ..figure(100, 1.0) };
        assert_eq!(verdicts(&none, &figure(200, 1.0)), [Outcome::NotMeasured, Outcome::NotMeasured]);
    }
}
