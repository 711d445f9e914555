//! `drill report` and `drill verify`: what an earlier drill saved, and whether its files still say the same.

use super::{Global, run::print};
use crate::{
    exit::{Exit, Failure, Outcome},
    output,
};
use clap::Args;
use operations::drill::{low_recall, report};
use std::path::PathBuf;

/// Show the report of an earlier drill
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep drill report ./evidence\n  nephkeep drill report ./evidence -o json")]
pub struct Report {
    /// What `drill run --evidence` wrote
    evidence: PathBuf,
}

/// Make the account again from the files that a drill saved
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep drill verify ./evidence")]
pub struct Verify {
    /// What `drill run --evidence` wrote
    evidence: PathBuf,
}

pub fn report(global: &Global, arguments: &Report) -> Outcome {
    match low_recall::load(&arguments.evidence)? {
        Some(report) => super::recall::print(global, &report),
        None => print(global, &report::load(&arguments.evidence)?),
    }
}

pub fn verify(global: &Global, arguments: &Verify) -> Outcome {
    let (printed, differences) = match low_recall::load(&arguments.evidence)? {
        Some(report) => {
            let differences = low_recall::verify(&arguments.evidence, &report)?;
            (super::recall::print(global, &report), differences)
        }
        None => {
            let (report, differences) = report::verify(&arguments.evidence)?;
            (print(global, &report), differences)
        }
    };
    for difference in &differences {
        output::note(&format!("differs: {difference}"));
    }
    if differences.is_empty() {
        output::note("the files say the same as the report");
        return printed;
    }
    Err(Failure::Reported(Exit::CheckFailed))
}
