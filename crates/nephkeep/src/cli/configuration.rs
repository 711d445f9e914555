//! `configuration …`: the network's versioned configuration documents, under `namespace/key`.

use super::{
    Global,
    intent::write::{current, if_match, written},
    status::cells,
};
use crate::{
    client::Call,
    exit::Outcome,
    input,
    output::{self, Report},
    routes,
};
use clap::{Args, Subcommand};
use model::{Json, configuration::ConfigurationKey};
use reqwest::Method;
use serde_json::json;
use std::path::PathBuf;

/// Keep configuration documents: versions, differences, rollback
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Get(Get),
    Set(Set),
    List(List),
    Delete(Delete),
    History(History),
    Diff(Diff),
    Rollback(Rollback),
}

impl Verb {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Get(verb) => Some(&verb.key),
            Self::Set(verb) => Some(&verb.key),
            Self::Delete(verb) => Some(&verb.key),
            Self::History(verb) => Some(&verb.key),
            Self::Diff(verb) => Some(&verb.key),
            Self::Rollback(verb) => Some(&verb.key),
            Self::List(_) => None,
        }
    }
}

/// Show a document
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep configuration get ran/cell-7\n  nephkeep configuration get ran/cell-7 --version 2"
)]
struct Get {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
    /// As it was in this version
    #[arg(long)]
    version: Option<u64>,
}

/// Create or replace a document
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep configuration set ran/cell-7 cell.yaml\n  \
    echo '{\"power\": 20}' | nephkeep configuration set ran/cell-7 --if-version 3\n  \
    nephkeep configuration set ran/cell-7 cell.yaml --dry-run")]
struct Set {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
    /// The document; `-` or nothing reads standard input
    file: Option<PathBuf>,
    /// Only if the document still has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Check the document and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// List keys
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep configuration list\n  nephkeep configuration list --namespace ran -o json"
)]
struct List {
    /// Only keys of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// Delete a document; its history stays
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep configuration delete ran/cell-7\n  nephkeep configuration delete ran/cell-7 --dry-run"
)]
struct Delete {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
    /// Only if the document still has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Show what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Show every version of a document
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep configuration history ran/cell-7")]
struct History {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
}

/// Show where two versions differ
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep configuration diff ran/cell-7 2 3")]
struct Diff {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
    /// The older version
    from: u64,
    /// The newer version
    to: u64,
}

/// Bring back an earlier version, as a new version
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep configuration rollback ran/cell-7 2 --dry-run\n  nephkeep configuration rollback ran/cell-7 2"
)]
struct Rollback {
    /// Namespace, a slash, and the key, which may have slashes too
    #[arg(value_name = "NAMESPACE/KEY")]
    key: String,
    /// The version to go back to; it is written again as a new one
    version: u64,
    /// Only if the document still has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Show what would change
    #[arg(long)]
    dry_run: bool,
}

const PAGE: u32 = 1000;

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    // Before it becomes a path: a key of another form would meet another route.
    if let Some(key) = arguments.verb.key() {
        ConfigurationKey::parse(key)?;
    }
    match arguments.verb {
        Verb::Get(verb) => get(global, &verb).await,
        Verb::Set(verb) => set(global, &verb).await,
        Verb::List(verb) => list(global, &verb).await,
        Verb::Delete(verb) => delete(global, &verb).await,
        Verb::History(verb) => history(global, &verb).await,
        Verb::Diff(verb) => diff(global, &verb.key, verb.from, verb.to).await,
        Verb::Rollback(verb) => rollback(global, &verb).await,
    }
}

async fn get(global: &Global, verb: &Get) -> Outcome {
    let call = Call::get(routes::configuration(&verb.key)).maybe("version", verb.version);
    output::document(global.output, &global.client()?.send(call).await?.text)
}

async fn set(global: &Global, verb: &Set) -> Outcome {
    let document = input::document(verb.file.as_deref())?;
    if verb.dry_run {
        let tenant = model::Tenant::new("dry-run")?;
        let prepared = model::configuration::prepared(&verb.key, &document, &tenant)?;
        output::note(&format!("dry run: the document is valid, its class {}; nothing was sent", prepared.class));
        return Ok(());
    }
    put(global, &verb.key, &document, verb.if_version).await
}

async fn put(global: &Global, key: &str, document: &Json, version: Option<u64>) -> Outcome {
    let call = Call::new(Method::PUT, routes::configuration(key)).body("application/json", document.to_bytes());
    written(global, &global.client()?.send(if_match(call, version)).await?)
}

async fn list(global: &Global, verb: &List) -> Outcome {
    let client = global.client()?;
    let (mut items, mut after) = (Vec::new(), None::<String>);
    while items.len() < verb.limit {
        let call = Call::get(routes::CONFIGURATION).maybe("namespace", verb.namespace.as_ref());
        let page = client.send(call.query("limit", PAGE).maybe("after", after.as_ref())).await?.json()?;
        items.extend(page.get("items").and_then(Json::as_array).unwrap_or_default().iter().cloned());
        after = page.get("next").and_then(Json::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if items.len() > verb.limit || after.is_some() {
        output::note(&format!("the first {}; more with --limit", verb.limit));
        items.truncate(verb.limit);
    }
    let rows = items.iter().map(|item| cells(item, &["id", "version", "class", "position"])).collect();
    output::listed(global.output, &["key", "version", "class", "position"], rows, &Json::Array(items))
}

async fn delete(global: &Global, verb: &Delete) -> Outcome {
    let client = global.client()?;
    let path = routes::configuration(&verb.key);
    if verb.dry_run {
        let version = current(&client, &path, verb.if_version).await?;
        output::note(&format!("dry run: version {version} would be deleted; nothing was sent"));
        return Ok(());
    }
    let answer = client.send(if_match(Call::new(Method::DELETE, path), verb.if_version)).await?;
    let position = answer.header("ledger-position").unwrap_or("-").to_owned();
    let value = json!({ "key": verb.key, "deleted": true, "position": position });
    Report::facts(vec![("deleted", verb.key.clone()), ("position", position)], value).print(global.output)
}

async fn history(global: &Global, verb: &History) -> Outcome {
    let call = Call::get(routes::configuration_action(&verb.key, "history"));
    super::history::print(global, &global.client()?.send(call).await?)
}

async fn diff(global: &Global, key: &str, from: u64, to: u64) -> Outcome {
    let call = Call::get(routes::configuration_action(key, "diff")).query("from", from).query("to", to);
    let answer = global.client()?.send(call).await?.json()?;
    let differences = answer.get("differences").and_then(Json::as_array).unwrap_or_default();
    let rows = differences.iter().map(|item| cells(item, &["path", "old", "new"])).collect();
    output::listed(global.output, &["path", "old", "new"], rows, &answer)
}

async fn rollback(global: &Global, verb: &Rollback) -> Outcome {
    if verb.dry_run {
        let version = current(&global.client()?, &routes::configuration(&verb.key), verb.if_version).await?;
        output::note(&format!("dry run: version {version} would be replaced by what version {} held:", verb.version));
        return diff(global, &verb.key, version, verb.version).await;
    }
    let call = Call::new(Method::POST, routes::configuration_action(&verb.key, "rollback")).query("to", verb.version);
    written(global, &global.client()?.send(if_match(call, verb.if_version)).await?)
}
