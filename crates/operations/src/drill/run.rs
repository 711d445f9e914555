//! The drills themselves: start, load from outside, break at random moments, wait for recovery, account.

use super::{
    faults,
    outside::{Orders, Outside, failed},
    report::{self, Report, Round},
    site::Site,
    work::scatter,
};
use crate::clock::wall_micros;
use ledger::{
    connection::{Connector, RecordUrl},
    read::{inspect::inspect, reconcile::reconcile},
    server::{Local, LocalOptions},
};
use model::{Result, Shard};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// How long a round waits for the first acknowledgement after its fault.
pub(super) const RECOVERY_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// `kill -9` of the postmaster and all its children; the server lives on.
    KillDatabase,
    /// `kill -9` of the server; PostgreSQL lives on until the next server takes the directory.
    KillServer,
    /// Two servers on one record: the leader is stopped where it stands, another takes over, the old one goes on.
    PauseLeader,
}

impl Drill {
    pub const ALL: [Self; 3] = [Self::KillDatabase, Self::KillServer, Self::PauseLeader];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillDatabase => "kill-database",
            Self::KillServer => "kill-server",
            Self::PauseLeader => "pause-leader",
        }
    }

    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::KillDatabase => "kill -9 of PostgreSQL (postmaster and children) under load",
            Self::KillServer => "kill -9 of the server under load; a new one starts on the same directory",
            Self::PauseLeader => "two servers on one record; the leader is paused until the other leads, then goes on",
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

impl Plan {
    /// Between a quarter and the whole of the longest time between two faults.
    pub(super) fn moment(&self, round: u32) -> Duration {
        let share = 0.25 + 0.75 * (scatter(self.seed, u64::from(round)) % 1000) as f64 / 1000.0;
        Duration::from_secs_f64(self.seconds * share)
    }

    pub(super) fn orders<'o>(&'o self, program: &'o Path, name: &'o str, seed: u64) -> Orders<'o> {
        Orders {
            program,
            name,
            work: &self.work,
            connections: self.connections,
            seed,
            abandon_per_mille: self.abandon_per_mille,
            evidence: &self.evidence,
        }
    }

    pub(super) fn report(&self, began: String) -> Report {
        Report {
            drill: self.drill.name().into(),
            began,
            seed: self.seed,
            connections: self.connections,
            seeded_bug: self.seeded_bug.clone(),
            ..Report::default()
        }
    }
}

/// Runs one drill on a site that it starts; the caller removes the directory. `tell` hears how it goes.
pub async fn run(plan: &Plan, site: &mut Site, tell: &(dyn Fn(String) + Sync)) -> Result<Report> {
    let began = crate::clock::wall().to_string();
    tell("starting a nephkeep of its own".into());
    site.start().await?;
    let target = site.target()?;
    let program = site.layout.program.clone();
    let mut load = Outside::start(&plan.orders(&program, "load", plan.seed), &target).await?;
    load.begun(RECOVERY_LIMIT).await?;
    let mut report = plan.report(began);
    for round in 1..=plan.rounds {
        sleep(plan.moment(round)).await;
        let done = break_once(plan.drill, round, report.acknowledged(), site, &mut load).await?;
        tell(told(plan, &done));
        report.rounds.push(done);
    }
    sleep(Duration::from_secs_f64(plan.seconds * 0.25)).await;
    let ended = load.stop().await?;
    site.answers(RECOVERY_LIMIT).await?;
    tell("reading the record".into());
    report.parts.push(ended.account(&target).await?);
    site.stop().await?;
    (report.record, report.audit) = inspect_stopped(site).await?;
    report::save(&plan.evidence, &report)?;
    Ok(report)
}

pub(super) fn told(plan: &Plan, done: &Round) -> String {
    format!(
        "round {}/{}: {}, {} processes; acknowledged {} in this round, {} in all; recovered in {} ms",
        done.round,
        plan.rounds,
        done.fault,
        done.processes,
        done.acknowledged,
        done.acknowledged_in_all,
        done.achieved_recovery_ms
    )
}

async fn break_once(drill: Drill, round: u32, before: u64, site: &mut Site, load: &mut Outside) -> Result<Round> {
    let acknowledged_in_all = load.acknowledged()?;
    let (processes, at_us) = match drill {
        Drill::KillDatabase => (faults::kill_database(&site.layout.record), wall_micros()),
        Drill::KillServer => {
            site.kill().await?;
            let at_us = wall_micros();
            site.start().await?;
            (1, at_us)
        }
        Drill::PauseLeader => return Err(failed("pausing a leader needs two servers")),
    };
    if processes == 0 {
        return Err(failed("there was no process to kill: the drill would have tested nothing"));
    }
    let heard_us = load.heard_after(at_us, RECOVERY_LIMIT).await?;
    let fault = drill.name().to_owned();
    let achieved_recovery_ms = heard_us.saturating_sub(at_us) / 1000;
    let acknowledged = acknowledged_in_all.saturating_sub(before);
    Ok(Round { round, fault, processes, acknowledged, acknowledged_in_all, achieved_recovery_ms })
}

/// Opens the record without a server and looks at every row, then at the audit log beside it.
async fn inspect_stopped(site: &Site) -> Result<(report::Record, report::Audit)> {
    let local = Local::start(&site.layout.record, LocalOptions::default()).await?;
    let looked = look(&site.layout.record, &site.layout.audit).await;
    local.stop().await?;
    looked
}

/// PostgreSQL runs, and no server has the audit log.
pub(super) async fn look(record: &Path, audit: &audit::Options) -> Result<(report::Record, report::Audit)> {
    let pool = Connector::new(&RecordUrl::Local(record.to_path_buf()))?.pool(2)?;
    let inspection = inspect(&pool, Shard(0)).await?;
    let log = Arc::new(audit::TransparencyLog::open_with(audit)?);
    let reconciliation = reconcile(&pool, &log, Shard(0), inspection.published).await?;
    log.close();
    Ok((inspection.into(), reconciliation.into()))
}
