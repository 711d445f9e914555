//! `events sinks …`: where events are sent to, how each is, and what was put aside.

use super::rows;
use crate::{
    cli::{Global, status::cell},
    client::Call,
    exit::Outcome,
    output::{self, Report},
    routes,
};
use clap::{Args, Subcommand, ValueEnum};
use model::{Error, Position};
use reqwest::Method;
use serde_json::{Value, json};

/// Send events to webhooks
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Sinks {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Create(Create),
    Delete(Delete),
    Letters(Letters),
    Retry(Retry),
}

/// List sinks, how far each is, and what keeps one from going on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events sinks list\n  nephkeep events sinks list -o json")]
struct List {}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Structured,
    Binary,
    Batch,
}

/// Make a sink, or change one: it goes on where it stands
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nephkeep events sinks create oss --to https://oss.example.net/hook --topic intent.lifecycle\n  \
    nephkeep events sinks create lake --to http://127.0.0.1:9000/in --topic audit.recorded --mode batch --from earliest\n\n\
    Addresses outside this machine need https. An event that the sink refuses (400, 406, 409, 413, 415, 422) is tried \
    --attempts times and then put aside; everything else is tried again for ever, with growing pauses.")]
struct Create {
    /// Its name
    name: String,
    /// Where to send
    #[arg(long, value_name = "URL")]
    to: String,
    /// A topic; several with several --topic
    #[arg(long = "topic", required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// One event a request, in the body or with its attributes in headers, or many
    #[arg(long, value_enum, default_value = "structured")]
    mode: Mode,
    /// Where a new sink begins: `latest`, `earliest`, a position or a time
    #[arg(long, default_value = "latest", value_name = "PLACE")]
    from: String,
    /// Refusals of one event before it is put aside
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    attempts: u8,
    /// Show what would be stored; store nothing
    #[arg(long)]
    dry_run: bool,
}

/// Delete a sink with its position and its dead letters
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events sinks delete oss --dry-run\n  nephkeep events sinks delete oss")]
struct Delete {
    /// The sink
    name: String,
    /// Show the sink; delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// List the dead letters of a consumer
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep events sinks letters sink/oss\n  \
    nephkeep events sinks letters group/billing -o json")]
struct Letters {
    /// sink/NAME, hub/ID or group/NAME
    consumer: String,
}

/// Send a dead letter of a sink again, once
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    nephkeep events sinks retry sink/oss intent.lifecycle 0.1-9f86d081884c7d65.42 --dry-run\n  \
    nephkeep events sinks retry sink/oss intent.lifecycle 0.1-9f86d081884c7d65.42")]
struct Retry {
    /// sink/NAME
    consumer: String,
    /// The letter's topic
    topic: String,
    /// The letter's position
    position: String,
    /// Show the letter and where it would be sent; send nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, verb: &Sinks) -> Outcome {
    match &verb.verb {
        Verb::List(List {}) => list(global).await,
        Verb::Create(verb) => create(global, verb).await,
        Verb::Delete(verb) => delete(global, verb).await,
        Verb::Letters(verb) => letters(global, verb).await,
        Verb::Retry(verb) if verb.dry_run => planned(global, verb).await,
        Verb::Retry(verb) => retry(global, verb).await,
    }
}

const SHOWN: [&str; 8] = ["name", "url", "topics", "mode", "position", "delivered", "dead_letters", "error"];

async fn list(global: &Global) -> Outcome {
    let mut listed = global.client()?.send(Call::get(routes::SINKS)).await?.value()?;
    Report::new(&SHOWN, rows(&listed["sinks"], &SHOWN), listed["sinks"].take()).print(global.output)
}

fn one(global: &Global, sink: Value) -> Outcome {
    let table = rows(&json!([sink]), &SHOWN);
    Report::new(&SHOWN, table, sink).print(global.output)
}

async fn create(global: &Global, verb: &Create) -> Outcome {
    let mode = match verb.mode {
        Mode::Structured => "structured",
        Mode::Binary => "binary",
        Mode::Batch => "batch",
    };
    let mut body = json!({ "url": verb.to, "topics": verb.topics, "mode": mode, "attempts": verb.attempts });
    if verb.dry_run {
        output::note("dry run: nothing is stored");
        body["name"] = json!(verb.name);
        return one(global, body);
    }
    body["from"] = json!(verb.from);
    let call = Call::new(Method::PUT, routes::below(routes::SINKS, &verb.name)).json(&body);
    one(global, global.client()?.send(call).await?.value()?)
}

async fn delete(global: &Global, verb: &Delete) -> Outcome {
    let path = routes::below(routes::SINKS, &verb.name);
    if verb.dry_run {
        output::note("dry run: the sink stays");
        return one(global, global.client()?.send(Call::get(path)).await?.value()?);
    }
    global.client()?.send(Call::new(Method::DELETE, path)).await?;
    let value = json!({ "sink": verb.name, "deleted": true });
    Report::facts(vec![("sink", verb.name.clone()), ("deleted", "yes".to_owned())], value).print(global.output)
}

async fn letters(global: &Global, verb: &Letters) -> Outcome {
    let call = Call::get(routes::DEAD_LETTERS).query("consumer", &verb.consumer);
    let mut listed = global.client()?.send(call).await?.value()?;
    let names = ["topic", "position", "attempts", "time", "reason"];
    Report::new(&names, rows(&listed["dead_letters"], &names), listed["dead_letters"].take()).print(global.output)
}

/// What `retry` would send again; refused where `retry` is.
async fn planned(global: &Global, verb: &Retry) -> Outcome {
    let wrong = || Error::invalid("attribute-value", "here a consumer is sink/NAME").with("given", &verb.consumer);
    let sink = verb.consumer.strip_prefix("sink/").ok_or_else(wrong)?;
    let position: Position = verb.position.parse()?;
    let client = global.client()?;
    let to = client.send(Call::get(routes::below(routes::SINKS, sink))).await?.value()?["url"].take();
    let before = Position { n: position.n.saturating_sub(1), ..position };
    let call = Call::get(routes::DEAD_LETTERS).query("consumer", &verb.consumer).query("after", before);
    let listed = client.send(call).await?.value()?;
    let mut letters = listed["dead_letters"].as_array().into_iter().flatten();
    let is_it = |letter: &&Value| letter["topic"] == *verb.topic && letter["position"] == *position.to_string();
    let none = || Error::not_found("not-found", "there is no such dead letter").with("consumer", &verb.consumer);
    let mut letter = letters.find(is_it).ok_or_else(none)?.clone();
    letter["to"] = to;
    output::note("dry run: nothing is sent");
    let names = ["to", "topic", "position", "attempts", "time", "reason"];
    Report::facts(names.map(|name| (name, cell(&letter[name]))).into(), letter).print(global.output)
}

async fn retry(global: &Global, verb: &Retry) -> Outcome {
    let body = json!({ "consumer": verb.consumer, "topic": verb.topic, "position": verb.position });
    let path = format!("{}/retry", routes::DEAD_LETTERS);
    global.client()?.send(Call::new(Method::POST, path).json(&body)).await?;
    let value = json!({ "position": verb.position, "taken": true });
    Report::facts(vec![("position", verb.position.clone()), ("taken", "yes".to_owned())], value).print(global.output)
}
