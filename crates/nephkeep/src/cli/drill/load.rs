//! `drill load`: the load as a process of its own. Reads the token from standard input, prints its summary at the end.

use crate::{
    exit::{Exit, Outcome},
    output,
};
use clap::{Args, ValueEnum};
use model::Error;
use operations::drill::{
    load::{self, Load},
    summary::Summary,
    work::{Target, Work},
};
use std::{
    io::BufRead,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Where a drill's load without a given length ends by itself, should nobody stop it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Create,
    Patch,
    PatchOne,
}

/// Load a server from outside, keeping an account of every answer
#[derive(Debug, Args)]
pub struct Arguments {
    /// The server under load
    #[arg(long)]
    server: SocketAddr,
    /// What is asked for
    #[arg(long, value_enum, default_value = "create")]
    work: Sort,
    /// At the same time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many intents `patch` changes
    #[arg(long, default_value_t = 64)]
    keys: u64,
    /// Arrivals per second; without it each connection asks again as soon as it is answered
    #[arg(long)]
    rate: Option<f64>,
    /// How long; without it until interrupted
    #[arg(long)]
    seconds: Option<f64>,
    /// Of bodies and moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a thousand requests, how many to leave without waiting for the answer, and to repeat
    #[arg(long, default_value_t = 0)]
    abandon_per_mille: u64,
    /// Where acknowledgements are kept
    #[arg(long)]
    acks: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> Outcome {
    let mut token = String::new();
    std::io::stdin().lock().read_line(&mut token).map_err(|error| {
        Error::invalid("drill-load-failed", "the load reads a token from standard input").caused_by(error)
    })?;
    let load = Load {
        target: Target { server: arguments.server, token: token.trim().to_owned() },
        work: match arguments.work {
            Sort::Create => Work::Create,
            Sort::Patch => Work::Patch { keys: arguments.keys },
            Sort::PatchOne => Work::PatchOne,
        },
        connections: arguments.connections.max(1),
        rate: arguments.rate,
        length: arguments.seconds.map_or(LONGEST, Duration::from_secs_f64),
        warm_up: Duration::ZERO,
        seed: arguments.seed,
        abandon_per_mille: arguments.abandon_per_mille,
        ack_file: arguments.acks,
    };
    end_with_the_drill();
    let stop = Arc::new(AtomicBool::new(false));
    let mut told = signal(SignalKind::terminate())
        .map_err(|error| Error::retry("drill-load-failed", "signals cannot be heard").caused_by(error))?;
    let running = spawn(load, stop.clone());
    tokio::pin!(running);
    let summary = tokio::select! {
        summary = &mut running => summary,
        _ = told.recv() => {
            stop.store(true, Ordering::Relaxed);
            running.await
        }
    };
    let summary = summary.map_err(|error| Error::bug("the load ended unexpectedly").caused_by(error))??;
    let text = serde_json::to_string(&summary);
    output::data(&text.map_err(|error| Error::bug("a summary could not be printed").caused_by(error))?);
    Ok(())
}

/// The token came through a pipe that the drill holds open. When it closes, also because the drill was killed, nobody
/// stops this load any more and nobody reads its account: it ends at once.
fn end_with_the_drill() {
    std::thread::spawn(|| {
        let _closed = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(Exit::Environment as i32);
    });
}

/// On one thread: the load should cost as little as it can.
fn spawn(load: Load, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<model::Result<Summary>> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Error::retry("drill-load-failed", "the load's runtime does not start").caused_by(error))?;
        runtime.block_on(load::run(load, stop))
    })
}
