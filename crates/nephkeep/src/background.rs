//! `up --detach`: the same program again, in a session of its own, its output in the log file.

use crate::{
    exit::{Exit, Failure, Outcome},
    layout::{self, Layout},
    output,
    running::{self, Running},
};
use model::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    pin::pin,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How long a holder may take to vanish that was killed a moment ago; it cannot be told from one that runs.
const DYING: Duration = Duration::from_secs(1);

/// Starts it and returns when it answers, or with its own words and exit code when it gave up.
pub async fn start(layout: &Layout, arguments: &[OsString]) -> Outcome<Running> {
    // A holder that was killed a moment ago is still being taken down by the kernel: that takes no second.
    let until = Instant::now() + DYING;
    while running::is_held(layout) {
        if Instant::now() > until {
            return Err(Failure::environment(running::in_use(layout)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = "making a database and starting; this takes some seconds";
    output::note(if layout.is_initialised() { "starting" } else { first });
    set_aside(&layout.log());
    let from = fs::metadata(layout.log()).map_or(0, |meta| meta.len());
    let mut child = spawn(layout, arguments)?;
    let mut interrupted = pin!(crate::cli::interrupted());
    let mut told = false;
    loop {
        if let Some(running) = running::find(layout).filter(|running| running.pid == child.id()) {
            return Ok(running);
        }
        match child.try_wait() {
            Ok(None) => tokio::select! {
                () = interrupted.as_mut(), if !told => {
                    told = true;
                    interrupt(&child);
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            },
            Ok(Some(status)) => return Err(gave_up(layout, from, status)),
            Err(error) => return Err(Error::bug("the background process cannot be awaited").caused_by(error).into()),
        }
    }
}

/// An interrupt while we wait is meant for the start: it takes itself apart, and its end is told as any other.
fn interrupt(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        output::note(&format!("the background process cannot be told to stop: {error}"));
    }
}

fn spawn(layout: &Layout, arguments: &[OsString]) -> Outcome<Child> {
    let path = layout.log();
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let logs = log.and_then(|log| Ok((log.try_clone()?, log)));
    let started = logs.and_then(|(out, err)| {
        let program = std::env::current_exe()?;
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(out).stderr(err).spawn()
    });
    started.map_err(|error| {
        Failure::environment(layout::io_error("background-failed", "the background process cannot start", &path, error))
    })
}

/// A long log makes room for a new one at the start; one older one is kept.
fn set_aside(log: &Path) {
    const LONG: u64 = 16 << 20;
    if fs::metadata(log).is_ok_and(|meta| meta.len() > LONG)
        && let Err(error) = fs::rename(log, log.with_extension("log.1"))
    {
        output::note(&format!("the long log {} cannot be set aside: {error}", log.display()));
    }
}

/// In the started process: no terminal may end it. It leads no group yet, so this succeeds.
pub fn leave_session() {
    if let Err(error) = rustix::process::setsid() {
        tracing::warn!(%error, "the background process stays in the session of its terminal");
    }
}

/// Its last words are in the log: they are told here, with its exit code.
fn gave_up(layout: &Layout, from: u64, status: ExitStatus) -> Failure {
    let log = fs::read(layout.log()).unwrap_or_default();
    let own = log.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
    let own = String::from_utf8_lossy(own);
    let told = own.lines().skip_while(|line| !line.starts_with("error[")).collect::<Vec<_>>().join("\n");
    output::note(if told.is_empty() { own.trim_end() } else { &told });
    output::note(&format!("the background process ended ({status}); its log: {}", layout.log().display()));
    Failure::Reported(Exit::from_code(status.code()))
}
