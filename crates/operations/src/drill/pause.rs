//! `pause-leader`: two servers on one record, and a leader that does not know that its time is over.
//!
//! A stopped process (SIGSTOP: a frozen machine, a long pause of a hypervisor) keeps everything it believes to hold. The
//! other server takes over by epoch; the first one goes on in the middle of whatever it did. It must not acknowledge
//! anything any more, and nothing that it had in flight may happen twice.

use super::{
    faults,
    outside::{Outside, failed},
    report::{self, Report, Round},
    run::{Plan, RECOVERY_LIMIT, look, told},
    site::Site,
    wire::Connection,
    work::{Request, Target},
};
use crate::clock::wall_micros;
use ledger::server::{Local, LocalOptions};
use model::Result;
use serde_json::Value;
use std::{fs, os::unix::fs::DirBuilderExt, path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// What the drill starts: the first server makes the installation, then two share its record.
#[derive(Debug)]
pub struct Pair {
    pub first: Site,
    pub servers: [Site; 2],
}

pub async fn run(plan: &Plan, pair: &mut Pair, tell: &(dyn Fn(String) + Sync)) -> Result<Report> {
    let began = crate::clock::wall().to_string();
    tell("starting a nephkeep of its own, then two servers on its record".into());
    pair.first.start().await?;
    pair.first.stop().await?;
    let local = Local::start(&pair.first.layout.record, LocalOptions::default()).await?;
    let result = on_record(plan, pair, began, tell).await;
    local.stop().await?;
    result
}

async fn on_record(plan: &Plan, pair: &mut Pair, began: String, tell: &(dyn Fn(String) + Sync)) -> Result<Report> {
    let mut loads = Vec::new();
    for (at, server) in pair.servers.iter_mut().enumerate() {
        lend_credential(&pair.first.layout.credential, &server.layout.credential)?;
        server.start().await?;
        let (name, seed) = (["load-a", "load-b"][at], plan.seed + at as u64);
        let program = server.layout.program.clone();
        loads.push(Outside::start(&plan.orders(&program, name, seed), &server.target()?).await?);
    }
    for load in &mut loads {
        load.begun(RECOVERY_LIMIT).await?;
    }
    let mut report = plan.report(began);
    for round in 1..=plan.rounds {
        sleep(plan.moment(round)).await;
        let done = pause_once(plan, (round, report.acknowledged()), pair, &mut loads).await?;
        tell(told(plan, &done));
        report.rounds.push(done);
    }
    let mut ended = Vec::new();
    for load in loads {
        ended.push(load.stop().await?);
    }
    tell("reading the record".into());
    let leader = leader(pair).await?;
    let target = pair.servers[leader].target()?;
    for load in ended {
        report.parts.push(load.account(&target).await?);
    }
    // The leader ends first: its audit log is the one that has to be complete.
    pair.servers[leader].stop().await?;
    pair.servers[1 - leader].stop().await?;
    (report.record, report.audit) = look(&pair.first.layout.record, &pair.servers[leader].layout.audit).await?;
    report::save(&plan.evidence, &report)?;
    Ok(report)
}

/// `before` is what all rounds so far acknowledged.
async fn pause_once(plan: &Plan, (round, before): (u32, u64), pair: &Pair, loads: &mut [Outside]) -> Result<Round> {
    let old = leader(pair).await?;
    let acknowledged_in_all = loads[0].acknowledged()? + loads[1].acknowledged()?;
    let pid = pair.servers[old].pid().ok_or_else(|| failed("the leader is not running"))?;
    faults::pause(pid);
    let at_us = wall_micros();
    let heard_us = loads[1 - old].heard_after(at_us, RECOVERY_LIMIT).await;
    // It goes on in any case, while the new leader writes.
    faults::resume(pid);
    let heard_us = heard_us?;
    sleep(Duration::from_secs_f64(plan.seconds)).await;
    let achieved_recovery_ms = heard_us.saturating_sub(at_us) / 1000;
    let (fault, acknowledged) = (plan.drill.name().into(), acknowledged_in_all.saturating_sub(before));
    Ok(Round { round, fault, processes: 1, acknowledged, acknowledged_in_all, achieved_recovery_ms })
}

/// Which of the two leads, by its own word.
async fn leader(pair: &Pair) -> Result<usize> {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY_LIMIT {
        let mut leading = Vec::new();
        for (at, server) in pair.servers.iter().enumerate() {
            if leads(&server.target()?).await == Some(true) {
                leading.push(at);
            }
        }
        // The latest to say so: with a built-in fault both may.
        if let Some(at) = leading.last() {
            return Ok(*at);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(failed("no server leads"))
}

async fn leads(target: &Target) -> Option<bool> {
    let path = "/api/v1/status";
    let request = Request { method: "GET", path, if_match: None, idempotency_key: None, body: "" };
    let mut connection = Connection::open(target.server, Duration::from_secs(2)).await.ok()?;
    let answer = connection.ask(&request.bytes(target)).await.ok()?;
    let status: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(status["record"]["role"] == "leader")
}

/// Principals lie in the record, so one credential is good for all its servers.
fn lend_credential(from: &Path, to: &Path) -> Result<()> {
    let lent = || -> std::io::Result<()> {
        if let Some(parent) = to.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        // Copies the mode too.
        fs::copy(from, to).map(drop)
    };
    lent().map_err(|error| failed("a credential cannot be lent to the second server").caused_by(error))
}
