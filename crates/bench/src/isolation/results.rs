//! `docs/results/isolation.json`: one row per variant, each replaced by its own run, with its command and its machine.

use super::{Arguments, verdict::Verdict};
use crate::machine;
use ledger::SeededBug;
use model::{Error, Result};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};

pub fn write(verdicts: &[Verdict], arguments: &Arguments) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let path = root.join("docs/results/isolation.json");
    let before = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut row = row(verdicts, arguments.seeded_bug, arguments.rounds);
    row["command"] = command(arguments).into();
    row["machine"] = machine::facts(&std::env::temp_dir());
    let text = serde_json::to_string_pretty(&merged(before, row))
        .map_err(|error| Error::bug("the results cannot be written").caused_by(error))?;
    let written = fs::create_dir_all(root.join("docs/results")).and_then(|()| fs::write(&path, text + "\n"));
    written.map_err(|error| Error::bug("the results cannot be written").caused_by(error))
}

/// To be typed again. A given binary is somebody's path; that it was given is told.
fn command(arguments: &Arguments) -> String {
    let Arguments { seconds, seed, rounds, seeded_bug, .. } = arguments;
    let bug = seeded_bug.map(|bug| format!(" --seeded-bug {}", bug.name())).unwrap_or_default();
    let binary = if arguments.binary.is_some() { " --binary BINARY" } else { "" };
    format!("cargo x isolation --write --rounds {rounds} --seconds {seconds} --seed {seed}{bug}{binary}")
}

fn row(verdicts: &[Verdict], bug: Option<SeededBug>, rounds: usize) -> Value {
    let sum = |of: fn(&Verdict) -> usize| verdicts.iter().map(of).sum::<usize>();
    let names: BTreeSet<&str> = verdicts.iter().flat_map(|v| v.anomalies.keys().map(String::as_str)).collect();
    let found = if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") };
    let measured = format!(
        "{rounds} rounds: ok {}, fail {}, info {}; anomalies: {found}",
        sum(|verdict| verdict.counts.ok),
        sum(|verdict| verdict.counts.fail),
        sum(|verdict| verdict.counts.info),
    );
    let holds = verdicts.iter().all(|verdict| verdict.holds);
    let (work, target) = match bug {
        None => ("isolation: list-append and rw-register with kill -9 and pauses".to_owned(), "strictly serializable"),
        Some(bug) => (format!("isolation: seeded bug {}", bug.name()), "an anomaly is found"),
    };
    let met = holds == bug.is_none();
    json!({"work": work, "target": target, "measured": measured, "verdict": if met { "met" } else { "unmet" }})
}

fn merged(before: Option<Value>, row: Value) -> Value {
    let rows = before.as_ref().and_then(|before| before["rows"].as_array()).cloned().unwrap_or_default();
    let mut rows: Vec<Value> = rows.into_iter().filter(|old| old["work"] != row["work"]).collect();
    rows.push(row);
    rows.sort_by_key(|row| row["work"].as_str().unwrap_or_default().to_owned());
    json!({"command": "cargo x isolation --write [--seeded-bug BUG]", "rows": rows})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::history::{Counts, Workload};

    #[test]
    fn a_row_names_the_command_that_makes_it_again() {
        let arguments = Arguments {
            seconds: 12.0,
            seed: 7,
            rounds: 4,
            seeded_bug: Some(SeededBug::SkipEpoch),
            binary: None,
            histories: None,
            write: true,
        };
        let typed = "cargo x isolation --write --rounds 4 --seconds 12 --seed 7 --seeded-bug skip-epoch";
        assert_eq!(command(&arguments), typed);
    }

    #[test]
    fn a_run_replaces_its_own_row_only() {
        let verdict = |holds| Verdict {
            workload: Workload::ListAppend,
            counts: Counts { ok: 3, fail: 2, info: 1 },
            anomalies: if holds { [].into() } else { [("G1a".to_owned(), 4)].into() },
            told: vec![],
            holds,
        };
        let first = merged(None, row(&[verdict(true)], None, 4));
        let second = merged(Some(first), row(&[verdict(false)], Some(SeededBug::SkipEpoch), 4));
        let third = merged(Some(second), row(&[verdict(false)], None, 4));
        let verdicts: Vec<_> = third["rows"].as_array().into_iter().flatten().map(|row| &row["verdict"]).collect();
        assert_eq!(verdicts, ["unmet", "met"]);
        assert_eq!(third["rows"][1]["measured"], "4 rounds: ok 3, fail 2, info 1; anomalies: G1a");
    }
}
