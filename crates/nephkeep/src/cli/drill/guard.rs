//! Who cleans up after a drill: a process of its own, so that it still does when the drill itself is killed.
//!
//! It waits until its standard input, a pipe from the drill, closes. Then it ends the servers that still run in the
//! drill's directory and what they left behind, and removes the directory.

use crate::{
    exit::{Failure, Outcome},
    layout::Layout,
    output, running, wiring,
};
use clap::Args;
use model::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Directories of a drill begin like this; nothing else is ever removed.
pub const PREFIX: &str = "nephkeep-drill-";
/// The installations that a drill makes in its directory; the first has the record.
pub const HOMES: [&str; 3] = ["nephkeep", "a", "b"];
const ENDED: &str = "ended";
const POLITE: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A server that was started a moment ago does not hold its directory yet.
const SETTLED: Duration = Duration::from_millis(500);

/// Clean up after a drill, once standard input closes
#[derive(Debug, Args)]
pub struct Arguments {
    /// The drill's directory
    place: PathBuf,
}

/// The guard as the drill holds it: it acts when this is dropped, however that comes about.
#[derive(Debug)]
pub struct Guard {
    child: Child,
}

impl Guard {
    pub fn start(place: &Path) -> Outcome<Self> {
        let started = std::env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command
                .args(["drill", "guard"])
                .arg(place)
                .env("NEPHKEEP_LOG", "warn")
                .stdin(Stdio::piped())
                .stdout(Stdio::null());
            // A group of its own: a Ctrl-C is meant for the drill.
            command.process_group(0).spawn()
        });
        let what = "what cleans up after the drill does not start";
        let child = started.map_err(|error| Error::retry("drill-failed", what).caused_by(error))?;
        Ok(Self { child })
    }

    /// Lets it clean up now, and waits for it.
    pub async fn clean_up(mut self, ended: bool) {
        if let Some(mut pipe) = self.child.stdin.take()
            && ended
        {
            // Unheard when the guard is gone: then its end, below, is told.
            let _unheard = pipe.write_all(ENDED.as_bytes()).await;
        }
        match timeout(LONGEST + POLITE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            other => output::note(&format!("cleaning up after the drill did not end as it should: {other:?}")),
        }
    }
}

pub async fn run(arguments: &Arguments) -> Outcome {
    let name = arguments.place.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with(PREFIX) {
        let what = "only the directory of a drill is cleaned up";
        return Err(Error::invalid("drill-failed", what).with("path", arguments.place.display()).into());
    }
    let mut told = String::new();
    // A pipe that breaks is a drill that ended.
    let _ended = std::io::stdin().lock().read_to_string(&mut told);
    let layouts = HOMES.map(|name| Layout::find(Some(&arguments.place.join(name))));
    let layouts: Vec<Layout> = layouts.into_iter().collect::<Outcome<_>>()?;
    end_servers(&layouts, told != ENDED).await;
    let left = end_left_behind(&layouts[0]).await;
    let gone = fs::remove_dir_all(&arguments.place);
    left?;
    gone.map_err(|error| {
        let what = "the drill's directory cannot be removed; do it by hand";
        Failure::environment(crate::layout::io_error("drill-directory-unusable", what, &arguments.place, error))
    })
}

/// Asked first; one that was frozen is woken to hear it.
async fn end_servers(layouts: &[Layout], settle: bool) {
    let begun = Instant::now();
    let mut quiet_since = Instant::now();
    let mut asked = Vec::new();
    loop {
        let holders: Vec<Pid> = layouts.iter().filter_map(holder).collect();
        if !holders.is_empty() {
            quiet_since = Instant::now();
        } else if !settle || quiet_since.elapsed() > SETTLED {
            return;
        }
        if begun.elapsed() > LONGEST {
            return;
        }
        for pid in holders {
            let late = begun.elapsed() > POLITE;
            if late || !asked.contains(&pid) {
                // One that has just ended needs no signal.
                let _ended = kill_process(pid, if late { Signal::KILL } else { Signal::TERM });
                let _ended = kill_process(pid, Signal::CONT);
                asked.push(pid);
            }
        }
        sleep(POLL).await;
    }
}

fn holder(layout: &Layout) -> Option<Pid> {
    running::holder(layout).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
}

/// A drill that was interrupted may itself still be stopping the record's PostgreSQL.
async fn end_left_behind(first: &Layout) -> Outcome {
    if !first.is_initialised() {
        return Ok(());
    }
    let begun = Instant::now();
    loop {
        match wiring::stop_left_behind(first).await {
            Err(_) if begun.elapsed() < POLITE => sleep(POLL).await,
            ended => return ended,
        }
    }
}
