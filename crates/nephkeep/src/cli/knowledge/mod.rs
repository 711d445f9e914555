//! `knowledge …`: texts into the knowledge base, questions to it.

mod ask;
mod files;
mod import;
mod migrate;
mod passages;
mod pdf;

use super::Global;
use crate::{
    client::Call,
    exit::Outcome,
    output::{self, Report},
    routes,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

/// Import texts, and find passages in them
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Import(import::Import),
    Search(ask::Search),
    Retrieve(ask::Retrieve),
    List(List),
    Get(Get),
    Delete(Delete),
    Migrate(migrate::Migrate),
    #[command(hide = true, name = pdf::VERB)]
    Pdf(pdf::Sections),
}

/// List documents
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge list\n  nephkeep knowledge list --all -o json")]
struct List {
    /// At most so many
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = crate::cli::values::count)]
    limit: u32,
    /// After this place, as the page before told it
    #[arg(long, value_name = "PLACE", conflicts_with = "all")]
    after: Option<String>,
    /// Every page, not only the first
    #[arg(long)]
    all: bool,
}

/// Show a document with its chunks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge get ID")]
struct Get {
    /// The document, as `knowledge list` shows it
    id: String,
}

/// Delete a document; its history stays
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge delete ID\n  nephkeep knowledge delete ID --dry-run")]
struct Delete {
    /// The document to delete
    id: String,
    /// Show what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Import(verb) => import::run(global, verb).await,
        Verb::Pdf(verb) => pdf::run(verb),
        Verb::Search(verb) => ask::search(global, verb).await,
        Verb::Retrieve(verb) => ask::retrieve(global, verb).await,
        Verb::Migrate(verb) => migrate::run(global, verb).await,
        Verb::List(verb) => list(global, verb).await,
        Verb::Get(verb) => show(global, &verb.id).await,
        Verb::Delete(verb) if verb.dry_run => {
            let found = global.client()?.send(Call::get(routes::below(routes::KNOWLEDGE, &verb.id))).await?.value()?;
            output::note("dry run: this would be deleted; nothing was sent");
            let facts = ["id", "source", "path", "title"].map(|name| (name, super::status::cell(&found[name])));
            Report::facts(facts.to_vec(), found).print(global.output)
        }
        Verb::Delete(verb) => {
            let path = routes::below(routes::KNOWLEDGE, &verb.id);
            let answer = global.client()?.send(Call::new(Method::DELETE, path)).await?;
            let position = answer.header("ledger-position").unwrap_or("-").to_owned();
            let value = json!({ "id": verb.id, "deleted": true, "position": position });
            Report::facts(vec![("deleted", verb.id.clone()), ("position", position)], value).print(global.output)
        }
    }
}

async fn list(global: &Global, verb: &List) -> Outcome {
    let (client, mut after, mut documents) = (global.client()?, verb.after.clone(), Vec::new());
    loop {
        let call = Call::get(routes::KNOWLEDGE).query("limit", verb.limit).maybe("after", after.as_ref());
        let page = client.send(call).await?.value()?;
        documents.extend(page["documents"].as_array().cloned().unwrap_or_default());
        after = page["next"].as_str().map(str::to_owned);
        if !verb.all || after.is_none() {
            break;
        }
    }
    if let Some(next) = &after {
        output::note(&format!("{} shown; more with --after '{next}' or --all", documents.len()));
    }
    let names = ["id", "source", "path", "title", "class", "chunks"];
    let row = |document: &Value| names.iter().map(|name| super::status::cell(&document[*name])).collect();
    let value = json!({ "documents": documents, "next": after });
    Report::new(&names, documents.iter().map(row).collect(), value).print(global.output)
}

async fn show(global: &Global, id: &str) -> Outcome {
    let answer = global.client()?.send(Call::get(routes::below(routes::KNOWLEDGE, id))).await?;
    output::document(global.output, &answer.text)
}
