//! `doctor`: ok, warn and fail lines; exit 1 on fail.

use super::Global;
use crate::{
    doctor::{self, Finding, Grade},
    exit::{Exit, Failure, Outcome},
    output::Report,
    settings::Settings,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Check the machine, the directory and the server
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep doctor\n  nephkeep doctor -o json\n\nExit 1 when a line says fail; warnings do not."
)]
pub struct Arguments {
    /// Other settings than DIR/nephkeep.toml
    #[arg(long, env = "NEPHKEEP_SETTINGS", value_name = "FILE", hide_env_values = true)]
    settings: Option<PathBuf>,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let layout = global.layout()?;
    let settings = match Settings::load(&layout, arguments.settings.as_deref()) {
        Ok(settings) => Ok(settings),
        Err(Failure::Error { error, .. }) => Err(error),
        Err(reported) => return Err(reported),
    };
    let findings = doctor::examine(&layout, &settings).await;
    let worst = doctor::worst(&findings);
    let rows = findings.iter().map(row).collect();
    let value = json!({ "worst": worst, "findings": findings });
    Report::new(&["", "check", "found", "remedy"], rows, value).print(global.output)?;
    if worst == Grade::Fail { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}

fn row(finding: &Finding) -> Vec<String> {
    let grade = match finding.grade {
        Grade::Ok => "ok",
        Grade::Warn => "WARN",
        Grade::Fail => "FAIL",
    };
    vec![grade.to_owned(), finding.check.to_owned(), finding.found.clone(), finding.remedy.clone()]
}
