//! Range queries: long ones over everything, and short ones at the door and at the engine in turn.

use super::{
    DISTURBED,
    engines::{self, Door},
};
use crate::{
    results::{Row, TOLD, grouped, median, p95},
    stand::{connect, failed},
};
use model::Result;
use serde_json::{Value, json};
use std::time::Instant;
use stores::metrics::form;

const HOUR_S: i64 = 3_600;
const LONG: usize = 5;
const SHORT: usize = 300;

#[derive(Debug)]
pub struct Asked {
    /// Seconds, at a few hundred points and at one an hour.
    coarse_s: f64,
    fine_s: f64,
    /// Milliseconds through the door and at the engine itself: middle and 95th.
    door_ms: (f64, f64),
    engine_ms: (f64, f64),
}

/// A point every so many seconds, not more than about 360 of them; on the hour, because only there are samples.
fn coarse_step_s(length_s: i64) -> i64 {
    (length_s / 360 + HOUR_S - 1) / HOUR_S * HOUR_S
}

/// Hourly samples between these times, and denser ones after them.
pub async fn ask(door: &Door, from_ms: i64, to_ms: i64) -> Result<Asked> {
    let span = |query: &str, (from_s, to_s): (i64, i64), step_s: i64| {
        let numbers = [("start", from_s), ("end", to_s), ("step", step_s)];
        let mut parameters = vec![("query".to_owned(), query.to_owned())];
        parameters.extend(numbers.map(|(name, number)| (name.to_owned(), number.to_string())));
        form(&parameters)
    };
    let all = "sum by (region) ({__name__=~\"bench_cell_metric_.*\"})";
    let (from_s, to_s) = (from_ms / 1_000, to_ms / 1_000);
    let coarse_s = long(door, &span(all, (from_s, to_s), coarse_step_s(to_s - from_s))).await?;
    let fine_s = long(door, &span(all, (from_s, to_s), HOUR_S)).await?;
    let one = span("bench_cell_metric_0{cell=\"cell-00000\"}", (to_s, to_s + 3 * HOUR_S), 30);
    let (door_ms, engine_ms) = in_turn(door, &one).await?;
    Ok(Asked { coarse_s, fine_s, door_ms, engine_ms })
}

/// The middle of a few.
async fn long(door: &Door, form: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..LONG {
        let begun = Instant::now();
        let body = door.asked(&format!("/prometheus/api/v1/query_range?{form}")).await?;
        times.push(begun.elapsed().as_secs_f64());
        found(&body, form)?;
    }
    median(times).ok_or_else(|| failed("no long query was measured"))
}

fn found(body: &[u8], form: &str) -> Result<()> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match answer["data"]["result"].as_array() {
        Some(series) if !series.is_empty() => Ok(()),
        _ => Err(failed("a query found nothing").with("query", form)),
    }
}

type Times = (f64, f64);

async fn in_turn(door: &Door, form: &str) -> Result<(Times, Times)> {
    let (address, login) = door.engine()?;
    let ours = door.head(&format!("/prometheus/api/v1/query_range?{form}"))?;
    let theirs =
        format!("GET /api/v1/query_range?{form} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {login}\r\n\r\n");
    let (mut to_door, mut to_engine) = (door.connection().await?, connect(address, engines::PATIENCE).await?);
    let (mut door_ms, mut engine_ms) = (Vec::new(), Vec::new());
    for _ in 0..SHORT {
        let begun = Instant::now();
        let body = engines::asked(&mut to_door, &ours).await?;
        door_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        found(&body, form)?;
        let begun = Instant::now();
        let body = engines::asked(&mut to_engine, &theirs).await?;
        engine_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        found(&body, form)?;
    }
    let told = |times: Vec<f64>| (median(times.clone()).unwrap_or(f64::INFINITY), p95(&times));
    Ok((told(door_ms), told(engine_ms)))
}

pub fn rows(asked: Option<&Asked>, series: usize, days: i64) -> Vec<Row> {
    let row = |work: &str, target: &str, told: &dyn Fn(&Asked) -> (String, bool)| match asked.map(told) {
        Some((told, met)) => Row::new(work, target, told, met),
        None => Row::not_measured(work, target, DISTURBED),
    };
    let points = days * 24 * HOUR_S / coarse_step_s(days * 24 * HOUR_S) + 1;
    let series = grouped(series as f64);
    let long = format!("query_range over {days} days, {series} series in one sum, {points} points");
    vec![
        row(&long, "< 1 s", &|asked| (format!("{:.2} s", asked.coarse_s), asked.coarse_s < 1.0)),
        row("the same, a point an hour", TOLD, &|asked| (format!("{:.2} s", asked.fine_s), true)),
        row("what our door adds to a query_range of one series, 360 points", "≤ 2 ms", &|asked| {
            let ((door, door_95), (engine, engine_95)) = (asked.door_ms, asked.engine_ms);
            let (added, added_95) = (door - engine, door_95 - engine_95);
            let told =
                format!("{added:.2} ms in the middle, {added_95:.2} ms at P95 ({door:.2} ms after {engine:.2} ms)");
            (told, added <= 2.0)
        }),
    ]
}

impl Asked {
    pub fn details(&self) -> Value {
        json!({ "coarse_s": self.coarse_s, "fine_s": self.fine_s,
            "door_ms": [self.door_ms.0, self.door_ms.1], "engine_ms": [self.engine_ms.0, self.engine_ms.1] })
    }
}

#[cfg(test)]
mod tests {
    use super::coarse_step_s;

    #[test]
    fn a_coarse_answer_has_at_most_360_steps_on_the_hour() {
        for days in 1..=731 {
            let (length_s, step_s) = (days * 86_400, coarse_step_s(days * 86_400));
            assert!(step_s >= 3_600 && step_s % 3_600 == 0 && length_s / step_s <= 360, "{days} days: {step_s} s");
        }
    }
}
