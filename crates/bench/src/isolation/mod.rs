//! `cargo x isolation`: is the record strictly serializable, seen from outside, while things are killed and paused?
//!
//! Clients run random transactions through the HTTP API of two servers on one record (RECORD 1 to 4); `adya` looks
//! for what no serial execution in real time could have shown. With a seeded bug the same command has to find an
//! anomaly: a checker that cannot fail proves nothing.

pub mod binary;
mod door;
mod history;
mod installation;
mod load;
mod results;
mod rounds;
mod shape;
mod transaction;
mod verdict;

use crate::Verdict as Good;
use adya::r#gen::Rng;
use clap::Args;
use history::Workload;
use installation::{Installation, Which};
use ledger::SeededBug;
use load::Load;
use model::Result;
use rounds::Fault;
use std::{fs, path::PathBuf, time::Duration};
use verdict::Verdict;

/// List-append finds more than registers do, so it gets more clients.
const CLIENTS: [(Workload, u64); 2] = [(Workload::ListAppend, 6), (Workload::RwRegister, 4)];

#[derive(Debug, Args)]
pub struct Arguments {
    /// Load in all, shared by the rounds; recovery comes on top
    #[arg(long, default_value_t = 12.0)]
    seconds: f64,
    /// Of transactions and moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults: kill PostgreSQL, kill the server, pause the leader past its lease, kill both, and again
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Build a server with this fault; an anomaly has to be found
    #[arg(long)]
    seeded_bug: Option<SeededBug>,
    /// This binary instead of one built now
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Keep the histories here, as JSON lines
    #[arg(long, value_name = "DIRECTORY")]
    histories: Option<PathBuf>,
    /// Write the outcome into docs/results/isolation.json
    #[arg(long)]
    write: bool,
}

/// True: strictly serializable.
pub async fn run(arguments: Arguments) -> Good {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binary::build(arguments.seeded_bug.is_some())?,
    };
    let mut installation = Installation::start(&binary, arguments.seeded_bug.map(SeededBug::name)).await?;
    let ran = load_and_faults(&mut installation, &arguments).await;
    if ran.is_err() {
        for which in [Which::First, Which::Second] {
            eprintln!("isolation: the end of a server's log:\n{}", installation.last_words(which));
        }
    }
    let left = installation.end();
    let verdicts = ran?;
    let mut holds = true;
    for verdict in &verdicts {
        tell(verdict);
        holds &= verdict.holds;
    }
    println!("isolation: {}; left behind: {left} processes", conclusion(holds, arguments.seeded_bug));
    if arguments.write {
        results::write(&verdicts, &arguments)?;
    }
    Ok(holds && left == 0)
}

async fn load_and_faults(installation: &mut Installation, arguments: &Arguments) -> Result<Vec<Verdict>> {
    let servers = installation.servers()?;
    let loads: Vec<Load> =
        CLIENTS.iter().map(|(workload, clients)| Load::begin(*workload, &servers, *clients, arguments.seed)).collect();
    let length = Duration::from_secs_f64(arguments.seconds / arguments.rounds.max(1) as f64);
    let mut random = Rng::new(arguments.seed);
    for round in 0..arguments.rounds {
        rounds::run(installation, &servers, Fault::of_round(round), length, &mut random).await?;
    }
    if arguments.rounds == 0 {
        tokio::time::sleep(length).await;
    }
    let mut verdicts = Vec::new();
    for load in loads {
        let recorder = load.end().await;
        if let Some(directory) = &arguments.histories {
            let path = directory.join(format!("{}.jsonl", recorder.workload.name()));
            let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, recorder.text()));
            written.map_err(|error| model::Error::bug("the history cannot be written").caused_by(error))?;
        }
        for (reason, times) in recorder.reasons() {
            eprintln!("isolation: {}: {times} x {reason}", recorder.workload.name());
        }
        let verdict = tokio::task::spawn_blocking(move || verdict::of(&recorder)).await;
        verdicts.push(verdict.map_err(|error| model::Error::bug("the checker failed").caused_by(error))??);
    }
    Ok(verdicts)
}

fn tell(verdict: &Verdict) {
    let Verdict { counts, anomalies, told, holds, .. } = verdict;
    for first in told {
        eprintln!("{first}\n");
    }
    let named: Vec<String> = anomalies.iter().map(|(name, times)| format!("{name} x {times}")).collect();
    println!(
        "isolation: {}: transactions ok {}, fail {}, info {}; anomalies: {}; {}",
        verdict.workload.name(),
        counts.ok,
        counts.fail,
        counts.info,
        if named.is_empty() { "none".to_owned() } else { named.join(", ") },
        if *holds { "strictly serializable" } else { "NOT strictly serializable" },
    );
}

fn conclusion(holds: bool, bug: Option<SeededBug>) -> String {
    match (holds, bug) {
        (true, None) => "strict serializability holds".to_owned(),
        (false, None) => "strict serializability is VIOLATED".to_owned(),
        (false, Some(bug)) => format!("the seeded bug {} was found", bug.name()),
        (true, Some(bug)) => format!("the seeded bug {} was NOT found", bug.name()),
    }
}
