//! The drills themselves: start, load from outside, break at random moments, wait for recovery, account.

use super::{
    account::account,
    ackfile::{self, Line, Tail},
    faults, gather,
    report::{self, Part, Report, Round},
    site::Site,
    work::{Target, scatter},
};
use ledger::{
    connection::{Connector, RecordUrl},
    read::{inspect::inspect, reconcile::reconcile},
    server::{Local, LocalOptions},
};
use model::{Error, Result, Shard};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How long a round waits for the first acknowledgement after its fault.
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// `kill -9` of the postmaster and all its children; the server lives on.
    KillDatabase,
    /// `kill -9` of the server; PostgreSQL lives on until the next server takes the directory.
    KillServer,
}

impl Drill {
    pub const ALL: [Self; 2] = [Self::KillDatabase, Self::KillServer];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillDatabase => "kill-database",
            Self::KillServer => "kill-server",
        }
    }

    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::KillDatabase => "kill -9 of PostgreSQL (postmaster and children) under load",
            Self::KillServer => "kill -9 of the server under load; a new one starts on the same directory",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub drill: Drill,
    pub connections: usize,
    pub rounds: u32,
    /// The longest time between two faults.
    pub seconds: f64,
    pub seed: u64,
    /// Of a thousand requests, how many the load leaves without waiting for the answer.
    pub abandon_per_mille: u64,
    /// What the load does: `create` or `patch`.
    pub work: String,
    pub evidence: PathBuf,
    pub seeded_bug: Option<String>,
}

fn failed(what: impl Into<String>) -> Error {
    Error::retry("drill-failed", what)
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Runs one drill on a site that it starts; the caller removes the directory. `tell` hears how it goes.
pub async fn run(plan: &Plan, site: &mut Site, tell: &(dyn Fn(String) + Sync)) -> Result<Report> {
    let began = jiff::Timestamp::now().to_string();
    tell("starting a nephkeep of its own".into());
    site.start().await?;
    let target = site.target()?;
    let acks = report::ack_file(&plan.evidence, "load");
    let load = start_load(plan, site, &target, &acks).await?;
    let mut follower = Follower::of(&acks);
    follower.wait_for_sent_after(0, RECOVERY_LIMIT).await?;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        // Between a quarter and the whole of the longest time.
        let share = 0.25 + 0.75 * (scatter(plan.seed, u64::from(round)) % 1000) as f64 / 1000.0;
        sleep(Duration::from_secs_f64(plan.seconds * share)).await;
        let done = break_once(plan.drill, round, site, &mut follower).await?;
        tell(format!(
            "round {round}/{}: {}, {} processes; acknowledged {}; recovered in {} ms",
            plan.rounds, done.fault, done.processes, done.acknowledged, done.achieved_recovery_ms
        ));
        rounds.push(done);
    }
    sleep(Duration::from_secs_f64(plan.seconds * 0.25)).await;
    let summary = stop_load(load).await?;
    site.answers(RECOVERY_LIMIT).await?;
    tell("reading the record".into());
    let lines = ackfile::read(&acks)?;
    let documents = gather::documents(&target, plan.seed).await?;
    let versions = gather::versions(&target, plan.seed, &lines).await?;
    report::save_found(&plan.evidence, "load", &documents, &versions)?;
    let account = account(&lines, &documents, &versions);
    site.stop().await?;
    let (record, audit) = inspect_stopped(site).await?;
    let part = Part { name: "load".into(), seed: plan.seed, load: summary, account };
    let report = Report {
        drill: plan.drill.name().into(),
        began,
        seed: plan.seed,
        connections: plan.connections,
        seeded_bug: plan.seeded_bug.clone(),
        rounds,
        parts: vec![part],
        record,
        audit,
    };
    report::save(&plan.evidence, &report)?;
    Ok(report)
}

async fn break_once(drill: Drill, round: u32, site: &mut Site, follower: &mut Follower) -> Result<Round> {
    let acknowledged = follower.acknowledged()?;
    let (processes, at_us) = match drill {
        Drill::KillDatabase => (faults::kill_database(&site.layout.record), now_us()),
        Drill::KillServer => {
            site.kill().await?;
            let at_us = now_us();
            site.start().await?;
            (1, at_us)
        }
    };
    if processes == 0 {
        return Err(failed("there was no process to kill: the drill would have tested nothing"));
    }
    let heard_us = follower.wait_for_sent_after(at_us, RECOVERY_LIMIT).await?;
    let fault = drill.name().to_owned();
    let achieved_recovery_ms = heard_us.saturating_sub(at_us) / 1000;
    Ok(Round { round, fault, processes, acknowledged, achieved_recovery_ms })
}

/// Watches the load's file from outside.
struct Follower {
    tail: Tail,
    acknowledged: u64,
}

impl Follower {
    fn of(acks: &Path) -> Self {
        Self { tail: Tail::of(acks), acknowledged: 0 }
    }

    fn more(&mut self) -> Result<Vec<Line>> {
        let mut lines = self.tail.more()?;
        lines.retain(|line| line.told.is_acknowledged());
        self.acknowledged += lines.len() as u64;
        Ok(lines)
    }

    fn acknowledged(&mut self) -> Result<u64> {
        self.more()?;
        Ok(self.acknowledged)
    }

    /// When the first request that was sent after a moment was acknowledged.
    async fn wait_for_sent_after(&mut self, at_us: u64, limit: Duration) -> Result<u64> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let lines = self.more()?;
            if let Some(first) = lines.iter().filter(|line| line.sent_us > at_us).map(|line| line.heard_us).min() {
                return Ok(first);
            }
            sleep(POLL).await;
        }
        Err(failed("no write was acknowledged in time"))
    }
}

/// The load is a process of its own: it outlives what is broken, and nothing of it is shared.
async fn start_load(plan: &Plan, site: &Site, target: &Target, acks: &Path) -> Result<Child> {
    let mut command = Command::new(&site.layout.program);
    let text = |value: &dyn ToString| OsString::from(value.to_string());
    command.args(["drill", "load", "--work", &plan.work, "--server"]).arg(text(&target.server));
    command.arg("--connections").arg(text(&plan.connections)).arg("--seed").arg(text(&plan.seed));
    command.arg("--abandon-per-mille").arg(text(&plan.abandon_per_mille)).arg("--acks").arg(acks);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(|error| failed("the load does not start").caused_by(error))?;
    // The token goes through a pipe: arguments and environment can be read by others.
    let mut input = child.stdin.take().ok_or_else(|| Error::bug("the load has no input"))?;
    let line = format!("{}\n", target.token);
    input.write_all(line.as_bytes()).await.map_err(|error| failed("the load takes no token").caused_by(error))?;
    Ok(child)
}

async fn stop_load(child: Child) -> Result<super::load::Summary> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        faults::terminate(pid);
    }
    let output =
        child.wait_with_output().await.map_err(|error| failed("the load cannot be awaited").caused_by(error))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| failed("the load gave no summary").with("status", output.status).caused_by(error))
}

/// Opens the record without a server and looks at every row, then at the audit log beside it.
async fn inspect_stopped(site: &Site) -> Result<(report::Record, report::Audit)> {
    let local = Local::start(&site.layout.record, LocalOptions::default()).await?;
    let looked = look(site).await;
    local.stop().await?;
    looked
}

async fn look(site: &Site) -> Result<(report::Record, report::Audit)> {
    let pool = Connector::new(&RecordUrl::Local(site.layout.record.clone()))?.pool(2)?;
    let inspection = inspect(&pool, Shard(0)).await?;
    let log = Arc::new(audit::TransparencyLog::open_with(&site.layout.audit)?);
    let reconciliation = reconcile(&pool, &log, Shard(0), inspection.published).await?;
    log.close();
    Ok((inspection.into(), reconciliation.into()))
}
