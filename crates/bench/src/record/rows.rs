//! Samples, their medians, and the rows of the promises.

use crate::{
    machine::{REPEATS_MAX, Used},
    results::{Row, TOLD, grouped, median},
    stand::Run,
};
use operations::drill::latency::Percentiles;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub per_second: f64,
    pub latency: Percentiles,
    pub server_us: f64,
    pub database_us: f64,
    pub used: Used,
    /// All answers that were expected came.
    pub complete: bool,
    /// Reads: positions in the audit log's new access entries, and answers given.
    pub audited: Option<(u64, u64)>,
}

/// Internal documents a second, out of the cache.
pub const GET_TARGET: f64 = 45_000.0;

/// One percentile of a sample, in milliseconds.
type Percentile = fn(&Percentiles) -> f64;
const P95: Percentile = |p| p.p95_ms;

impl Sample {
    pub fn of(run: Run) -> Self {
        let (server_us, database_us) = run.cost_us();
        let complete = run.summary.answered == run.summary.requests;
        let (per_second, latency) = (run.summary.per_second, run.summary.latency);
        Self { per_second, latency, server_us, database_us, used: run.used, complete, audited: None }
    }

    pub fn rate(per_second: f64, used: Used) -> Self {
        let zero = Percentiles::default();
        Self { per_second, latency: zero, server_us: 0.0, database_us: 0.0, used, complete: true, audited: None }
    }
}

#[derive(Debug)]
pub struct Figures {
    idle_mb: f64,
    first_start: Duration,
    second_start: Duration,
    samples: BTreeMap<&'static str, Vec<Sample>>,
    disturbed: BTreeMap<&'static str, usize>,
}

impl Figures {
    pub fn new(idle_mb: f64, first_start: Duration, second_start: Duration) -> Self {
        Self { idle_mb, first_start, second_start, samples: BTreeMap::new(), disturbed: BTreeMap::new() }
    }

    pub fn may_try(&self, name: &str) -> bool {
        self.disturbed.get(name).is_none_or(|count| *count <= REPEATS_MAX)
    }

    /// True when the sample counts.
    pub fn add(&mut self, name: &'static str, sample: Sample, quiet: bool) -> bool {
        if quiet {
            self.samples.entry(name).or_default().push(sample);
        } else {
            *self.disturbed.entry(name).or_default() += 1;
        }
        quiet
    }

    fn over(&self, name: &str, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        // A row whose repetitions were used up is not measured, whatever was measured before.
        if !self.may_try(name) {
            return None;
        }
        median(self.samples.get(name)?.iter().map(of).collect())
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        self.over(name, |sample| sample.per_second)
    }

    fn cost(&self, name: &str) -> String {
        let of = |part: fn(&Sample) -> f64| self.over(name, part).unwrap_or(0.0);
        let (server, database) = (of(|s| s.server_us), of(|s| s.database_us));
        if server + database == 0.0 {
            return String::new();
        }
        format!("; server {server:.1} µs, PostgreSQL {database:.1} µs of processor each")
    }

    /// Of a closed loop, where each connection asks again once it is answered; nothing where no latencies were kept.
    fn percentiles(&self, name: &str) -> String {
        let of = |part: Percentile| self.over(name, |sample| part(&sample.latency)).unwrap_or(0.0);
        let (p50, p95, p99) = (of(|p| p.p50_ms), of(|p| p.p95_ms), of(|p| p.p99_ms));
        if p99 == 0.0 {
            return String::new();
        }
        format!("; P50 {p50:.2}, P95 {p95:.2}, P99 {p99:.2} ms")
    }

    fn why(&self, name: &str) -> &'static str {
        if self.may_try(name) { "nothing to measure it with" } else { "others used the processors" }
    }

    /// At least so many per second.
    fn rate_row(&self, name: &str, work: &str, least: f64) -> Row {
        let target = format!("≥ {}/s", grouped(least));
        match self.median(name) {
            Some(rate) => {
                let shown = format!("{}/s{}{}", grouped(rate), self.percentiles(name), self.cost(name));
                Row::new(work, target, shown, rate >= least)
            }
            None => Row::not_measured(work, target, self.why(name)),
        }
    }

    fn latency_row(&self, name: &str, work: &str, limits: &[(&str, Percentile, f64)]) -> Row {
        let target = limits.iter().map(|(what, _, most)| format!("{what} < {most} ms")).collect::<Vec<_>>().join(", ");
        let mut met = self.samples.get(name).is_some_and(|samples| samples.iter().all(|sample| sample.complete));
        let mut shown = Vec::new();
        for (what, of, most) in limits {
            let Some(ms) = self.over(name, |sample| of(&sample.latency)) else {
                return Row::not_measured(work, target, self.why(name));
            };
            met &= ms < *most;
            shown.push(format!("{what} {ms:.2} ms"));
        }
        let rate = self.median(name).unwrap_or(0.0);
        Row::new(work, target, format!("{} at {}/s", shown.join(", "), grouped(rate)), met)
    }

    /// Ours and a peer's, in the same rounds; told where no factor is promised.
    fn ratio_row(&self, (ours, peer): (&str, &str), work: &str, least: Option<f64>) -> Row {
        let target = least.map_or(TOLD.to_owned(), |least| format!("≥ {least} ×"));
        match (self.median(ours), self.median(peer)) {
            (Some(our), Some(their)) if their > 0.0 => {
                let shown = format!("{:.1} × ({}/s against {}/s)", our / their, grouped(our), grouped(their));
                Row::new(work, target, shown, least.is_none_or(|least| our / their >= least))
            }
            (None, _) => Row::not_measured(work, target, self.why(ours)),
            _ => Row::not_measured(work, target, self.why(peer)),
        }
    }

    fn ratio_rows(&self) -> Vec<Row> {
        let post = |peer: &str, what: &str, least: f64| {
            self.ratio_row(("create", peer), &format!("POST intent against {what}"), Some(least))
        };
        let get = |peer: &str, what: &str| {
            self.ratio_row(("get-internal", peer), &format!("GET internal, cached, audited, against {what}"), None)
        };
        vec![
            post("pgbench-three-rows", "pgbench, three rows SERIALIZABLE", 5.0),
            post("pgbench-one-call", "pgbench, one call of a function", 3.0),
            post("etcd-put", "etcd put", 3.0),
            get("pgbench-select", "pgbench -S"),
            get("etcd-get", "etcd get"),
        ]
    }

    /// Every answer that was given stands in the audit log, and nothing else does.
    fn audited_row(&self, name: &str, class: &str) -> Row {
        let work = format!("GET, {class} class: positions audited = answers given");
        let audited: Vec<_> =
            self.samples.get(name).into_iter().flatten().filter_map(|sample| sample.audited).collect();
        if audited.is_empty() {
            return Row::not_measured(work, "equal", self.why(name));
        }
        let sum = audited.iter().fold((0, 0), |sum, (positions, answers)| (sum.0 + positions, sum.1 + answers));
        let shown = format!("{} positions, {} answers", grouped(sum.0 as f64), grouped(sum.1 as f64));
        Row::new(work, "equal", shown, audited.iter().all(|(positions, answers)| positions == answers))
    }

    fn peak_row(&self) -> Row {
        let reads = ["get-internal", "get-confidential"].iter().filter_map(|name| self.samples.get(name));
        let peak = reads.flatten().map(|sample| sample.per_second).fold(0.0, f64::max);
        Row::told("GET over HTTP, fastest run", format!("{}/s", grouped(peak)))
    }

    /// More rows must not make it much slower: told, without a target.
    fn growth_row(&self, name: &str, more: &'static str, work: &str, (few, many): (u64, u64)) -> Row {
        let work = format!("{work}, {} against {} intents", grouped(many as f64), grouped(few as f64));
        match (self.median(name), self.median(more)) {
            (Some(before), Some(after)) if before > 0.0 => {
                let shown = format!("{:.2} × ({}/s after {}/s)", after / before, grouped(after), grouped(before));
                Row::told(work, shown)
            }
            _ => Row::not_measured(work, TOLD, self.why(more)),
        }
    }

    pub fn rows(&self, sizes: (u64, u64)) -> Vec<Row> {
        let growth = vec![
            self.growth_row("create", "create-10x", "POST intent", sizes),
            self.growth_row("get-internal", "get-internal-10x", "GET internal", sizes),
            self.growth_row("get-confidential", "get-confidential-10x", "GET confidential", sizes),
        ];
        [self.write_rows(), self.ratio_rows(), self.read_rows(), self.start_rows(), growth].concat()
    }

    fn write_rows(&self) -> Vec<Row> {
        let p999: Percentile = |p| p.p999_ms;
        vec![
            self.rate_row("create", "durable POST intent over HTTP, closed loop, 256 connections", 12_000.0),
            self.latency_row(
                "create-3000",
                "POST intent, open loop at 3,000/s",
                &[("P95", P95, 5.0), ("P99.9", p999, 12.0)],
            ),
            self.latency_row("create-6000", "POST intent, open loop at 6,000/s", &[("P95", P95, 10.0)]),
            self.rate_row("patch", "compare-and-set PATCH over HTTP, distinct keys", 8_000.0),
            self.rate_row("patch-hot", "PATCH over HTTP, one hot key", 1_000.0),
        ]
    }

    fn read_rows(&self) -> Vec<Row> {
        let confidential = "GET over HTTP, confidential class, each with its durable entry";
        let at_half = |name: &str, work: &str, most_ms: f64| self.latency_row(name, work, &[("P95", P95, most_ms)]);
        vec![
            self.rate_row("get-internal", "GET over HTTP, internal class, cached, audited", GET_TARGET),
            at_half("get-internal-22500", "GET internal, open loop at half of the target", 1.0),
            at_half("get-internal-half", "GET internal, open loop at half of the measured peak", 1.0),
            self.rate_row("get-confidential", confidential, 30_000.0),
            at_half("get-confidential-half", "GET confidential, open loop at half of the measured peak", 10.0),
            self.audited_row("get-internal", "internal"),
            self.audited_row("get-confidential", "confidential"),
            self.peak_row(),
            self.rate_row("get-uncached", "GET over HTTP, not in the cache, confidential", 15_000.0),
            self.rate_row("log", "reading the change log in process (changes)", 250_000.0),
        ]
    }

    fn start_rows(&self) -> Vec<Row> {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let idle = format!("{:.0} MB", self.idle_mb);
        vec![
            Row::new("idle server, resident besides PostgreSQL", "≤ 60 MB", idle, self.idle_mb <= 60.0),
            Row::new(
                "`nephkeep up` on an existing directory",
                "≤ 2 s",
                seconds(self.second_start),
                self.second_start <= Duration::from_secs(2),
            ),
            Row::new(
                "`nephkeep up` on an empty directory, initdb included",
                "≤ 10 s",
                seconds(self.first_start),
                self.first_start <= Duration::from_secs(10),
            ),
        ]
    }

    /// All samples that count.
    pub fn details(&self) -> Value {
        let shown = |sample: &Sample| {
            json!({"per_second": sample.per_second.round(), "latency": sample.latency, "server_us": sample.server_us,
                "database_us": sample.database_us, "load_s": sample.used.own_s, "foreign": sample.used.foreign})
        };
        let all = self.samples.iter().map(|(name, samples)| {
            let disturbed = self.disturbed.get(name).copied().unwrap_or(0);
            let samples: Vec<Value> = samples.iter().map(shown).collect();
            ((*name).to_owned(), json!({"disturbed": disturbed, "samples": samples}))
        });
        Value::Object(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Outcome;

    fn figures() -> Figures {
        Figures::new(30.0, Duration::from_secs(3), Duration::from_secs(1))
    }

    #[test]
    fn a_row_is_met_by_its_median_and_by_nothing_else() {
        let mut figures = figures();
        for rate in [9_000.0, 13_000.0, 12_500.0] {
            assert!(figures.add("create", Sample::rate(rate, Used::default()), true));
        }
        assert_eq!(figures.rate_row("create", "w", 12_000.0).outcome, Outcome::Met);
        assert_eq!(figures.rate_row("create", "w", 12_600.0).outcome, Outcome::Unmet);
        assert_eq!(figures.rate_row("patch", "w", 1.0).outcome, Outcome::NotMeasured);
    }

    #[test]
    fn a_row_whose_repetitions_are_used_up_is_never_met() {
        let mut figures = figures();
        figures.add("create", Sample::rate(99_999.0, Used::default()), true);
        while figures.may_try("create") {
            assert!(!figures.add("create", Sample::rate(99_999.0, Used::default()), false));
        }
        assert_eq!(figures.rate_row("create", "w", 1.0).outcome, Outcome::NotMeasured);
        assert!(figures.ratio_rows().iter().all(|row| row.outcome == Outcome::NotMeasured));
    }

    #[test]
    fn reads_are_compared_with_their_peers_and_told_without_a_target() {
        let mut figures = figures();
        for (name, rate) in [("get-internal", 30_000.0), ("pgbench-select", 20_000.0), ("etcd-get", 10_000.0)] {
            figures.add(name, Sample::rate(rate, Used::default()), true);
        }
        let told: Vec<_> = figures.ratio_rows().into_iter().filter(|row| row.outcome == Outcome::Told).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].measured, "1.5 × (30,000/s against 20,000/s)");
        assert_eq!(told[1].measured, "3.0 × (30,000/s against 10,000/s)");
    }

    #[test]
    fn a_closed_loop_shows_its_percentiles() {
        let mut figures = figures();
        let latency = Percentiles { p50_ms: 16.4, p95_ms: 25.6, p99_ms: 32.8, p999_ms: 46.6, max_ms: 48.2 };
        figures.add("create", Sample { latency, ..Sample::rate(15_000.0, Used::default()) }, true);
        assert_eq!(figures.rate_row("create", "w", 1.0).measured, "15,000/s; P50 16.40, P95 25.60, P99 32.80 ms");
    }
}
