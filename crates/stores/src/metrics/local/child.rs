//! One engine's process: its flags, its readiness, its end.

use super::{
    super::{contract::Retention, engine::Engine},
    House, config,
};
use futures_util::future::BoxFuture;
use model::{Error, Result};
use rustix::process::Signal;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};
use supervisor::{Child, Log, Service, Stop, Unready, living_in, make_directory, replace, signal, vanished};

pub(super) const PROGRAM: &str = "prometheus";
const POLL: Duration = Duration::from_millis(50);
/// Replaying a long log takes minutes; nobody else waits for it.
const READY_LIMIT: Duration = Duration::from_secs(900);
const ORPHAN_LIMIT: Duration = Duration::from_secs(15);
const STOP: Stop = &[(Signal::TERM, Duration::from_secs(30)), (Signal::KILL, Duration::from_secs(10))];

/// One of the two engines.
#[derive(Debug)]
pub(super) struct Instance {
    pub house: Arc<House>,
    pub class: Retention,
    pub port: u16,
    pub other_port: Option<u16>,
    pub engine: Engine,
}

impl Instance {
    fn directory(&self) -> PathBuf {
        self.house.directory.join(self.class.as_str())
    }

    /// Its processes stand in here: that is how an orphan is known.
    fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    fn log(&self) -> Log {
        Log::of(&self.directory())
    }

    fn write_files(&self) -> Result<()> {
        let house = &self.house;
        make_directory(&self.directory(), &house.account)?;
        make_directory(&self.data(), &house.account)?;
        let files = config::Files {
            class: self.class,
            installation: &house.installation,
            scrape: house.scrape.as_ref(),
            token_file: &house.token_file(),
            password_file: &house.password_file(),
            other_port: self.other_port,
        };
        replace(&self.directory().join("prometheus.yml"), config::main(&files).as_bytes(), &house.account)?;
        replace(&self.directory().join("web.yml"), config::web(&house.password_hash).as_bytes(), &house.account)
    }

    fn spawn(&self, log: &File) -> Result<Child> {
        let (directory, data) = (self.directory(), self.data());
        let file = |name: &str, path: &Path| format!("--{name}={}", path.display());
        Child::spawn(&self.house.program.path, &self.house.account, log, STOP, |command| {
            command.current_dir(&data).args([
                file("config.file", &directory.join("prometheus.yml")),
                file("web.config.file", &directory.join("web.yml")),
                file("storage.tsdb.path", &data),
                format!("--storage.tsdb.retention.time={}d", self.class.days()),
                format!("--web.listen-address=127.0.0.1:{}", self.port),
                "--web.enable-remote-write-receiver".to_owned(),
                "--enable-feature=exemplar-storage,native-histograms".to_owned(),
                "--query.timeout=60s".to_owned(),
                "--log.level=warn".to_owned(),
            ]);
        })
    }

    async fn run(&self, started: &(dyn Fn(i32) + Send + Sync)) -> Result<Child> {
        end_orphans(&self.data()).await?;
        self.write_files()?;
        let (log, written) = (self.log(), self.log().end());
        let mut child = self.spawn(&log.open()?)?;
        started(child.pid);
        match child.ready(POLL, READY_LIMIT, || self.engine.is_ready()).await {
            Ok(()) => Ok(child),
            Err(Unready::Ended(status)) => Err(failed(&log, written, status)),
            Err(Unready::Late) => {
                let what = "Prometheus did not become ready; its log tells why";
                Err(Error::retry("server-not-ready", what).with("log", log.path().display()))
            }
        }
    }
}

impl Service for Instance {
    fn name(&self) -> &'static str {
        match self.class {
            Retention::Governed => "the governed metrics engine",
            Retention::Platform => "the platform metrics engine",
        }
    }

    fn start<'s>(&'s self, started: &'s (dyn Fn(i32) + Send + Sync)) -> BoxFuture<'s, Result<Child>> {
        Box::pin(self.run(started))
    }

    fn tend(&self) -> Result<()> {
        self.log().bound()
    }

    fn stop(&self) -> Stop {
        STOP
    }
}

/// Ends what a killed supervisor left running in a data directory.
pub(super) async fn end_orphans(data: &Path) -> Result<()> {
    let Ok(data) = std::fs::canonicalize(data) else { return Ok(()) };
    for (how, _) in STOP {
        let orphans = living_in(&data, PROGRAM);
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(processes = orphans.len(), "stopping a Prometheus that an earlier run left behind");
        orphans.into_iter().for_each(|pid| signal(pid, *how));
        if vanished(&data, PROGRAM, ORPHAN_LIMIT).await {
            return Ok(());
        }
    }
    let what = "processes of an earlier run hold the metrics directory and do not end; end them";
    Err(Error::retry("directory-in-use", what).with("directory", data.display()))
}

/// Why it ended: the last error it wrote to its log in this run.
fn failed(log: &Log, from: u64, status: ExitStatus) -> Error {
    let text = log.since(from);
    let is_error = |line: &&str| line.contains("err=") || line.contains("rror");
    let line = text.lines().rfind(is_error).or_else(|| text.lines().next_back()).unwrap_or_default();
    let words = line.split_once("err=").map_or(line, |(_, said)| said).trim_matches('"');
    let code = if words.contains("no space left") { "disk-full" } else { "server-start-failed" };
    Error::retry(code, "Prometheus ended before it was ready")
        .with("status", status)
        .with("said", words.chars().take(300).collect::<String>())
        .with("log", log.path().display())
}
