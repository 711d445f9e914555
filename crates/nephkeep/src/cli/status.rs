//! `status`: who runs on the directory, who leads, how far the log is. Exit 1 when nothing runs.

use super::Global;
use crate::{
    client::{Call, Client},
    exit::{Exit, Failure, Outcome},
    layout::Layout,
    output::{self, Format, Report},
    routes, running,
};
use clap::Args;
use model::Json;
use serde_json::{Value, json};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(2);

/// Show what runs on the directory and how it is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep status\n  nephkeep status --watch\n  nephkeep status -o json")]
pub struct Arguments {
    /// Again every two seconds, until interrupted
    #[arg(long, short)]
    watch: bool,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    if !arguments.watch {
        return once(global).await;
    }
    loop {
        // Down is news here, not an end.
        if let Err(Failure::Error { error, .. }) = once(global).await {
            output::failure(&error, global.layout().ok().as_ref(), global.output);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        if global.output == Format::Table {
            output::data("");
        }
    }
}

async fn once(global: &Global) -> Outcome {
    let layout = global.layout()?;
    if !global.is_remote() && running::look(&layout)?.is_none() {
        return not_running(global.output, &layout);
    }
    let client = global.client()?;
    let answer = client.send(Call::get(routes::STATUS)).await?;
    report(&layout, &client, answer.value()?, global.is_remote()).print(global.output)
}

/// How far the log may be read now: where a watch from now on begins.
pub async fn published(client: &Client) -> Outcome<String> {
    let status = client.send(Call::get(routes::STATUS)).await?.value()?;
    let position = status.pointer("/record/published").and_then(Value::as_str).map(str::to_owned);
    position.ok_or_else(|| {
        let what = "the server's status names no position; is it a nephkeep of this version?";
        model::Error::corrupt("answer-malformed", what).into()
    })
}

fn not_running(format: Format, layout: &Layout) -> Outcome {
    let state = if running::is_held(layout) { "starting or stopping" } else { "not running" };
    let initialised = layout.is_initialised();
    let begun = match (layout.root().exists(), initialised) {
        (false, _) => "no, the directory does not exist",
        (true, false) => "no",
        (true, true) if !layout.has_started() => "yes, but no start has succeeded yet",
        (true, true) => "yes",
    };
    let facts = vec![
        ("state", state.to_owned()),
        ("directory", layout.root().display().to_string()),
        ("initialised", begun.to_owned()),
    ];
    let value = json!({ "state": state, "directory": layout.root(), "initialised": initialised });
    Report::facts(facts, value).print(format)?;
    Err(Failure::Reported(Exit::CheckFailed))
}

fn report(layout: &Layout, client: &Client, status: Value, remote: bool) -> Report {
    let mut facts = vec![("state", "running".to_owned()), ("url", client.base().to_owned())];
    let mut value = json!({ "state": "running", "url": client.base() });
    if !remote {
        facts.push(("directory", layout.root().display().to_string()));
        value["directory"] = json!(layout.root());
        if let Some(running) = running::find(layout) {
            facts.push(("pid", running.pid.to_string()));
            value["pid"] = json!(running.pid);
        }
    }
    let published = status.pointer("/record/published").and_then(Value::as_str);
    if let Some(position) = published.and_then(|text| text.parse::<model::Position>().ok()) {
        facts.push(("incarnation", position.incarnation.to_string()));
        value["incarnation"] = json!(position.incarnation.to_string());
    }
    value["server"] = status;
    let mut rows: Vec<Vec<String>> = facts.into_iter().map(|(name, fact)| vec![name.to_owned(), fact]).collect();
    flatten("", &value["server"], &mut rows);
    Report { header: Vec::new(), rows, value }
}

/// `{"a": {"b": 1}}` → `a.b  1`.
pub fn flatten(prefix: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, member, rows);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{index}]"), item, rows);
            }
        }
        Value::Array(items) => {
            rows.push(vec![prefix.to_owned(), items.iter().map(cell).collect::<Vec<_>>().join(", ")])
        }
        plain => rows.push(vec![prefix.to_owned(), cell(plain)]),
    }
}

/// A value as people read it in a table.
#[must_use]
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The same of our own JSON value; digits stay.
#[must_use]
pub fn cells(item: &Json, names: &[&str]) -> Vec<String> {
    let shown = |name: &&str| match item.get(name) {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => String::from_utf8_lossy(&other.to_bytes()).into_owned(),
    };
    names.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_facts_become_rows() {
        let mut rows = Vec::new();
        flatten("", &json!({ "a": { "b": 1, "c": null }, "d": ["x", 2], "e": [{ "f": true }] }), &mut rows);
        let rows: Vec<_> = rows.iter().map(|row| row.join("=")).collect();
        assert_eq!(rows, ["a.b=1", "a.c=-", "d=x, 2", "e[0].f=true"]);
    }
}
