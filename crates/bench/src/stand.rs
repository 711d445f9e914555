//! What is measured: the release binary on a directory of its own, and the external load with one thread.

use crate::{
    home::Home,
    machine::{self, Sampler, Used},
};
use ledger::server::Local;
use model::{Error, Result};
use operations::drill::{
    load::{self, Load},
    site::{Layout, Site},
    summary::Summary,
    wire::Connection,
    work::{self, Request, Target, Work},
};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for the installation and the peers; gone afterwards.
#[derive(Debug)]
pub struct Place {
    held: tempfile::TempDir,
}

impl Place {
    /// On a real disk: memory file systems sync in no time.
    pub fn make(wanted: Option<&Path>) -> Result<Self> {
        let under = wanted.unwrap_or(Path::new("/var/tmp"));
        let held = tempfile::Builder::new().prefix("nephkeep-bench-").tempdir_in(under);
        let held = held.map_err(|error| failed("no directory for the benchmark").caused_by(error))?;
        // PostgreSQL runs under another account and has to pass through.
        fs::set_permissions(held.path(), fs::Permissions::from_mode(0o755))
            .map_err(|error| failed("the directory cannot be opened").caused_by(error))?;
        const MEMORY: i64 = 0x0102_1994;
        if rustix::fs::statfs(held.path()).is_ok_and(|stat| stat.f_type == MEMORY) {
            return Err(failed("the directory lies in memory, not on a disk: name another one with --place"));
        }
        Ok(Self { held })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.held.path()
    }
}

pub fn failed(what: impl Into<String>) -> Error {
    Error::retry("bench-failed", what)
}

/// A nephkeep under measurement.
#[derive(Debug)]
pub struct Stand {
    /// Dropped first: its guard asks a server to stop that the site would kill.
    _home: Home,
    pub site: Site,
    /// How long the first start took, initdb included, and a start on what was there then.
    pub first_start: Duration,
    pub second_start: Duration,
    next_seed: u64,
}

/// One measured run.
#[derive(Debug, Clone)]
pub struct Run {
    pub summary: Summary,
    pub used: Used,
}

impl Run {
    /// Microseconds of processor time of the server and of PostgreSQL for each answer.
    #[must_use]
    pub fn cost_us(&self) -> (f64, f64) {
        let answers = (self.summary.answered as f64).max(1.0);
        (self.used.server_s * 1e6 / answers, self.used.database_s * 1e6 / answers)
    }
}

impl Stand {
    pub async fn start(place: &Path) -> Result<Self> {
        Self::called(place, "bench", &[]).await
    }

    /// One of several, with these variables besides.
    pub async fn called(place: &Path, name: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let home = Home::make(place, name)?;
        let mut site = home.site(variables);
        let begun = Instant::now();
        site.start().await?;
        let first_start = begun.elapsed();
        site.stop().await?;
        let begun = Instant::now();
        site.start().await?;
        let second_start = begun.elapsed();
        let seed = u64::from(std::process::id()) << 20;
        Ok(Self { _home: home, site, first_start, second_start, next_seed: seed })
    }

    /// The cache is empty afterwards.
    pub async fn restart(&mut self) -> Result<()> {
        self.site.stop().await?;
        self.site.start().await
    }

    #[must_use]
    pub fn database(&self) -> Vec<i32> {
        Local::left_behind(&self.site.layout.record)
    }

    /// Megabytes resident of the server: now, and at most since it started.
    pub fn resident_mb(&self) -> Result<(f64, f64)> {
        let kilobytes = self.site.pid().and_then(machine::resident_kb);
        let (now, peak) = kilobytes.ok_or_else(|| failed("the server's memory cannot be read"))?;
        Ok((now as f64 / 1024.0, peak as f64 / 1024.0))
    }

    /// Runs a load from outside and notes who used the processors.
    pub async fn load(&mut self, work: Work, connections: usize, rate: Option<f64>, seconds: f64) -> Result<Run> {
        let warm_up = Duration::from_secs_f64((seconds * 0.2).min(1.0));
        let length = warm_up + Duration::from_secs_f64(seconds);
        // A new one each time: the same would be answered as repetitions.
        self.next_seed += 1;
        let load = Load {
            target: self.site.target()?,
            work,
            connections,
            rate,
            length,
            warm_up,
            seed: self.next_seed,
            abandon_per_mille: 0,
            ack_file: None,
        };
        let (server, database) = (self.site.pid(), self.database());
        let sampler = Sampler::begin();
        let summary = on_one_thread(|| load::run(load, Arc::default())).await?;
        let used = sampler.end(server, &database);
        if summary.answered == 0 {
            return Err(failed("nothing was answered").with("refused", format!("{:?}", summary.refused)));
        }
        Ok(Run { summary, used })
    }

    /// Creates this many intents as fast as they go.
    pub async fn fill(&mut self, count: u64) -> Result<Summary> {
        self.next_seed += 1;
        // All of them are due in the first moments; the connections work them off.
        let rate = 1e6;
        let load = Load {
            target: self.site.target()?,
            work: Work::Create,
            connections: 256,
            rate: Some(rate),
            length: Duration::from_secs_f64((count as f64 + 0.5) / rate),
            warm_up: Duration::ZERO,
            seed: self.next_seed,
            abandon_per_mille: 0,
            ack_file: None,
        };
        on_one_thread(|| load::run(load, Arc::default())).await
    }

    /// Paths of this many stored intents.
    pub async fn intent_paths(&self, count: usize) -> Result<Vec<String>> {
        let target = self.site.target()?;
        let mut paths = Vec::new();
        let mut next = Some(format!("{}?fields=id&limit=1000", work::INTENTS));
        while let Some(path) = next.filter(|_| paths.len() < count) {
            let answer = get(&target, &path).await?;
            next = answer.1;
            let page: Vec<Value> = serde_json::from_slice(&answer.0)
                .map_err(|error| failed("a list is not as it must be").caused_by(error))?;
            paths.extend(page.iter().filter_map(|item| Some(format!("{}/{}", work::INTENTS, item["id"].as_str()?))));
        }
        paths.truncate(count);
        Ok(paths)
    }

    /// Stores configuration documents of 2 kB (internal) and gives their paths.
    pub async fn configuration_paths(&self, count: u64) -> Result<Vec<String>> {
        let target = self.site.target()?;
        let mut connection = connect(target.server, PATIENCE).await?;
        let mut paths = Vec::new();
        for number in 0..count {
            let path = format!("/api/v1/configuration/bench/document-{number}");
            let body = work::intent(7, number);
            let request = Request { method: "PUT", path: &path, if_match: None, idempotency_key: None, body: &body };
            let answer = connection.ask(&request.bytes(&target)).await.map_err(|e| failed(format!("{e:?}")))?;
            if answer.status >= 300 {
                return Err(failed("a configuration document is refused").with("status", answer.status));
            }
            paths.push(path);
        }
        Ok(paths)
    }

    /// A counter of `/metrics`.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (body, _) = get(&self.site.target()?, "/metrics").await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        line.ok_or_else(|| failed("a metric is missing").with("metric", name))
    }
}

/// The body, and where the next page is.
async fn get(target: &Target, path: &str) -> Result<(Vec<u8>, Option<String>)> {
    let mut connection = connect(target.server, PATIENCE).await?;
    let request = Request { method: "GET", path, if_match: None, idempotency_key: None, body: "" };
    let answer = connection.ask(&request.bytes(target)).await.map_err(|error| failed(format!("{path}: {error:?}")))?;
    if answer.status != 200 {
        return Err(failed("the server does not answer as it must").with("path", path).with("status", answer.status));
    }
    let next = answer.header("link").and_then(|link| {
        let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then(|| path.to_owned())
    });
    Ok((answer.body, next))
}

pub async fn connect(server: SocketAddr, patience: Duration) -> Result<Connection> {
    let opened = Connection::open(server, patience).await;
    opened.map_err(|error| failed("no connection").with("server", server).caused_by(error))
}

/// A client of one thread and a runtime of its own, as an external one would be.
pub async fn on_one_thread<T: Send + 'static>(client: impl AsyncFnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ran = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| failed("no runtime for a client").caused_by(error))?.block_on(client())
    });
    ran.await.map_err(|error| Error::bug("a client ended unexpectedly").caused_by(error))?
}

/// Where an installation has what; the same as in the `nephkeep` crate, whose `up` is what runs here.
pub fn layout(program: PathBuf, root: PathBuf) -> Layout {
    Layout {
        program,
        running: root.join("run/server.json"),
        credential: root.join("admin-credential"),
        record: root.join("record"),
        audit: audit::Options::new(&root.join("audit")),
        root,
    }
}
