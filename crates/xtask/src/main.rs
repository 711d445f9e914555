//! `cargo x …`: the project's own chores. `cargo x` alone lists them.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod claims;
mod run;
mod summary;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

const HELP: &str = "\
cargo x tidy            the limits that keep the code readable: arrows, SQL placement, sizes, names, error pages, claims
cargo x test            formatting, clippy and every test of the workspace
cargo x ci              what CI runs: test, tidy, a short drill
cargo x bench NAME      a benchmark (record, import, audit, vectors, events, metrics, upkeep), release build; writes docs/results/NAME.json
cargo x power-cut       PostgreSQL on a file system that forgets what was not synced
cargo x isolation       the isolation checker against a running server, with kill -9 rounds
cargo x results         writes README's results table from docs/results/
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("tidy") => tidy::run(&root()),
        Some("test") => run::test(&root()),
        Some("ci") => run::ci(&root()),
        Some(name @ ("bench" | "power-cut" | "isolation")) => run::bench(&root(), name, rest),
        Some("results") => claims::write(&root()),
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("no chore is called '{other}'\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace root, wherever cargo was called.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}
