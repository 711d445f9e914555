//! `drill run low-recall`: an index of the drill's own, in this process; no server.

use super::{Global, run::unusable};
use crate::{
    exit::{Exit, Failure, Outcome},
    output,
};
use clap::{Args, ValueEnum};
use model::Error;
use operations::drill::low_recall::{self, Plan, Report};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Index {
    Hnsw,
    Flat,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// low-recall: the graph (asked with ef=8) or the scan (rescoring 1)
    #[arg(long, value_enum, default_value = "hnsw")]
    index: Index,
    /// low-recall: how many vectors are generated
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    vectors: u32,
    /// low-recall: instead, passages of this file; JSON lines with a text each
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// low-recall: the bound that is to be held, in percent
    #[arg(long, default_value_t = 95, value_parser = clap::value_parser!(u32).range(50..=99))]
    target: u32,
}

impl Arguments {
    pub fn plan(&self, seed: u64, evidence: PathBuf) -> Plan {
        Plan {
            graph: self.index == Index::Hnsw,
            vectors: self.vectors as usize,
            corpus: self.corpus.clone(),
            target: f64::from(self.target) / 100.0,
            seed,
            evidence,
        }
    }
}

pub async fn run(global: &Global, plan: Plan, place: &Path) -> Outcome {
    let made = fs::DirBuilder::new().mode(0o700).create(&plan.evidence);
    made.map_err(|error| unusable(&plan.evidence, error))?;
    let index = place.join("index");
    let drilled = tokio::task::spawn_blocking(move || low_recall::run(&plan, &index, &|text| output::note(&text)));
    let result = tokio::select! {
        biased;
        () = crate::cli::interrupted() => {
            Err(Error::retry("drill-interrupted", "the drill was interrupted and says nothing about the index"))
        }
        done = drilled => done.unwrap_or_else(|error| Err(Error::bug("the drill ended badly").caused_by(error))),
    };
    fs::remove_dir_all(place).map_err(|error| unusable(place, error))?;
    print(global, &result?)
}

/// The report; exit 1 when the recall did not come back.
pub fn print(global: &Global, report: &Report) -> Outcome {
    let findings = report.findings();
    let mut value =
        serde_json::to_value(report).map_err(|error| Error::bug("a report cannot be printed").caused_by(error))?;
    value["passed"] = findings.is_empty().into();
    value["findings"] = findings.iter().map(String::as_str).collect();
    output::Report::facts(facts(report), value).print(global.output)?;
    if findings.is_empty() {
        output::note("passed: the bound fell under the target and came back above it");
        return Ok(());
    }
    for finding in findings {
        output::note(&format!("found: {finding}"));
    }
    Err(Failure::Reported(Exit::CheckFailed))
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("drill", report.drill.clone()),
        ("seed", report.seed.to_string()),
        ("index", format!("{}: {}", report.index, output::printable(&report.why))),
        ("vectors", report.vectors.to_string()),
        ("target", report.target.to_string()),
    ];
    for round in &report.rounds {
        let bound = round.bound.map_or_else(|| "none".to_owned(), |bound| format!("{bound:.4}"));
        let under = if round.bound.is_some_and(|bound| bound < report.target) { "under" } else { "above" };
        let (ef, rescore, n, mean, p5, zero) =
            (round.ef, round.rescore, round.questions, round.mean, round.p5, round.zero);
        let knobs = if report.index == "hnsw" { format!("ef {ef}") } else { format!("rescore {rescore}") };
        facts.push((
            "round",
            format!("{knobs}: bound {bound} {under} (n {n}, mean {mean:.4}, p5 {p5:.2}, zero {zero})"),
        ));
    }
    facts
}
