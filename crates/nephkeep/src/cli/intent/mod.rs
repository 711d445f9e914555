//! `intent …`: TMF921 intents, through the same HTTP door as everybody.

mod import;
mod read;
mod watch;
pub mod write;

use super::Global;
use crate::exit::Outcome;
use clap::{Args, Subcommand};

/// Create, read, change, watch and import intents
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(write::Create),
    Get(read::Get),
    List(read::List),
    Update(write::Update),
    Delete(write::Delete),
    History(read::History),
    Watch(watch::Watch),
    Import(import::Import),
}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Create(verb) => write::create(global, &verb).await,
        Verb::Get(verb) => read::get(global, &verb).await,
        Verb::List(verb) => read::list(global, &verb).await,
        Verb::Update(verb) => write::update(global, &verb).await,
        Verb::Delete(verb) => write::delete(global, &verb).await,
        Verb::History(verb) => read::history(global, &verb).await,
        Verb::Watch(verb) => watch::run(global, &verb).await,
        Verb::Import(verb) => import::run(global, &verb).await,
    }
}
