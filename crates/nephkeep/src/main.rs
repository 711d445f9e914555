//! The nephkeep binary: command line, settings, wiring.
//!
//! One file per verb under `cli`; what runs a server is put together in `wiring`, and only there.

mod background;
mod bootstrap;
mod cli;
mod client;
mod clock;
mod continuity;
mod credential;
mod doctor;
mod embedder;
mod exit;
mod import;
mod indexes;
mod initialise;
mod input;
mod keystore;
mod layout;
mod metrics;
mod output;
mod pages;
mod pretty;
mod recovery;
mod routes;
mod running;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod settings;
mod wiring;
mod yaml;

use clap::Parser;
use exit::{Exit, Failure};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Short-lived buffers of many sizes on many threads: see the workspace manifest for what it saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(mut cli) => {
            cli.global = cli.global.completed_by_environment();
            cli
        }
        Err(error) => {
            // Help and version are answers; anything else is a mistake in the command line.
            let _unread = error.print();
            return code(if error.use_stderr() { Exit::Usage } else { Exit::Ok });
        }
    };
    // Two libraries bring a provider each; rustls wants to be told which one counts. Fails only when told twice.
    let _told_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    trace();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("error: the runtime cannot start: {error}"));
            return code(Exit::Environment);
        }
    };
    let (layout, format) = (cli.layout(), cli.global.output);
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => code(Exit::Ok),
        Err(Failure::Reported(exit)) => code(exit),
        Err(Failure::Error { exit, error }) => {
            output::failure(&error, layout.as_ref(), format);
            code(exit)
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// To stderr; `NEPHKEEP_LOG` chooses what (`info`, `ledger=debug,warn`), `NEPHKEEP_LOG_FORMAT=json` how.
fn trace() {
    let filter = EnvFilter::try_from_env("NEPHKEEP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log on a full disk cannot be written; telling that to the same stderr would panic in the thread that logs.
    let lines = lines.with_ansi(output::on_terminal()).log_internal_errors(false);
    if std::env::var("NEPHKEEP_LOG_FORMAT").is_ok_and(|format| format == "json") {
        lines.json().init();
    } else {
        lines.init();
    }
}
