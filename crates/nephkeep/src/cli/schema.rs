//! `schema …`: the schemas of events, in the registry that Confluent's clients use too.

mod decode;

use super::{Global, status::cells};
use crate::{
    client::Call,
    exit::Outcome,
    layout,
    output::{self, Format, Report},
    routes,
};
use clap::{Args, Subcommand, ValueEnum};
use model::{Error, Json};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Keep the schemas of events, and what may follow what
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "The registry speaks Confluent's interface at /schema-registry: point `schema.registry.url` of your clients \
    there,\nwith a token as bearer or as the password."
)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Subjects(Subjects),
    Versions(Versions),
    Get(Get),
    Register(Register),
    Check(Check),
    Level(Level),
    Delete(Delete),
    Decode(decode::Decode),
}

/// List subjects
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep schema subjects\n  nephkeep schema subjects --prefix intents- --deleted")]
struct Subjects {
    /// Only those that begin so
    #[arg(long, default_value = "")]
    prefix: String,
    /// Also those that are deleted softly
    #[arg(long)]
    deleted: bool,
}

/// List the versions of a subject with their ids
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep schema versions intents-value")]
struct Versions {
    /// The subject
    subject: String,
    /// Also versions that are deleted softly
    #[arg(long)]
    deleted: bool,
}

/// Show a schema
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep schema get intents-value\n  nephkeep schema get intents-value --version 2 -o json"
)]
struct Get {
    /// The subject
    subject: String,
    /// A number, or latest
    #[arg(long, default_value = "latest")]
    version: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    Avro,
    Json,
    Protobuf,
}

#[derive(Debug, Args)]
struct File {
    /// The subject; by custom TOPIC-key or TOPIC-value
    subject: String,
    /// The schema: .avsc, .json (JSON Schema) or .proto
    file: PathBuf,
    /// What the file holds, where its extension does not tell
    #[arg(long = "type", value_enum)]
    form: Option<Type>,
    /// A schema that it refers to: NAME=SUBJECT:VERSION (repeat it)
    #[arg(long = "reference", value_name = "NAME=SUBJECT:VERSION")]
    references: Vec<String>,
}

/// Register a schema; the same schema keeps its id
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep schema register intents-value intent.avsc\n  \
    nephkeep schema register intents-value intent.avsc --dry-run")]
struct Register {
    #[command(flatten)]
    file: File,
    /// Only check whether it would be accepted
    #[arg(long)]
    dry_run: bool,
}

/// Check whether a schema may follow those that are registered
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep schema check intents-value intent.avsc\n\nExit code 1 when it may not.")]
struct Check {
    #[command(flatten)]
    file: File,
}

/// Show or set a compatibility level
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep schema level\n  nephkeep schema level intents-value --set full-transitive\n  \
    nephkeep schema level intents-value --set full-transitive --dry-run\n\n\
    Levels: none, backward, forward, full, and the last three with -transitive."
)]
struct Level {
    /// The subject; left out, the registry's own level
    subject: Option<String>,
    /// The new level
    #[arg(long, value_name = "LEVEL")]
    set: Option<String>,
    /// Show what would be set in the place of what; set nothing
    #[arg(long, requires = "set")]
    dry_run: bool,
}

/// Delete a subject or one version: softly first, then for good
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep schema delete old-value --dry-run\n  nephkeep schema delete old-value\n  \
    nephkeep schema delete old-value --permanent"
)]
struct Delete {
    /// The subject
    subject: String,
    /// One version only
    #[arg(long)]
    version: Option<String>,
    /// For good: messages with its id can no longer be read
    #[arg(long)]
    permanent: bool,
    /// Show what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Subjects(verb) => subjects(global, verb).await,
        Verb::Versions(verb) => versions(global, &verb.subject, verb.deleted).await,
        Verb::Get(verb) => show(global, verb).await,
        Verb::Register(verb) if verb.dry_run => check(global, &verb.file).await,
        Verb::Register(verb) => register(global, &verb.file).await,
        Verb::Check(verb) => check(global, &verb.file).await,
        Verb::Level(verb) => level(global, verb).await,
        Verb::Delete(verb) => delete(global, verb).await,
        Verb::Decode(verb) => decode::run(global, verb).await,
    }
}

/// `/schema-registry/BASE/SUBJECT/REST`.
fn path(base: &str, subject: &str, rest: &str) -> String {
    format!("{}{rest}", routes::below(&format!("{}/{base}", routes::SCHEMA_REGISTRY), subject))
}

async fn subjects(global: &Global, verb: &Subjects) -> Outcome {
    let call = Call::get(format!("{}/subjects", routes::SCHEMA_REGISTRY));
    let call = call.query("subjectPrefix", &verb.prefix).query("deleted", verb.deleted);
    let answer = global.client()?.send(call).await?.value()?;
    let names = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = names.iter().map(|name| vec![output::printable(name.as_str().unwrap_or_default())]).collect();
    Report::new(&["subject"], rows, answer).print(global.output)
}

/// Avro is the form that the registry does not name.
fn form_of(schema: &Json) -> &str {
    schema.get("schemaType").and_then(Json::as_str).unwrap_or("AVRO")
}

async fn versions(global: &Global, subject: &str, deleted: bool) -> Outcome {
    let client = global.client()?;
    let call = Call::get(path("subjects", subject, "/versions")).query("deleted", deleted);
    let numbers = client.send(call).await?.value()?;
    let mut rows = Vec::new();
    let mut found = Vec::new();
    for number in numbers.as_array().into_iter().flatten() {
        let call = Call::get(path("subjects", subject, &format!("/versions/{number}")));
        let one = client.send(call.query("deleted", true)).await?.json()?;
        let mut row = cells(&one, &["version", "id"]);
        row.push(form_of(&one).to_owned());
        rows.push(row);
        found.push(one);
    }
    output::listed(global.output, &["version", "id", "type"], rows, &Json::from(found))
}

async fn show(global: &Global, verb: &Get) -> Outcome {
    let version = routes::below("/versions", &verb.version);
    let answer = global.client()?.send(Call::get(path("subjects", &verb.subject, &version))).await?;
    if global.output != Format::Table {
        return output::document(global.output, &answer.text);
    }
    let one = answer.json()?;
    let word = |name: &str| one.get(name).map_or_else(|| "-".into(), Json::to_string);
    let form = form_of(&one);
    output::note(&format!("version {}, id {}, {form}", word("version"), word("id")));
    let text = one.get("schema").and_then(Json::as_str).unwrap_or_default();
    if form == "PROTOBUF" {
        output::data(text)
    } else {
        output::document(Format::Json, text)?
    }
    Ok(())
}

fn form(file: &File) -> Outcome<&'static str> {
    let extension = file.file.extension().and_then(|extension| extension.to_str());
    match (file.form, extension) {
        (Some(Type::Avro), _) | (None, Some("avsc")) => Ok("AVRO"),
        (Some(Type::Json), _) | (None, Some("json")) => Ok("JSON"),
        (Some(Type::Protobuf), _) | (None, Some("proto")) => Ok("PROTOBUF"),
        _ => {
            let how = "name what the file holds with --type avro, json or protobuf";
            Err(Error::invalid("schema-invalid", how).with("file", file.file.display()).into())
        }
    }
}

fn request(file: &File) -> Outcome<Value> {
    let unreadable = |error| layout::io_error("document-unreadable", "the schema cannot be read", &file.file, error);
    let text = std::fs::read_to_string(&file.file).map_err(unreadable)?;
    let mut references = Vec::new();
    for given in &file.references {
        let parts = given.split_once('=').and_then(|(name, rest)| {
            let (subject, version) = rest.rsplit_once(':')?;
            Some(json!({ "name": name, "subject": subject, "version": version.parse::<u32>().ok()? }))
        });
        let malformed = || Error::invalid("assignment-malformed", "a reference reads NAME=SUBJECT:VERSION");
        references.push(parts.ok_or_else(|| malformed().with("given", given))?);
    }
    Ok(json!({ "schema": text, "schemaType": form(file)?, "references": references }))
}

async fn register(global: &Global, file: &File) -> Outcome {
    let call = Call::new(Method::POST, path("subjects", &file.subject, "/versions")).json(&request(file)?);
    let answer = global.client()?.send(call).await?.value()?;
    let facts = vec![
        ("subject", file.subject.clone()),
        ("version", answer["version"].to_string()),
        ("id", answer["id"].to_string()),
    ];
    Report::facts(facts, answer).print(global.output)
}

async fn check(global: &Global, file: &File) -> Outcome {
    let call = Call::new(Method::POST, path("compatibility/subjects", &file.subject, "/versions"));
    let call = call.query("verbose", true).json(&request(file)?);
    let answer = global.client()?.send(call).await?.value()?;
    if answer["is_compatible"] == json!(true) {
        output::note("compatible");
        return if global.output == Format::Table {
            Ok(())
        } else {
            Report::new(&[], Vec::new(), answer).print(global.output)
        };
    }
    let rows = answer["messages"].as_array().into_iter().flatten();
    let rows = rows.map(|why| vec![output::printable(why.as_str().unwrap_or_default())]).collect();
    Report::new(&["why it may not follow"], rows, answer).print(global.output)?;
    Err(Error::conflict("schema-incompatible", "the schema may not follow those that are registered")
        .with("subject", &file.subject)
        .into())
}

async fn level(global: &Global, verb: &Level) -> Outcome {
    let path = match &verb.subject {
        Some(subject) => path("config", subject, ""),
        None => format!("{}/config", routes::SCHEMA_REGISTRY),
    };
    let level = verb.set.as_ref().map(|level| level.to_uppercase().replace('-', "_"));
    let call = match &level {
        Some(level) if !verb.dry_run => Call::new(Method::PUT, path).json(&json!({ "compatibility": level })),
        _ => Call::get(path).query("defaultToGlobal", true),
    };
    let mut answer = global.client()?.send(call).await?.value()?;
    let told = answer["compatibilityLevel"].as_str().or_else(|| answer["compatibility"].as_str()).unwrap_or_default();
    let mut facts = vec![("level", told.to_owned())];
    if let Some(level) = level.filter(|_| verb.dry_run) {
        // A level that is none is refused here too.
        let level: registry::Level = level.parse()?;
        output::note("dry run: nothing is set");
        facts.push(("would become", level.as_str().to_owned()));
        answer["wouldBecome"] = json!(level.as_str());
    }
    Report::facts(facts, answer).print(global.output)
}

async fn delete(global: &Global, verb: &Delete) -> Outcome {
    if verb.dry_run {
        output::note("dry run: of these versions would be deleted what --version names, or all");
        return versions(global, &verb.subject, verb.permanent).await;
    }
    let rest = verb.version.as_ref().map_or_else(String::new, |version| routes::below("/versions", version));
    let call = Call::new(Method::DELETE, path("subjects", &verb.subject, &rest)).query("permanent", verb.permanent);
    let answer = global.client()?.send(call).await?;
    output::note(if verb.permanent { "deleted for good" } else { "deleted softly; --permanent deletes for good" });
    output::document(global.output, &answer.text)
}

fn bytes(file: &Path) -> Outcome<Vec<u8>> {
    let unreadable = |error| layout::io_error("document-unreadable", "the message cannot be read", file, error);
    Ok(std::fs::read(file).map_err(unreadable)?)
}
