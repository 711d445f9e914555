//! The metrics tier: what a running server says of it, else whether there is a program to run.

use super::{
    Finding,
    service::{Asked, Status},
};
use crate::{exit::Failure, settings::Settings};
use serde_json::Value;
use stores::metrics::{Place, Program, Protocol};

const CHECK: &str = "metrics";
/// The record is served without metrics, so their absence is no failure.
const REMEDY: &str = "nephkeep explain metrics-unavailable";

pub fn examine(settings: &Settings, asked: Option<&Asked>) -> Finding {
    match asked.map(|asked| &asked.status) {
        None => to_be_run(settings),
        Some(Status::Told(Err(error)) | Status::Unasked(Failure::Error { error, .. })) => Finding::error(CHECK, error),
        Some(Status::Unasked(Failure::Reported(_))) => {
            Finding::warn(CHECK, "the server could not be asked", "nephkeep status")
        }
        Some(Status::Told(Ok(answer))) => match answer.value() {
            Ok(status) => running_tier(&status["metrics"]),
            Err(error) => Finding::error(CHECK, &error),
        },
    }
}

fn to_be_run(settings: &Settings) -> Finding {
    match &settings.metrics {
        Place::None => Finding::ok(CHECK, "off (stores.metrics = \"none\")"),
        Place::Remote { base, .. } => Finding::ok(CHECK, format!("kept at {base}; asked when a server runs")),
        Place::Local(_) => match Program::find(settings.prometheus.as_deref()) {
            Ok(Program { path, version }) => {
                let protocol = match version.understands().protocol {
                    Protocol::V1 => "1.0",
                    Protocol::V2 => "2.0",
                };
                let found =
                    format!("Prometheus {} at {}, written to as remote write {protocol}", version.text, path.display());
                Finding::ok(CHECK, found)
            }
            Err(error) => Finding::warn(CHECK, error.to_string(), format!("nephkeep explain {}", error.code())),
        },
    }
}

fn running_tier(tier: &Value) -> Finding {
    let word = |name: &str| tier[name].as_str().unwrap_or("?").to_owned();
    let engines: Vec<(&str, &str)> = ["governed", "platform"]
        .into_iter()
        .filter_map(|class| Some((class, tier[class]["state"].as_str()?)))
        .collect();
    let states = engines.iter().map(|(class, state)| format!("{class} {state}")).collect::<Vec<_>>().join(", ");
    match tier["kind"].as_str() {
        Some("off") => Finding::ok(CHECK, word("reason")),
        Some("unavailable") => Finding::warn(CHECK, word("reason"), REMEDY),
        _ if tier["reason"].is_string() => Finding::warn(CHECK, word("reason"), REMEDY),
        Some("remote") => Finding::ok(
            CHECK,
            format!("Prometheus {} elsewhere, written to as remote write {}", word("version"), word("remote_write")),
        ),
        _ => {
            let found = format!(
                "Prometheus {} ({states}), written to as remote write {}",
                word("version"),
                word("remote_write")
            );
            if engines.iter().all(|(_, state)| *state == "ready") {
                Finding::ok(CHECK, found)
            } else {
                Finding::warn(CHECK, found, "nephkeep status; metrics/*/log below the directory")
            }
        }
    }
}
