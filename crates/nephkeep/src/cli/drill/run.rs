//! `drill run`: on a nephkeep of its own, in a directory that is gone afterwards.

use super::{
    Global,
    guard::{self, Guard},
    made::{Bug, Made},
    recall,
};
use crate::{
    exit::{Exit, Failure, Outcome},
    output,
};
use clap::{Args, ValueEnum};
use model::Error;
use operations::drill::{
    pause, report,
    run::{self, Drill, Plan},
    summary::Summary,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    pin::pin,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    KillDatabase,
    KillServer,
    PauseLeader,
    LowRecall,
}

impl Name {
    /// `None`: the drill that needs no server.
    fn with_server(self) -> Option<Drill> {
        match self {
            Self::KillDatabase => Some(Drill::KillDatabase),
            Self::KillServer => Some(Drill::KillServer),
            Self::PauseLeader => Some(Drill::PauseLeader),
            Self::LowRecall => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    Create,
    Patch,
}

/// Run a drill on a nephkeep of its own; exit 1 when anything acknowledged was lost, doubled or torn
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep drill run kill-database --load 64 --rounds 5\n  \
    nephkeep drill run kill-server --work patch --rounds 3 -o json\n  \
    nephkeep drill run kill-database --evidence ./evidence   keep the files of the account\n  \
    nephkeep drill run low-recall                            the vector index asked with ef=8: does the monitor mend it?\n  \
    nephkeep drill run low-recall --index flat --corpus passages.jsonl")]
pub struct Arguments {
    /// What is broken
    #[arg(value_enum)]
    drill: Name,
    /// Connections of the external load
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    load: u16,
    /// What the load does
    #[arg(long, value_enum, default_value = "create")]
    work: Work,
    /// How often to break
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The longest time between two faults
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Of the moments and the documents; another one each time by default
    #[arg(long)]
    seed: Option<u64>,
    /// Of a thousand requests, how many are left without waiting for the answer, and repeated
    #[arg(long, default_value_t = 10)]
    abandon_per_mille: u64,
    /// Keep report and files in this directory, which must not exist
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    recall: recall::Arguments,
    /// Say what would be run
    #[arg(long)]
    dry_run: bool,
    /// Build this fault into the server: the drill has to find it
    #[cfg(feature = "seeded-bugs")]
    #[arg(long)]
    seeded_bug: Option<ledger::SeededBug>,
}

impl Arguments {
    #[cfg(feature = "seeded-bugs")]
    fn bug(&self) -> Bug {
        self.seeded_bug.map(|bug| (crate::seeded::VARIABLE, bug.name().to_owned()))
    }
    #[cfg(not(feature = "seeded-bugs"))]
    fn bug(&self) -> Bug {
        None
    }

    fn seed(&self) -> Outcome<u64> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| {
            Error::retry("randomness-missing", format!("the system gives no random numbers: {error}"))
        })?;
        Ok(self.seed.unwrap_or(u64::from_le_bytes(random) >> 16))
    }

    fn plan(&self, drill: Drill, evidence: PathBuf) -> Outcome<Plan> {
        Ok(Plan {
            drill,
            connections: usize::from(self.load),
            rounds: self.rounds,
            seconds: self.seconds.max(0.1),
            seed: self.seed()?,
            abandon_per_mille: self.abandon_per_mille,
            work: match self.work {
                Work::Create => "create".into(),
                Work::Patch => "patch".into(),
            },
            evidence,
            seeded_bug: self.bug().map(|(_, name)| name),
        })
    }
}

/// Open to pass through, because PostgreSQL runs under another account.
fn make_place(seed: u64) -> Outcome<PathBuf> {
    let path = std::env::temp_dir().join(format!("{}{}-{seed:x}", guard::PREFIX, std::process::id()));
    fs::DirBuilder::new().mode(0o755).create(&path).map_err(|error| unusable(&path, error))?;
    Ok(path)
}

pub fn unusable(path: &Path, error: std::io::Error) -> Failure {
    Failure::environment(crate::layout::io_error(
        "drill-directory-unusable",
        "a drill's directory cannot be made",
        path,
        error,
    ))
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let Some(drill) = arguments.drill.with_server() else {
        return low_recall(global, arguments).await;
    };
    let plan = arguments.plan(drill, PathBuf::new())?;
    if arguments.dry_run {
        output::note(&format!(
            "would start a nephkeep in a temporary directory, load it over {} connections, run {} {} times, account, and remove it",
            plan.connections,
            plan.drill.name(),
            plan.rounds
        ));
        return Ok(());
    }
    let mut interrupted = pin!(crate::cli::interrupted());
    let place = make_place(plan.seed)?;
    let guard = Guard::start(&place)?;
    let result = tokio::select! {
        biased;
        () = interrupted.as_mut() => {
            output::note("interrupted: ending the drill's load, its nephkeep and its PostgreSQL");
            Err(Error::retry("drill-interrupted", "the drill was interrupted and says nothing about the record").into())
        }
        result = Box::pin(on(&place, plan, arguments)) => result,
    };
    guard.clean_up(result.is_ok()).await;
    print(global, &result?)
}

async fn low_recall(global: &Global, arguments: &Arguments) -> Outcome {
    if arguments.dry_run {
        output::note(
            "would make a vector index in a temporary directory, ask it with too little effort, and remove it",
        );
        return Ok(());
    }
    let seed = arguments.seed()?;
    let place = make_place(seed)?;
    let evidence = arguments.evidence.clone().unwrap_or_else(|| place.join("evidence"));
    recall::run(global, arguments.recall.plan(seed, evidence), &place).await
}

/// What it starts lies in the given place; the guard ends what this leaves.
async fn on(place: &Path, plan: Plan, arguments: &Arguments) -> Outcome<report::Report> {
    let evidence = arguments.evidence.clone().unwrap_or_else(|| place.join("evidence"));
    fs::DirBuilder::new().mode(0o700).create(&evidence).map_err(|error| unusable(&evidence, error))?;
    let plan = Plan { evidence, ..plan };
    let tell = |text: String| output::note(&text);
    let mut made = match plan.drill {
        Drill::PauseLeader => Made::two(place, arguments.bug())?,
        Drill::KillDatabase | Drill::KillServer => Made::one(place, arguments.bug())?,
    };
    let result = match &mut made {
        Made::One(site) => run::run(&plan, site, &tell).await,
        Made::Two(pair) => pause::run(&plan, pair, &tell).await,
    };
    if result.is_err() {
        made.sites().iter().for_each(|site| keep_log(site.log()));
    }
    Ok(result?)
}

/// The last lines of a server whose drill could not be ended.
fn keep_log(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(20)) {
        output::note(&format!("  server: {}", output::printable(line)));
    }
}

/// The report; exit 1 when the drill found anything.
pub fn print(global: &Global, report: &report::Report) -> Outcome {
    let findings = report.findings();
    let mut value =
        serde_json::to_value(report).map_err(|error| Error::bug("a report cannot be printed").caused_by(error))?;
    value["passed"] = findings.is_empty().into();
    value["findings"] = findings.iter().map(String::as_str).collect::<Value>();
    output::Report::facts(facts(report), value).print(global.output)?;
    if findings.is_empty() {
        output::note("passed: nothing acknowledged was lost");
        return Ok(());
    }
    for finding in findings {
        output::note(&format!("found: {finding}"));
    }
    Err(Failure::Reported(Exit::CheckFailed))
}

/// Of the first sendings, and in the end: a hundred per cent stands only where nothing was missing.
fn answered(load: &Summary) -> String {
    let percent = |share: f64| format!("{:.3} %", (share * 100_000.0).floor() / 1000.0);
    format!(
        "{} at the first sending ({} of {}, {} connections refused), {} in the end",
        percent(load.share_answered),
        load.first_answered,
        load.first_sendings,
        load.connections_refused,
        percent(load.share_answered_in_the_end)
    )
}

fn facts(report: &report::Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![("drill", report.drill.clone()), ("seed", report.seed.to_string())];
    facts.extend(report.seeded_bug.iter().map(|bug| ("seeded bug", bug.clone())));
    let recoveries: Vec<_> = report.rounds.iter().map(|round| format!("{} ms", round.achieved_recovery_ms)).collect();
    facts.push(("rounds", report.rounds.len().to_string()));
    facts.push(("achieved recovery", recoveries.join(", ")));
    for part in &report.parts {
        let (account, load) = (&part.account, &part.load);
        if report.parts.len() > 1 {
            facts.push(("load", part.name.clone()));
        }
        facts.extend([
            ("acknowledged", account.acknowledged.to_string()),
            ("present", account.present.to_string()),
            ("lost", account.lost.to_string()),
            ("duplicated", account.duplicated.to_string()),
            ("torn", account.torn.to_string()),
            ("forked", account.forked.to_string()),
            ("in doubt, present", format!("{}, {}", account.in_doubt, account.in_doubt_present)),
            ("repeated", load.in_doubt.to_string()),
            ("requests answered", answered(load)),
            ("longest unavailable", format!("{} ms", load.longest_unavailable_ms)),
        ]);
    }
    let record = &report.record;
    facts.push(("rows torn", record.torn_rows.to_string()));
    facts.push(("log gaps", format!("{} of {} positions", record.log_gaps, record.head)));
    let audit = &report.audit;
    let complete = audit.missing_or_different == 0 && audit.through >= record.head;
    let words = if complete { "complete" } else { "NOT complete" };
    facts.push(("audit", format!("{words}: {} entries for {} changes", audit.leaves, audit.changes)));
    facts
}
