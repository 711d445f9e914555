//! `down`: stops the server of a directory and waits until it and what it started are gone.

use super::Global;
use crate::{
    exit::{Failure, Outcome},
    layout::Layout,
    output::{self, Report},
    running::{self, Running},
};
use clap::Args;
use model::Error;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Stop the server of a directory, its PostgreSQL and its Prometheus
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep down\n  nephkeep down /srv/nephkeep --wait 120")]
pub struct Arguments {
    /// The directory [default: as --dir]
    directory: Option<PathBuf>,
    /// Seconds to wait for requests in work and a clean stop
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// Show what would be stopped
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let layout = global.layout_or(arguments.directory.as_deref())?;
    if !layout.is_ours() {
        running::look(&layout)?;
        let what = "there is no nephkeep in this directory, so nothing was stopped";
        return Err(Error::not_found("directory-missing", what).with("directory", layout.root().display()).into());
    }
    let Some(running) = running::look(&layout)? else { return nothing_runs(global, &layout, arguments).await };
    let mut facts = vec![("pid", running.pid.to_string()), ("url", running.url.clone())];
    let mut value = json!({ "pid": running.pid, "url": running.url, "stopped": !arguments.dry_run });
    if arguments.dry_run {
        facts.push(("would", "be stopped".to_owned()));
    } else {
        let begun = Instant::now();
        stop(&layout, &running, Duration::from_secs(arguments.wait)).await?;
        facts.push(("stopped", format!("in {} ms", begun.elapsed().as_millis())));
        value["stopped_ms"] = json!(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
    Report::facts(facts, value).print(global.output)
}

/// A server that was killed may have left its PostgreSQL and its Prometheus running: those are stopped too.
async fn nothing_runs(global: &Global, layout: &Layout, arguments: &Arguments) -> Outcome {
    if running::is_held(layout) {
        let what = "a nephkeep is just starting or stopping on this directory; try again in a moment";
        return Err(Failure::environment(
            Error::retry("directory-busy", what).with("directory", layout.root().display()),
        ));
    }
    let left = crate::wiring::left_behind(layout);
    if left.is_empty() || arguments.dry_run {
        let facts = vec![("state", "not running".to_owned()), ("left behind", left.len().to_string())];
        return Report::facts(facts, json!({ "stopped": false, "left_behind": left })).print(global.output);
    }
    output::note("the server is gone but processes that it started still run; stopping them");
    let held = running::hold(layout)?;
    crate::wiring::stop_left_behind(layout).await?;
    drop(held);
    let facts = vec![("stopped", format!("{} processes left behind", left.len()))];
    Report::facts(facts, json!({ "stopped": true, "left_behind": left })).print(global.output)
}

async fn stop(layout: &Layout, running: &Running, limit: Duration) -> Outcome {
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
    let told = pid.map(|pid| kill_process(pid, Signal::TERM));
    if let Some(Err(error)) = told
        && error != rustix::io::Errno::SRCH
    {
        let what = "this user may not stop the server; run as its owner";
        let error = Error::refused("server-not-ours", what).with("pid", running.pid).caused_by(error);
        return Err(Failure::environment(error));
    }
    let until = Instant::now() + limit;
    while running::is_held(layout) || running::began(running.pid).as_deref() == Some(&running.began) {
        if Instant::now() > until {
            let what = "the server has not stopped in time; its log tells what it waits for";
            let error =
                Error::retry("server-stops-slowly", what).with("pid", running.pid).with("log", layout.log().display());
            return Err(Failure::environment(error));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
