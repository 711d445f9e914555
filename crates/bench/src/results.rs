//! Result files: `docs/results/NAME.json`, one row per promise. Met only when measured; told where nothing is promised.

use model::{Error, Result};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// The target of a row that promises nothing.
pub const TOLD: &str = "told";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Met,
    Unmet,
    NotMeasured,
    /// Measured, and there was no target to meet.
    Told,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub work: String,
    pub target: String,
    pub measured: String,
    pub outcome: Outcome,
}

impl Outcome {
    #[must_use]
    pub fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::Unmet }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmet => "unmet",
            Self::NotMeasured => "not measured",
            Self::Told => TOLD,
        }
    }
}

impl Row {
    /// A row whose target is [`TOLD`] is told, whatever `met` says.
    pub fn new(work: impl Into<String>, target: impl Into<String>, measured: impl Into<String>, met: bool) -> Self {
        let target = target.into();
        let outcome = if target == TOLD { Outcome::Told } else { Outcome::of(met) };
        Self { work: work.into(), target, measured: measured.into(), outcome }
    }

    pub fn told(work: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { work: work.into(), target: TOLD.into(), measured: measured.into(), outcome: Outcome::Told }
    }

    pub fn not_measured(work: impl Into<String>, target: impl Into<String>, why: impl Into<String>) -> Self {
        Self { work: work.into(), target: target.into(), measured: why.into(), outcome: Outcome::NotMeasured }
    }
}

/// Prints the rows; writes the file unless the run was a short one. True when nothing is unmet.
pub fn conclude(name: &str, facts: Value, details: Value, rows: &[Row], write: bool) -> Result<bool> {
    for row in rows {
        println!("{} | target {} | measured {} | {}", row.work, row.target, row.measured, row.outcome.word());
    }
    if write {
        store(name, &format!("cargo x bench {name}"), facts, details, rows)?;
    }
    Ok(rows.iter().all(|row| row.outcome != Outcome::Unmet))
}

/// Writes `docs/results/NAME.json` with the command that made it.
pub fn store(name: &str, command: &str, facts: Value, details: Value, rows: &[Row]) -> Result<()> {
    let path = file(name);
    let shown: Vec<Value> = rows
        .iter()
        .map(|row| json!({"work": row.work, "target": row.target, "measured": row.measured, "verdict": row.outcome.word()}))
        .collect();
    let text = json!({"command": command, "machine": facts, "rows": shown, "details": details});
    let text = serde_json::to_string_pretty(&text)
        .map_err(|error| Error::bug("the results cannot be written").caused_by(error))?;
    let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = parent.and_then(|()| fs::write(&path, text + "\n"));
    written.map_err(|error| Error::retry("bench-failed", "the results cannot be written").caused_by(error))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

fn file(name: &str) -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(&here).join(format!("docs/results/{name}.json"))
}

/// 12345.6 as `12,346`.
#[must_use]
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[must_use]
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        n if n % 2 == 1 => numbers.get(middle).copied(),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

/// The 95th of a hundred, by size; endless where there is none.
#[must_use]
pub fn p95(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_medians_are_in_the_middle() {
        assert_eq!([0.4, 999.0, 1000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn what_was_not_measured_is_not_unmet_and_not_met() {
        let rows = [Row::not_measured("a", "1", "noise"), Row::new("b", "1", "2", true)];
        assert!(conclude("none", Value::Null, Value::Null, &rows, false).is_ok_and(|fine| fine));
        let rows = [Row::new("b", "1", "0", false)];
        assert!(conclude("none", Value::Null, Value::Null, &rows, false).is_ok_and(|fine| !fine));
    }

    #[test]
    fn what_has_no_target_is_told_and_neither_met_nor_unmet() {
        for row in [Row::told("a", "2"), Row::new("a", TOLD, "2", true), Row::new("a", TOLD, "2", false)] {
            assert_eq!((row.outcome, row.outcome.word()), (Outcome::Told, "told"));
        }
    }
}
