//! `events …`: topics, consumer groups, reading either, and webhook sinks.

mod consume;
mod groups;
mod produce;
mod sinks;

use super::{Global, status::cell};
use crate::{client::Call, exit::Outcome, output::Report, routes};
use clap::{Args, Subcommand};
use serde_json::Value;

/// Read the changes of the record as events, alone or in a group
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Topics(Topics),
    Groups(groups::Groups),
    Consume(consume::Consume),
    ProduceTest(produce::ProduceTest),
    Seek(groups::Seek),
    Delete(groups::Delete),
    Sinks(sinks::Sinks),
}

/// List the topics of the policy
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events topics\n  nephkeep events topics -o json\n\n\
    The policy is built in; `[events] topics` of nephkeep.toml names another one.")]
struct Topics {}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Topics(Topics {}) => topics(global).await,
        Verb::Groups(verb) => groups::list(global, &verb).await,
        Verb::Consume(verb) => consume::run(global, &verb).await,
        Verb::ProduceTest(verb) => produce::run(global, &verb).await,
        Verb::Seek(verb) => groups::seek(global, &verb).await,
        Verb::Delete(verb) => groups::delete(global, &verb).await,
        Verb::Sinks(verb) => sinks::run(global, &verb).await,
    }
}

async fn topics(global: &Global) -> Outcome {
    let listed = global.client()?.send(Call::get(routes::TOPICS)).await?.value()?;
    let names = ["name", "data", "partitions", "retention_days", "kinds"];
    Report::new(&names, rows(&listed["topics"], &names), listed).print(global.output)
}

/// A list of objects as rows of a table; a list inside is told in one cell.
fn rows(list: &Value, names: &[&'static str]) -> Vec<Vec<String>> {
    let shown = |value: &Value| match value.as_array() {
        Some(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        None => cell(value),
    };
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| names.iter().map(|name| shown(&item[*name])).collect()).collect()
}
