//! `events groups`, `seek`, `delete`: who reads what, how far, and from where again.

use super::rows;
use crate::{
    cli::{Global, status::cell},
    client::Call,
    exit::Outcome,
    output::{self, Report},
    routes,
};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

/// List consumer groups, or show the partitions of one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events groups\n  nephkeep events groups billing\n  \
    nephkeep events groups billing -o json\n\n`behind` counts positions of the log that are not committed.")]
pub struct Groups {
    /// Only this group, partition by partition
    group: Option<String>,
}

/// Move a group to another place in the log, back or forth
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events seek billing earliest\n  \
    nephkeep events seek billing 2026-01-31T12:00:00Z\n  \
    nephkeep events seek billing --topic intent.lifecycle 0.1-9f86d081884c7d65.42\n\n\
    What members have read and not committed is committed by nobody; they go on from the new place.")]
pub struct Seek {
    /// The group
    group: String,
    /// `earliest`, `latest`, a position (then what comes after it) or a time (then what came from it on)
    to: String,
    /// Only this topic of the group
    #[arg(long)]
    topic: Option<String>,
    /// Show where the group stands; move nothing
    #[arg(long)]
    dry_run: bool,
}

/// Delete a group with its positions
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events delete billing --dry-run\n  nephkeep events delete billing")]
pub struct Delete {
    /// The group
    group: String,
    /// Show the group; delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn list(global: &Global, verb: &Groups) -> Outcome {
    if let Some(group) = &verb.group {
        return one(global, group).await;
    }
    let mut listed = global.client()?.send(Call::get(routes::GROUPS)).await?.value()?;
    let names = ["name", "topics", "members", "behind", "epoch"];
    let mut shown = listed["groups"].clone();
    for group in shown.as_array_mut().into_iter().flatten() {
        group["members"] = group["members"].as_array().map_or(0, Vec::len).into();
    }
    Report::new(&names, rows(&shown, &names), listed["groups"].take()).print(global.output)
}

async fn one(global: &Global, group: &str) -> Outcome {
    let found = global.client()?.send(Call::get(routes::below(routes::GROUPS, group))).await?.value()?;
    let names = ["topic", "partition", "member", "committed", "behind"];
    Report::new(&names, rows(&found["partitions"], &names), found).print(global.output)
}

pub async fn seek(global: &Global, verb: &Seek) -> Outcome {
    if verb.dry_run {
        output::note("dry run: the group stays where it is");
        return one(global, &verb.group).await;
    }
    let path = format!("{}/seek", routes::below(routes::GROUPS, &verb.group));
    let body = json!({ "to": verb.to, "topic": verb.topic });
    let moved = global.client()?.send(Call::new(Method::POST, path).json(&body)).await?.value()?;
    let facts = vec![
        ("group", verb.group.clone()),
        ("position", cell(&moved["position"])),
        ("partitions", cell(&moved["partitions"])),
    ];
    Report::facts(facts, moved).print(global.output)
}

pub async fn delete(global: &Global, verb: &Delete) -> Outcome {
    if verb.dry_run {
        output::note("dry run: the group stays");
        return one(global, &verb.group).await;
    }
    global.client()?.send(Call::new(Method::DELETE, routes::below(routes::GROUPS, &verb.group))).await?;
    let value: Value = json!({ "group": verb.group, "deleted": true });
    Report::facts(vec![("group", verb.group.clone()), ("deleted", "yes".to_owned())], value).print(global.output)
}
