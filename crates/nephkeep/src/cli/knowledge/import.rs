//! `knowledge import`: files into documents of the knowledge base, many at a time.

use super::files::{self, Text};
use crate::{
    cli::Global,
    client::{Call, Client},
    exit::{Exit, Failure, Outcome},
    import::{
        send::{Waits, ends, patiently},
        walk,
    },
    output::{self, Format, Report},
    routes,
};
use clap::Args;
use futures_util::{StreamExt, stream};
use model::{Json, Result};
use reqwest::Method;
use serde_json::json;
use std::{
    cell::Cell,
    path::PathBuf,
    time::{Duration, Instant},
};

const TELL_EVERY: Duration = Duration::from_secs(2);

/// Import Markdown, plain text and JSON Lines of passages
///
/// The same source and path is the same document: unchanged it is skipped, changed it becomes a new version, so an
/// interrupted import is resumed by running it again. A text that cannot be read is named, and the others are imported.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge import docs/ --source runbooks\n  \
    nephkeep knowledge import passages.jsonl\n  nephkeep knowledge import --class confidential contracts/\n\n\
    A row of JSON Lines has path and text, and may have source, title and section; rows of one path are one document.\n\
    Exit 1 when a text was refused.")]
pub struct Import {
    /// Files, or directories that are searched for .md, .markdown, .txt, .text, .jsonl and .ndjson
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Where the texts come from, for texts that do not say it themselves
    #[arg(long, default_value = "files")]
    source: String,
    /// public, internal or confidential [default: internal]
    #[arg(long)]
    class: Option<String>,
    /// Documents on their way at a time
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
    /// Read every file; send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default)]
struct Account {
    created: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    chunks: u64,
    refusals: Vec<serde_json::Value>,
}

impl Account {
    fn words(&self) -> String {
        format!(
            "created {}, changed {}, unchanged {}, refused {}; {} chunks",
            self.created, self.changed, self.unchanged, self.refused, self.chunks
        )
    }

    fn value(&self, seconds: f64) -> serde_json::Value {
        json!({ "created": self.created, "changed": self.changed, "unchanged": self.unchanged,
            "refused": self.refused, "chunks": self.chunks, "seconds": seconds, "refusals": self.refusals })
    }

    fn count(&mut self, place: &str, outcome: Result<Option<serde_json::Value>>) {
        match outcome {
            Ok(None) => self.created += 1,
            Ok(Some(told)) => {
                self.chunks += told["chunks"].as_u64().unwrap_or(0);
                match told["state"].as_str() {
                    Some("created") => self.created += 1,
                    Some("changed") => self.changed += 1,
                    _ => self.unchanged += 1,
                }
            }
            Err(error) => {
                self.refused += 1;
                output::note(&format!("{place}: {}: {}", error.code(), output::printable(&error.to_string())));
                self.refusals.push(json!({ "place": place, "code": error.code(), "reason": error.to_string() }));
            }
        }
    }
}

pub async fn run(global: &Global, verb: &Import) -> Outcome {
    let found = walk::files(&verb.paths, files::KNOWN)?;
    let client = if verb.dry_run { None } else { Some(global.client()?) };
    let begun = Instant::now();
    let (source, class) = (verb.source.clone(), verb.class.clone());
    let texts = found.into_iter().flat_map(move |found| files::texts(&found, &source, class.as_deref()));
    let (mut account, waits) = (Account::default(), Waits::default());
    let (open, mut stopped) = (Cell::new(true), None);
    // Once something ended the import no text is begun, and those on their way are still counted.
    let texts = texts.take_while(|_| open.get());
    let outcomes = stream::iter(texts).map(|text| one(text, client.as_ref(), &waits));
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(usize::from(verb.in_flight)));
    let mut told = Instant::now();
    while let Some((place, outcome)) = outcomes.next().await {
        match outcome {
            Err(error) if ends(&error) => {
                open.set(false);
                stopped = stopped.or(Some(error));
            }
            outcome => account.count(&place, outcome),
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            output::note(&account.words());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let Some(error) = stopped else { return tell(global, verb, &account, seconds) };
    output::note(&format!("{} before the import stopped; run it again to go on", account.words()));
    if global.output != Format::Table {
        let mut value = account.value(seconds);
        value["stopped"] = json!({ "code": error.code(), "reason": error.to_string() });
        Report::facts(Vec::new(), value).print(global.output)?;
    }
    Err(error.into())
}

/// What the server said, or none in a dry run.
async fn one(text: Text, client: Option<&Client>, waits: &Waits) -> (String, Result<Option<serde_json::Value>>) {
    let outcome = match (text.body, client) {
        (Err(error), _) => Err(error),
        (Ok(_), None) => Ok(None),
        (Ok(body), Some(client)) => send(client, &body, waits).await.map(Some),
    };
    (text.place, outcome)
}

/// Repeating it is harmless: the same text is the same document.
async fn send(client: &Client, body: &Json, waits: &Waits) -> Result<serde_json::Value> {
    let bytes = body.to_bytes();
    let call = || Call::new(Method::POST, routes::KNOWLEDGE).body("application/json", bytes.clone());
    patiently(client, waits, call).await?.value()
}

fn tell(global: &Global, verb: &Import, account: &Account, seconds: f64) -> Outcome {
    if global.output == Format::Table {
        output::data(&if verb.dry_run {
            format!("dry run: would send {}, refuses {}; the server was not asked", account.created, account.refused)
        } else {
            format!("{} in {seconds:.1} s", account.words())
        });
    } else {
        Report::facts(Vec::new(), account.value(seconds)).print(global.output)?;
    }
    if account.refused > 0 { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}
