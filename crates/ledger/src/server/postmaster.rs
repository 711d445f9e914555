//! One run of the server process: starting it, waiting until it is ready, stopping it, and clearing away
//! what an earlier run left behind.

use super::{cluster::Cluster, settings};
use model::{Error, Result};
use rustix::process::Signal;
use std::{path::Path, process::ExitStatus, time::Duration};
use supervisor::{Child, Log, Stop, Unready, file_error, living_in, signal, vanished};

const POLL: Duration = Duration::from_millis(10);
/// Crash recovery after a long run without a checkpoint may take minutes; it is awaited while the process lives.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// Fast shutdown; immediate where that takes too long; and the last resort.
pub(super) const STOP: Stop = &[
    (Signal::INT, Duration::from_secs(30)),
    (Signal::QUIT, Duration::from_secs(10)),
    (Signal::KILL, Duration::from_secs(10)),
];
/// An orphan's clean shutdown is a courtesy; its crash recovery is as safe and sometimes faster.
const ORPHAN_LIMIT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "postgres";

/// Starts the server and returns when it answers. The pid is given to `started` at once, so that it can be killed.
pub(super) async fn start(cluster: &Cluster, started: &(dyn Fn(i32) + Send + Sync)) -> Result<Child> {
    clear_away(&cluster.data, &cluster.socket_dir).await?;
    let (log, written) = (cluster.log(), cluster.log().end());
    let program = cluster.binaries.program("postgres");
    let mut child = Child::spawn(&program, &cluster.account, &log.open()?, STOP, |command| {
        command.arg("-D").arg(&cluster.data).env("LC_ALL", "C").current_dir("/");
    })?;
    started(child.pid);
    let pid = child.pid;
    match child.ready(POLL, READY_LIMIT, || std::future::ready(ready(&cluster.data, pid))).await {
        Ok(()) => Ok(child),
        Err(Unready::Ended(status)) => Err(failed(&log, written, status)),
        Err(Unready::Late) => {
            let message = "the local server did not become ready; its log tells why";
            Err(Error::retry("server-not-ready", message).with("log", log.path().display()))
        }
    }
}

/// The server's processes in a directory.
pub(super) fn living(data: &Path) -> Vec<i32> {
    living_in(data, PROGRAM)
}

/// Line 8 of `postmaster.pid` says `ready`; line 1 says whose word that is.
fn ready(data: &Path, pid: i32) -> bool {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
        && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

/// Ends what a killed supervisor or a killed postmaster left running, then removes the lock files (of the directory
/// and of the socket) nobody stands behind: they can be empty after a power cut, or name a pid that a stranger or a
/// zombie has now; PostgreSQL would refuse both.
pub(super) async fn clear_away(data: &Path, socket_dir: &Path) -> Result<()> {
    end_orphans(data).await?;
    remove_lock(&data.join("postmaster.pid"))?;
    remove_lock(&socket_dir.join(format!(".s.PGSQL.{}.lock", settings::PORT)))
}

/// Ends every server process that stands in a directory; one that `initdb` was making counts too.
pub(super) async fn end_orphans(data: &Path) -> Result<()> {
    let orphans = living(data);
    if !orphans.is_empty() {
        tracing::info!(processes = orphans.len(), "stopping a local server that an earlier run left behind");
    }
    for how in [Signal::INT, Signal::QUIT, Signal::KILL] {
        signal_orphans(data, how);
        if vanished(data, PROGRAM, ORPHAN_LIMIT).await {
            return Ok(());
        }
    }
    let message = "processes of an earlier run hold the data directory and do not end; end them";
    Err(Error::retry("directory-in-use", message).with("directory", data.display()))
}

/// A postmaster passes shutdown on to its children. Children whose postmaster was killed end by themselves, except
/// one that is busy: nothing of theirs can be saved, so they are told to quit at once.
fn signal_orphans(data: &Path, how: Signal) {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let leader: Option<i32> = text.lines().next().and_then(|line| line.trim().parse().ok());
    let living = living(data);
    match leader.filter(|leader| living.contains(leader)) {
        Some(leader) if how != Signal::KILL => signal(leader, how),
        Some(_) => living.into_iter().for_each(|pid| signal(pid, how)),
        None => {
            let how = if how == Signal::KILL { how } else { Signal::QUIT };
            living.into_iter().for_each(|pid| signal(pid, how));
        }
    }
}

fn remove_lock(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_error("remove", path, e)),
        _ => Ok(()),
    }
}

/// Why it ended: the last fatal line it wrote to its log in this run.
fn failed(log: &Log, from: u64, status: ExitStatus) -> Error {
    let text = log.since(from);
    let words = text.lines().rfind(|line| line.contains("FATAL:") || line.contains("PANIC:")).unwrap_or_default();
    let words = words.split_once("FATAL:").or_else(|| words.split_once("PANIC:")).map_or("", |(_, said)| said.trim());
    let code = if words.contains("No space left") { "disk-full" } else { "server-start-failed" };
    Error::retry(code, "the local server ended before it was ready")
        .with("status", status)
        .with("said", words)
        .with("log", log.path().display())
}
