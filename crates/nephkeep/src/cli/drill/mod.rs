//! `drill`: break things under load, recover, account for every acknowledged write.

mod guard;
mod load;
mod made;
mod recall;
mod run;
mod saved;

use super::Global;
use crate::{exit::Outcome, output::Report};
use clap::{Args, Subcommand};
use operations::drill::{low_recall, run::Drill};
use serde_json::json;

/// Break things under load, recover, and account for every acknowledged write
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep drill list\n  nephkeep drill run kill-database --load 64 --rounds 5\n  \
    nephkeep drill run kill-server --evidence ./evidence\n  nephkeep drill verify ./evidence")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Run(run::Arguments),
    Report(saved::Report),
    Verify(saved::Verify),
    #[command(hide = true)]
    Load(load::Arguments),
    #[command(hide = true)]
    Guard(guard::Arguments),
}

/// Show which drills there are
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep drill list\n  nephkeep drill list -o json")]
struct List {}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::List(_) => list(global),
        Verb::Run(arguments) => Box::pin(run::run(global, &arguments)).await,
        Verb::Report(arguments) => saved::report(global, &arguments),
        Verb::Verify(arguments) => saved::verify(global, &arguments),
        Verb::Load(arguments) => load::run(arguments).await,
        Verb::Guard(arguments) => guard::run(&arguments).await,
    }
}

fn list(global: &Global) -> Outcome {
    let all =
        || Drill::ALL.iter().map(|drill| (drill.name(), drill.about())).chain([(low_recall::NAME, low_recall::ABOUT)]);
    let rows = all().map(|(name, about)| vec![name.to_owned(), about.to_owned()]).collect();
    let value = all().map(|(name, about)| json!({ "name": name, "about": about })).collect();
    Report::new(&["drill", "what it does"], rows, value).print(global.output)
}
