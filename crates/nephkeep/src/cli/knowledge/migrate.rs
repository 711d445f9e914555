//! `knowledge migrate …`: to another embedding model, while searches go on.

use crate::{
    cli::{Global, status::cell},
    client::Call,
    exit::Outcome,
    output::{self, Format, Report},
    routes,
};
use clap::{Args, Subcommand};
use model::Error;
use reqwest::Method;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// Move the vectors to another embedding model while searches go on
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  nephkeep knowledge migrate begin       a second copy by [embedder.next] of nephkeep.toml\n  \
    nephkeep knowledge migrate status      how far it is\n  \
    nephkeep knowledge migrate compare --questions golden.jsonl\n  \
    nephkeep knowledge migrate cut-over    search the second copy from now on\n  \
    nephkeep knowledge migrate roll-back   search the first one again\n  \
    nephkeep knowledge migrate finish      remove the one that is not searched\n\n\
    Set [embedder.next] and start the server again first. Both copies are fed until `finish`, so every step but that one \
    can be taken back. After `finish`, make [embedder.next] the [embedder] of nephkeep.toml."
)]
pub struct Migrate {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// How it stands: what is searched, what stands beside, what could be begun
    #[command(after_help = "Examples:\n  nephkeep knowledge migrate status -o json")]
    Status,
    /// Make a second copy with the settings' other embedder, and feed it
    #[command(
        after_help = "Examples:\n  nephkeep knowledge migrate begin\n  nephkeep knowledge migrate begin --dry-run"
    )]
    Begin(Change),
    /// Ask both copies the same questions, and show what each finds
    #[command(after_help = "Examples:\n  nephkeep knowledge migrate compare --questions golden.jsonl\n\n\
        A line of the file is {\"text\": \"…\"}, or {\"text\": \"…\", \"source\": \"…\", \"path\": \"…\"} where the document \
        that answers is known; at most 1,000 lines. Overlap says how much the answers change, not which are better.")]
    Compare(Compare),
    /// Search the second copy from now on; the first is fed on
    #[command(after_help = "Examples:\n  nephkeep knowledge migrate cut-over")]
    CutOver(Change),
    /// Search the first copy again
    #[command(after_help = "Examples:\n  nephkeep knowledge migrate roll-back")]
    RollBack(Change),
    /// Remove the copy that is not searched
    #[command(after_help = "Examples:\n  nephkeep knowledge migrate finish --dry-run")]
    Finish(Change),
}

#[derive(Debug, Args)]
struct Change {
    /// Show how it stands; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Compare {
    /// A file of questions, JSON Lines
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
}

pub async fn run(global: &Global, verb: &Migrate) -> Outcome {
    let (name, change) = match &verb.step {
        Step::Status => return status(global).await,
        Step::Compare(verb) => return compare(global, verb).await,
        Step::Begin(change) => ("begin", change),
        Step::CutOver(change) => ("cut-over", change),
        Step::RollBack(change) => ("roll-back", change),
        Step::Finish(change) => ("finish", change),
    };
    if change.dry_run {
        output::note(&format!("dry run: nothing was sent; {name} would begin from here"));
        return status(global).await;
    }
    let call = Call::new(Method::POST, routes::below(routes::MIGRATION, name));
    shown(global, global.client()?.send(call).await?.value()?)
}

async fn status(global: &Global) -> Outcome {
    shown(global, global.client()?.send(Call::get(routes::MIGRATION)).await?.value()?)
}

fn shown(global: &Global, stands: Value) -> Outcome {
    let mut facts = vec![("searched", cell(&stands["searched"]))];
    let mut tell = |name: &'static str, pointer: &str| {
        if let Some(value) = stands.pointer(pointer) {
            facts.push((name, output::printable(&cell(value))));
        }
    };
    tell("target", "/target");
    tell("beside", "/beside/embedder");
    tell("copy", "/beside/copy/name");
    tell("position", "/beside/copy/position");
    tell("changes behind", "/beside/copy/lag_changes");
    tell("kept by", "/beside/copy/error/message");
    tell("turned at", "/position");
    Report::facts(facts, stands).print(global.output)
}

fn questions(path: &PathBuf) -> model::Result<Vec<Value>> {
    let unreadable = |what: &str| Error::invalid("import-unreadable", what).with("path", path.display());
    let text = fs::read_to_string(path).map_err(|error| unreadable("the questions cannot be read").caused_by(error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let question = |(at, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| unreadable("a question is no JSON").with("line", at + 1).caused_by(error))
    };
    lines.map(question).collect()
}

async fn compare(global: &Global, verb: &Compare) -> Outcome {
    let body = json!({ "questions": questions(&verb.questions)? });
    let call = Call::new(Method::POST, routes::below(routes::MIGRATION, "compare")).json(&body);
    let found = global.client()?.send(call).await?.value()?;
    let names = ["copy", "embedder", "recall_at_10", "found_at_1", "found_at_10", "mrr"];
    let sides = found["sides"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = sides.iter().map(|side| names.iter().map(|name| cell(&side[*name])).collect()).collect();
    let (count, known, overlap) = (cell(&found["questions"]), cell(&found["known"]), cell(&found["overlap_at_10"]));
    Report::new(&names, rows, found).print(global.output)?;
    if global.output == Format::Table {
        output::note(&format!("{count} questions, {known} with a known answer; of ten passages both find {overlap}"));
    }
    Ok(())
}
