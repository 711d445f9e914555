//! `keys …`: the keystore. What changes keys goes through the server, which audits it first; what only reads files, or
//! holds the root's private key, is done here and never sent anywhere.

mod erase;
mod kit;
mod older;
mod root;

use super::{Global, status::flatten};
use crate::{
    client::Call,
    exit::{Exit, Failure, Outcome},
    output::{self, Report},
    routes,
    settings::Settings,
};
use clap::{Args, Subcommand};
use keys::{DirectoryHealth, Keystore, SlotHealth};
use model::Error;
use reqwest::Method;
use serde_json::{Value, json};

/// Look after the keys that seal the documents
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(Status),
    Rotate(Rotate),
    #[command(subcommand)]
    Kit(kit::Verb),
    RotateRoot(root::RotateRoot),
    Recover(root::Recover),
    DestroySubject(erase::DestroySubject),
}

/// Show generations, epoch, slots and directories; exit 1 when one lags
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys status\n  nephkeep keys status -o json")]
struct Status {}

/// Replace the epoch key in every slot, or add a version to the key of a customer
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys rotate --dry-run\n  nephkeep keys rotate\n  \
    nephkeep keys rotate --customer customer-17    new documents of this customer get a further key version")]
struct Rotate {
    /// Rotate the data key of this customer instead of the epoch key
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<String>,
    /// Show what would be rotated
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Status(Status {}) => status(global),
        Verb::Rotate(verb) => rotate(global, &verb).await,
        Verb::Kit(kit::Verb::Export(verb)) => kit::export(global, &verb),
        Verb::Kit(kit::Verb::Test(verb)) => kit::test(global, &verb),
        Verb::RotateRoot(verb) => root::rotate(global, &verb).await,
        Verb::Recover(verb) => root::recover(global, &verb).await,
        Verb::DestroySubject(verb) => erase::destroy_subject(global, &verb).await,
    }
}

fn open(global: &Global) -> Outcome<Keystore> {
    let settings = Settings::load(&global.layout()?, None)?;
    Keystore::open(&settings.keystore()).map_err(Failure::environment)
}

/// A report of the keystore as rows and as JSON.
fn report(facts: &impl serde::Serialize) -> Outcome<Report> {
    let value = serde_json::to_value(facts).map_err(|error| Error::bug("a report is not JSON").caused_by(error))?;
    Ok(tabled(value))
}

fn tabled(value: Value) -> Report {
    let mut rows = Vec::new();
    flatten("", &value, &mut rows);
    Report { header: Vec::new(), rows, value }
}

fn status(global: &Global) -> Outcome {
    let status = open(global)?.status()?;
    report(&status)?.print(global.output)?;
    for slot in status.slots.iter().filter(|slot| slot.health != SlotHealth::Current) {
        output::note(&format!("slot {}: {:?}", slot.path.display(), slot.health));
    }
    for directory in status.directories.iter().filter(|directory| directory.health != DirectoryHealth::Current) {
        output::note(&format!("directory {}: {:?}", directory.path.display(), directory.health));
    }
    if status.is_healthy() { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

async fn rotate(global: &Global, verb: &Rotate) -> Outcome {
    if let Some(customer) = &verb.customer {
        if verb.dry_run {
            output::note(&format!("dry run: the key of {customer} would get a further version; nothing was sent"));
            return Ok(());
        }
        let order = json!({ "what": "subject", "customer": customer });
        let answer = global.client()?.send(Call::new(Method::POST, routes::KEYS_ROTATIONS).json(&order)).await?;
        return tabled(answer.value()?).print(global.output);
    }
    if verb.dry_run {
        let status = open(global)?.status()?;
        output::note("dry run: nothing was changed");
        let value = json!({ "epoch": status.epoch, "slots": status.slots.len(), "generation": status.generation });
        let (slots, directories) = (status.slots.len(), status.directories.len());
        let facts = vec![
            ("would replace", format!("epoch key {} in {slots} slots", status.epoch)),
            ("and write", format!("a generation after {} in {directories} directories", status.generation)),
        ];
        return Report::facts(facts, value).print(global.output);
    }
    let call = Call::new(Method::POST, routes::KEYS_ROTATIONS).json(&json!({ "what": "epoch" }));
    changed(global, global.client()?.send(call).await?.value()?)
}

/// A change of epoch is complete when every slot confirmed; exit 1 until then.
fn changed(global: &Global, answer: Value) -> Outcome {
    let complete = answer["complete"] == true;
    tabled(answer).print(global.output)?;
    if complete {
        return Ok(());
    }
    let what =
        "a slot has not confirmed: the old epoch key may still lie there; repair it and run `nephkeep keys rotate`";
    output::note(what);
    Err(Failure::Reported(Exit::CheckFailed))
}
