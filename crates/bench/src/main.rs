//! Benchmarks and long checkers: `cargo x bench NAME`, `cargo x power-cut`, `cargo x isolation`. Development only.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod audit_log;
mod clock;
mod events;
mod home;
mod import;
mod isolation;
mod machine;
mod metrics;
mod power_cut;
mod provenance;
mod record;
mod results;
mod stand;
mod upkeep;
mod vectors;

use clap::{Parser, Subcommand};
use model::Error;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The record over HTTP against its targets and its peers.
    Record(record::Arguments),
    /// Peak memory of server and importer at two sizes.
    Import(import::Arguments),
    /// The audit log: durable entries, verification.
    Audit(audit_log::Arguments),
    /// The vector copy: recall, latency, size, and searches over HTTP.
    Vectors(vectors::Arguments),
    /// Events to consumer groups: how many, how soon, in process and over HTTP.
    Events(events::Arguments),
    /// The metrics copy: remote write and queries through our door against Prometheus alone.
    Metrics(metrics::Arguments),
    /// What sustained compare-and-set leaves in the tables, with and without our settings of autovacuum.
    Upkeep(upkeep::Arguments),
    /// PostgreSQL on a file system that forgets what was not synced.
    PowerCut(power_cut::Arguments),
    /// Whether the record is strictly serializable, seen through the HTTP API.
    Isolation(isolation::Arguments),
    /// Serves the disk of the power-cut test.
    #[command(hide = true)]
    ServeDisk(power_cut::Serve),
}

/// Whether what was looked at is as it must be; an error is one's own failure to look.
type Verdict = model::Result<bool>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Interrupted, the verb is dropped, and with it what it had started. The disk of a power cut goes on meanwhile: it
    // ends with its input.
    let verdict = runtime.block_on(async {
        tokio::select! {
            biased;
            error = interruption() => Err(error),
            verdict = run(arguments.verb) => verdict,
        }
    });
    // A load that still runs on a thread of its own is not waited for: its server is gone.
    runtime.shutdown_background();
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Verdict {
    match verb {
        Verb::Record(arguments) => Box::pin(record::run(arguments)).await,
        Verb::Import(arguments) => Box::pin(import::run(arguments)).await,
        Verb::Audit(arguments) => audit_log::run(arguments).await,
        Verb::Vectors(arguments) => Box::pin(vectors::run(arguments)).await,
        Verb::Events(arguments) => Box::pin(events::run(arguments)).await,
        Verb::Metrics(arguments) => Box::pin(metrics::run(arguments)).await,
        Verb::Upkeep(arguments) => Box::pin(upkeep::run(arguments)).await,
        Verb::PowerCut(arguments) => power_cut::run(arguments).await,
        Verb::Isolation(arguments) => isolation::run(arguments).await,
        Verb::ServeDisk(arguments) => power_cut::serve(&arguments),
    }
}

/// Returns once the bench is told to end.
async fn interruption() -> Error {
    let deaf = |error| stand::failed("signals cannot be heard").caused_by(error);
    let mut signals = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(told), Ok(interrupted)) => (told, interrupted),
        (Err(error), _) | (_, Err(error)) => return deaf(error),
    };
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
    stand::failed("interrupted")
}
