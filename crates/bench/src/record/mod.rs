//! `cargo x bench record`: the record over HTTP against its targets, and against its peers in the same rounds.
//!
//! Rounds are interleaved and the median counts, so that a slow minute of the machine meets everybody. A run during
//! which others used more than a tenth of the processors is thrown away and repeated; after 30 repetitions a row is
//! *not measured*.

mod etcd;
mod log;
mod peers;
mod rows;

use crate::{
    Verdict,
    machine::{self, FOREIGN_MAX},
    results,
    stand::{Place, Stand},
};
use clap::Args;
use etcd::{Ask, Etcd};
use model::Result;
use operations::drill::work::Work;
use peers::{Peer, Script};
use rows::{Figures, GET_TARGET, Sample};
use serde_json::json;
use std::path::PathBuf;

const CLIENTS: [usize; 3] = [8, 64, 256];
const AUDITED: &str = "nephkeep_audit_positions_total";
/// Enough that none is read twice in one run.
const UNCACHED: usize = 100_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of each run
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Intents stored before the rounds
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// Intents stored before the second, shorter series
    #[arg(long, default_value_t = 1_000_000)]
    then: u64,
    /// Where the directory of the benchmark is made; a disk, not memory
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/record.json
    #[arg(long)]
    no_write: bool,
    /// Only the jobs whose names begin with one of these (create, patch, get-internal …); writes nothing
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// To try the benchmark out on a busy machine: counts disturbed runs too, and writes nothing
    #[arg(long)]
    ignore_noise: bool,
}

/// What is measured in each round.
#[derive(Debug, Clone, PartialEq)]
enum Job {
    Create,
    CreateAt(f64),
    PatchEach,
    PatchOne,
    Internal,
    InternalAt(f64),
    InternalHalf,
    Confidential,
    ConfidentialHalf,
    Uncached,
    Log,
    Bench(Script),
    Etcd(Ask),
}

impl Job {
    fn is_of_a_peer(&self) -> bool {
        matches!(self, Self::Bench(_) | Self::Etcd(_))
    }

    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("create", Self::Create),
            ("create-3000", Self::CreateAt(3_000.0)),
            ("create-6000", Self::CreateAt(6_000.0)),
            ("pgbench-three-rows", Self::Bench(Script::ThreeRows)),
            ("pgbench-one-call", Self::Bench(Script::OneCall)),
            ("etcd-put", Self::Etcd(Ask::Put)),
            ("patch", Self::PatchEach),
            ("patch-hot", Self::PatchOne),
            ("get-internal", Self::Internal),
            ("get-internal-22500", Self::InternalAt(GET_TARGET / 2.0)),
            ("get-internal-half", Self::InternalHalf),
            ("get-confidential", Self::Confidential),
            ("get-confidential-half", Self::ConfidentialHalf),
            ("pgbench-select", Self::Bench(Script::Select)),
            ("etcd-get", Self::Etcd(Ask::Get)),
            ("get-uncached", Self::Uncached),
            ("log", Self::Log),
        ]
    }
}

/// Everything that is running.
struct Field {
    stand: Stand,
    peer: Peer,
    etcd: Option<Etcd>,
    internal: Vec<String>,
    confidential: Vec<String>,
    seconds: f64,
    ignore_noise: bool,
    /// The best client count of each peer.
    clients: Vec<(&'static str, usize)>,
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let mut facts = machine::facts(place.path());
    eprintln!("bench: building and starting");
    let stand = Stand::start(place.path()).await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let idle_mb = stand.resident_mb()?.0;
    let mut field = Field {
        peer: Peer::start(place.path()).await?,
        etcd: Etcd::start(place.path()).await?,
        stand,
        internal: Vec::new(),
        confidential: Vec::new(),
        seconds: arguments.seconds,
        ignore_noise: arguments.ignore_noise,
        clients: Vec::new(),
    };
    let etcd = field.etcd.as_ref().and_then(|etcd| etcd.version.clone());
    facts["peers"] = json!({"pgbench": field.peer.version(), "etcd": etcd});
    let mut figures = Figures::new(idle_mb, field.stand.first_start, field.stand.second_start);
    field.internal = field.stand.configuration_paths(2_000).await?;
    field.fill(arguments.rows).await?;
    let mut jobs = Job::all();
    jobs.retain(|(name, _)| arguments.chooses(name));
    if jobs.iter().any(|(_, job)| job.is_of_a_peer()) {
        field.find_clients().await?;
    }
    for round in 1..=arguments.rounds {
        for (name, job) in jobs.clone() {
            eprintln!("bench: round {round}/{}: {name}", arguments.rounds);
            field.measure(name, &job, &mut figures).await?;
        }
    }
    if arguments.then > arguments.rows && arguments.only.is_empty() {
        field.fill(arguments.then - arguments.rows).await?;
        for round in 1..=arguments.rounds.min(3) {
            for (name, job) in [
                ("create-10x", Job::Create),
                ("get-internal-10x", Job::Internal),
                ("get-confidential-10x", Job::Confidential),
            ] {
                eprintln!("bench: more rows, round {round}: {name}");
                field.measure(name, &job, &mut figures).await?;
            }
        }
    }
    field.stand.site.stop().await?;
    field.peer.stop().await?;
    let sizes = (arguments.rows, arguments.then);
    let details = json!({"rounds": arguments.rounds, "seconds": arguments.seconds, "clients": field.clients,
        "figures": figures.details()});
    results::conclude("record", facts, details, &figures.rows(sizes), arguments.writes())
}

impl Arguments {
    fn chooses(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|chosen| name.starts_with(chosen.as_str()))
    }

    fn writes(&self) -> bool {
        !self.no_write && !self.ignore_noise && self.only.is_empty()
    }
}

impl Field {
    async fn fill(&mut self, count: u64) -> Result<()> {
        eprintln!("bench: storing {count} intents");
        let summary = self.stand.fill(count).await?;
        eprintln!("bench: stored {} at {:.0}/s", summary.answered, summary.answered as f64 / summary.measured_s);
        self.confidential = self.stand.intent_paths(UNCACHED).await?;
        Ok(())
    }

    /// Each peer runs at its best count of clients.
    async fn find_clients(&mut self) -> Result<()> {
        for script in [Script::ThreeRows, Script::OneCall, Script::Select] {
            let mut best = (0.0, CLIENTS[0]);
            for clients in CLIENTS {
                let tps = self.peer.run(script, clients, 2.0)?.per_second;
                best = if tps > best.0 { (tps, clients) } else { best };
            }
            self.clients.push((script.name(), best.1));
        }
        if let Some(etcd) = &self.etcd {
            for (ask, name) in [(Ask::Put, "etcd put"), (Ask::Get, "etcd get")] {
                let mut best = (0.0, CLIENTS[0]);
                for clients in CLIENTS {
                    let rate = etcd.run(ask, clients, 2.0).await?.0;
                    best = if rate > best.0 { (rate, clients) } else { best };
                }
                self.clients.push((name, best.1));
            }
        }
        Ok(())
    }

    fn clients_of(&self, name: &str) -> usize {
        self.clients.iter().find(|(known, _)| *known == name).map_or(64, |(_, clients)| *clients)
    }

    /// Repeats a run until nobody else disturbed it, or its repetitions are used up.
    async fn measure(&mut self, name: &'static str, job: &Job, figures: &mut Figures) -> Result<()> {
        while figures.may_try(name) {
            let Some(sample) = self.once(job, figures).await? else { return Ok(()) };
            let quiet = self.ignore_noise || sample.used.foreign <= FOREIGN_MAX;
            if !quiet {
                eprintln!("bench: {name}: others used {:.0} % of the processors", sample.used.foreign * 100.0);
            }
            if figures.add(name, sample, quiet) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// None where there is nothing to measure it with.
    async fn once(&mut self, job: &Job, figures: &Figures) -> Result<Option<Sample>> {
        let seconds = self.seconds;
        let half = |name: &str| figures.median(name).map_or(1_000.0, |peak| peak / 2.0);
        let run = match job {
            Job::Create => self.stand.load(Work::Create, 256, None, seconds).await?,
            Job::CreateAt(rate) => self.stand.load(Work::Create, 256, Some(*rate), seconds).await?,
            Job::PatchEach => self.stand.load(Work::Patch { keys: 256 }, 256, None, seconds).await?,
            Job::PatchOne => self.stand.load(Work::PatchOne, 64, None, seconds).await?,
            Job::Internal => return self.read(true, None, 256).await.map(Some),
            Job::InternalAt(rate) => return self.read(true, Some(*rate), 256).await.map(Some),
            Job::InternalHalf => return self.read(true, Some(half("get-internal")), 256).await.map(Some),
            Job::Confidential => return self.read(false, None, 256).await.map(Some),
            Job::ConfidentialHalf => return self.read(false, Some(half("get-confidential")), 256).await.map(Some),
            Job::Uncached => {
                self.stand.restart().await?;
                let paths = self.confidential.clone();
                self.stand.load(Work::GetEach { paths }, 256, None, seconds).await?
            }
            Job::Log => return log::read(&self.stand).await.map(Some),
            Job::Bench(script) => {
                let tps = self.peer.run(*script, self.clients_of(script.name()), seconds)?;
                return Ok(Some(Sample::rate(tps.per_second, tps.used)));
            }
            Job::Etcd(ask) => {
                let Some(etcd) = &self.etcd else { return Ok(None) };
                let clients = self.clients_of(if *ask == Ask::Put { "etcd put" } else { "etcd get" });
                let (rate, used) = etcd.run(*ask, clients, seconds).await?;
                return Ok(Some(Sample::rate(rate, used)));
            }
        };
        Ok(Some(Sample::of(run)))
    }

    /// Reads of documents that fit the cache, with the positions audited meanwhile.
    async fn read(&mut self, internal: bool, rate: Option<f64>, connections: usize) -> Result<Sample> {
        let paths = if internal { &self.internal } else { &self.confidential };
        let paths = paths.iter().take(10_000).cloned().collect();
        let before = self.stand.metric(AUDITED).await?;
        let run = self.stand.load(Work::Get { paths }, connections, rate, self.seconds).await?;
        let positions = (self.stand.metric(AUDITED).await? - before) as u64;
        let answers = run.summary.answered;
        Ok(Sample { audited: Some((positions, answers)), ..Sample::of(run) })
    }
}
