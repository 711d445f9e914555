//! Changing intents. Every verb can show what it would do and do nothing (`--dry-run`).

use crate::{
    cli::Global,
    client::{Answer, Call, Client},
    exit::Outcome,
    input,
    output::{self, Report},
    routes,
};
use clap::Args;
use model::{
    Error, Json,
    patch::{self, Media},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Create an intent from a JSON or YAML document
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent create intent.json\n  \
    nephkeep intent create --idempotency-key order-17 < intent.yaml\n  nephkeep intent create intent.json --dry-run\n\n\
    The smallest intent:\n  {\"@type\":\"Intent\",\"name\":\"keep latency low\",\n   \
    \"expression\":{\"@type\":\"IntentExpression\",\"iri\":\"https://example.com/intents/low-latency\"}}")]
pub struct Create {
    /// The document; `-` or nothing reads standard input
    file: Option<PathBuf>,
    /// Makes a repetition harmless: the same key gives the same answer
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Check the document and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// Change an intent: a merge patch or a JSON Patch from a document, or single attributes
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent update ID --set lifecycleStatus=active\n  \
    nephkeep intent update ID patch.json --if-version 3\n  nephkeep intent update ID --set priority=1 --dry-run")]
pub struct Update {
    /// The intent to change
    id: String,
    /// A JSON or YAML document: the attributes to change (null removes one), or an array of JSON Patch operations
    file: Option<PathBuf>,
    /// One whole attribute; repeatable. A name that TMF921 does not know becomes an attribute of your own
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "file")]
    set: Vec<String>,
    /// Only if the intent still has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Show the patch and the version it would apply to
    #[arg(long)]
    dry_run: bool,
}

/// Delete an intent; its history stays
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent delete ID\n  nephkeep intent delete ID --if-version 3\n  \
    nephkeep intent delete ID --dry-run")]
pub struct Delete {
    /// The intent to delete; its history stays
    id: String,
    /// Only if the intent still has this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Show what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub async fn create(global: &Global, verb: &Create) -> Outcome {
    let document = input::document(verb.file.as_deref())?;
    if verb.dry_run {
        super::import::check(&document)?;
        output::note("dry run: the document is valid; nothing was sent");
        return output::document(global.output, &text(&document));
    }
    let call = Call::new(Method::POST, routes::INTENTS).body("application/json", document.to_bytes());
    let call = match &verb.idempotency_key {
        Some(key) => call.header("idempotency-key", key),
        None => call,
    };
    written(global, &global.client()?.send(call).await?)
}

pub async fn update(global: &Global, verb: &Update) -> Outcome {
    let patch = match (&verb.file, verb.set.is_empty()) {
        (None, true) => return Err(nothing_to_change().into()),
        (None, false) => input::assignments(&verb.set)?,
        (Some(file), _) => input::document(Some(file))?,
    };
    let media = media(&patch)?;
    let client = global.client()?;
    let path = routes::below(routes::INTENTS, &verb.id);
    if verb.dry_run {
        let answer = client.send(Call::get(&path)).await?;
        let version = version(&answer, verb.if_version)?;
        patch::apply(media, &answer.json()?, &patch)?;
        output::note(&format!("dry run: this patch would apply to version {version}; nothing was sent"));
        return output::document(global.output, &text(&patch));
    }
    let (patch, content_type) = match media {
        Media::Merge if patch.get("@type").is_none() => {
            (patch.with("@type", Json::String("Intent".into())), "application/merge-patch+json")
        }
        Media::Merge => (patch, "application/merge-patch+json"),
        Media::Operations | Media::QueryOperations => (patch, "application/json-patch+json"),
    };
    let call = Call::new(Method::PATCH, path).body(content_type, patch.to_bytes());
    written(global, &client.send(if_match(call, verb.if_version)).await?)
}

fn nothing_to_change() -> Error {
    Error::invalid("patch-missing", "nothing would change: name a document with attributes, or use --set NAME=VALUE")
}

/// An object is a merge patch, an array a JSON patch; anything else is neither, and is not sent as if it were.
fn media(patch: &Json) -> model::Result<Media> {
    match patch {
        Json::Object(members) if members.is_empty() => Err(nothing_to_change()),
        Json::Object(_) => Ok(Media::Merge),
        Json::Array(operations) if operations.is_empty() => Err(nothing_to_change()),
        Json::Array(_) => Ok(Media::Operations),
        other => {
            let what = "a patch is an object (a merge patch) or an array of operations (a JSON patch)";
            Err(Error::invalid("patch-malformed", what).with("given", other.type_name()))
        }
    }
}

pub async fn delete(global: &Global, verb: &Delete) -> Outcome {
    let client = global.client()?;
    let path = routes::below(routes::INTENTS, &verb.id);
    if verb.dry_run {
        let version = current(&client, &path, verb.if_version).await?;
        output::note(&format!("dry run: version {version} would be deleted; nothing was sent"));
        return Ok(());
    }
    let answer = client.send(if_match(Call::new(Method::DELETE, path), verb.if_version)).await?;
    let position = answer.header("ledger-position").unwrap_or("-").to_owned();
    let value = json!({ "id": verb.id, "deleted": true, "position": position });
    Report::facts(vec![("deleted", verb.id.clone()), ("position", position)], value).print(global.output)
}

fn text(document: &Json) -> String {
    String::from_utf8_lossy(&document.to_bytes()).into_owned()
}

pub fn if_match(call: Call, version: Option<u64>) -> Call {
    match version {
        Some(version) => call.header("if-match", format!("\"{version}\"")),
        None => call,
    }
}

/// The version there is; refused when it is not the one expected, as the write would be.
pub async fn current(client: &Client, path: &str, expected: Option<u64>) -> Outcome<u64> {
    Ok(version(&client.send(Call::get(path)).await?, expected)?)
}

fn version(answer: &Answer, expected: Option<u64>) -> model::Result<u64> {
    let version = answer.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok()).unwrap_or(0);
    match expected {
        Some(expected) if expected != version => {
            let what = "the document has another version now; read it again";
            Err(Error::conflict("version-conflict", what).with("expected", expected).with("current", version))
        }
        _ => Ok(version),
    }
}

/// What a write came to: id, version and position in a table, the whole answer otherwise.
pub fn written(global: &Global, answer: &Answer) -> Outcome {
    if global.output != output::Format::Table {
        return output::document(global.output, &answer.text);
    }
    let value = answer.value()?;
    let mut facts = Vec::new();
    for name in ["id", "name", "lifecycleStatus"] {
        if let Some(fact) = value.get(name).and_then(Value::as_str) {
            facts.push((name, fact.to_owned()));
        }
    }
    facts.push(("version", answer.header("etag").unwrap_or("-").trim_matches('"').to_owned()));
    facts.push(("position", answer.header("ledger-position").unwrap_or("-").to_owned()));
    Report::facts(facts, value).print(global.output)
}
