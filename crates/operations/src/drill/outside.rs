//! The external load as the drill handles it: started, watched through its own file, stopped.

use super::{
    account::{Account, account},
    ackfile::{self, Line, Tail},
    faults, gather,
    load::PREPARED_FROM,
    report::{self, Part},
    summary::Summary,
    work::Target,
};
use model::{Error, Result};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    time::{Instant, sleep},
};

const POLL: Duration = Duration::from_millis(20);

pub(super) fn failed(what: impl Into<String>) -> Error {
    Error::retry("drill-failed", what)
}

/// What one load process does.
#[derive(Debug, Clone)]
pub(super) struct Orders<'o> {
    pub program: &'o Path,
    pub name: &'o str,
    pub work: &'o str,
    pub connections: usize,
    pub seed: u64,
    pub abandon_per_mille: u64,
    pub evidence: &'o Path,
}

/// A running load. It is a process of its own: it outlives what is broken, and nothing of it is shared.
#[derive(Debug)]
pub(super) struct Outside {
    child: Child,
    /// The load ends when this closes, so it never outlives a drill.
    _lifeline: ChildStdin,
    name: String,
    seed: u64,
    evidence: PathBuf,
    tail: Tail,
    acknowledged: u64,
}

impl Outside {
    pub async fn start(orders: &Orders<'_>, target: &Target) -> Result<Self> {
        let acks = report::ack_file(orders.evidence, orders.name);
        let text = |value: &dyn ToString| OsString::from(value.to_string());
        let mut command = Command::new(orders.program);
        command.args(["drill", "load", "--work", orders.work, "--server"]).arg(text(&target.server));
        command.arg("--connections").arg(text(&orders.connections)).arg("--seed").arg(text(&orders.seed));
        command.arg("--abandon-per-mille").arg(text(&orders.abandon_per_mille)).arg("--acks").arg(&acks);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).process_group(0);
        let mut child = command.spawn().map_err(|error| failed("the load does not start").caused_by(error))?;
        // The token goes through a pipe: arguments and environment can be read by others.
        let mut input = child.stdin.take().ok_or_else(|| Error::bug("the load has no input"))?;
        let line = format!("{}\n", target.token);
        input.write_all(line.as_bytes()).await.map_err(|error| failed("the load takes no token").caused_by(error))?;
        let (name, evidence) = (orders.name.to_owned(), orders.evidence.to_path_buf());
        Ok(Self { child, _lifeline: input, name, seed: orders.seed, evidence, tail: Tail::of(&acks), acknowledged: 0 })
    }

    fn more(&mut self) -> Result<Vec<Line>> {
        let mut lines = self.tail.more()?;
        lines.retain(|line| line.told.is_acknowledged());
        self.acknowledged += lines.len() as u64;
        Ok(lines)
    }

    pub fn acknowledged(&mut self) -> Result<u64> {
        self.more()?;
        Ok(self.acknowledged)
    }

    /// Waits until its preparations are over and the load itself has begun.
    pub async fn begun(&mut self, limit: Duration) -> Result<()> {
        self.first(|line| line.number < PREPARED_FROM, limit).await.map(drop)
    }

    /// When the first request that was sent after a moment was acknowledged.
    pub async fn heard_after(&mut self, at_us: u64, limit: Duration) -> Result<u64> {
        self.first(|line| line.sent_us > at_us, limit).await
    }

    async fn first(&mut self, is_it: impl Fn(&Line) -> bool, limit: Duration) -> Result<u64> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let lines = self.more()?;
            if let Some(first) = lines.iter().filter(|line| is_it(line)).map(|line| line.heard_us).min() {
                return Ok(first);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(failed("the load ended by itself").with("status", status));
            }
            sleep(POLL).await;
        }
        Err(failed("no write was acknowledged in time"))
    }

    /// Tells it to end; what it saw from outside.
    pub async fn stop(self) -> Result<Ended> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            faults::terminate(pid);
        }
        let output = self.child.wait_with_output().await;
        let output = output.map_err(|error| failed("the load cannot be awaited").caused_by(error))?;
        let load = serde_json::from_slice(&output.stdout)
            .map_err(|error| failed("the load gave no summary").with("status", output.status).caused_by(error))?;
        Ok(Ended { name: self.name, seed: self.seed, evidence: self.evidence, load })
    }
}

/// A load that has ended and is not yet accounted for.
#[derive(Debug)]
pub(super) struct Ended {
    name: String,
    seed: u64,
    evidence: PathBuf,
    load: Summary,
}

impl Ended {
    /// Asks the server for everything the load made, and compares.
    pub async fn account(self, target: &Target) -> Result<Part> {
        let lines = ackfile::read(&report::ack_file(&self.evidence, &self.name))?;
        let documents = gather::documents(target, self.seed).await?;
        let versions = gather::versions(target, self.seed, &lines).await?;
        report::save_found(&self.evidence, &self.name, &documents, &versions)?;
        let account: Account = account(&lines, &documents, &versions);
        Ok(Part { name: self.name, seed: self.seed, load: self.load, account })
    }
}
