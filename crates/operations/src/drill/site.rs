//! A nephkeep that a drill starts, breaks and starts again: the real binary, as a child, in a directory of its own.

use super::{faults, wire::Connection, work::Target};
use model::{Error, Result};
use serde::Deserialize;
use std::{
    ffi::OsString,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Where things lie; the command line knows, the drill does not.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The nephkeep binary.
    pub program: PathBuf,
    /// The directory of the installation.
    pub root: PathBuf,
    /// Names the running server (`pid`, `url`).
    pub running: PathBuf,
    /// Holds the `token`.
    pub credential: PathBuf,
    /// Of the private PostgreSQL.
    pub record: PathBuf,
    pub audit: audit::Options,
}

/// A server process, running or not.
#[derive(Debug)]
pub struct Site {
    pub layout: Layout,
    /// How it is started: `up`, or `serve` on a record that exists.
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Option<Child>,
    address: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
struct Running {
    pid: u32,
    url: String,
}

fn failed(what: &str) -> Error {
    Error::retry("drill-site-failed", format!("the drill's own nephkeep {what}"))
}

/// Not one of the ports that outgoing connections get: a client that tries a dead server's port again and again would
/// at last connect to itself, and hold the port against the next server.
fn free_address() -> Result<SocketAddr> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|_| failed("gets no random port"))?;
    let first = u16::from_le_bytes(random) % 10_000;
    let address = |at: u16| SocketAddr::from(([127, 0, 0, 1], 21_000 + (first + at) % 10_000));
    let free = (0..1_000).map(address).find(|address| TcpListener::bind(address).is_ok());
    free.ok_or_else(|| failed("finds no free port between 21000 and 31000"))
}

impl Site {
    #[must_use]
    pub fn new(layout: Layout, arguments: Vec<OsString>, environment: Vec<(OsString, OsString)>) -> Self {
        let log = layout.root.with_extension("log");
        Self { layout, arguments, environment, log, child: None, address: None }
    }

    /// Where the server's own words go; beside its directory by default.
    pub fn log_to(&mut self, path: PathBuf) {
        self.log = path;
    }

    /// Starts the server and waits until it says where it is. From the second time on it keeps its address.
    pub async fn start(&mut self) -> Result<()> {
        let unloggable = |error| failed("has no log").with("log", self.log.display()).caused_by(error);
        let log = File::options().create(true).append(true).open(&self.log).map_err(unloggable)?;
        let second = log.try_clone().map_err(unloggable)?;
        let listen = match self.address {
            Some(address) => address,
            None => free_address()?,
        };
        let mut command = Command::new(&self.layout.program);
        // What is drilled is the record; metrics engines would only take their share of the processors.
        command.args(&self.arguments).arg("--listen").arg(listen.to_string()).env("NEPHKEEP_METRICS", "none");
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log).stderr(second).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| failed("does not start").caused_by(error))?;
        let pid = child.id();
        self.child = Some(child);
        let begun = Instant::now();
        loop {
            if let Some(running) = self.running().filter(|running| Some(running.pid) == pid) {
                let address = running.url.strip_prefix("http://").and_then(|rest| rest.parse().ok());
                self.address = Some(address.ok_or_else(|| failed("has an address that is none"))?);
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(failed("ended at its start").with("status", status).with("said", self.last_words()));
            }
            if begun.elapsed() > READY_LIMIT {
                return Err(failed("is not ready in time").with("said", self.last_words()));
            }
            sleep(POLL).await;
        }
    }

    fn running(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(&self.layout.running).ok()?).ok()
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(Child::id).and_then(|pid| i32::try_from(pid).ok())
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn target(&self) -> Result<Target> {
        #[derive(Deserialize)]
        struct Credential {
            token: String,
        }
        let text = fs::read(&self.layout.credential).map_err(|error| failed("wrote no credential").caused_by(error))?;
        let credential: Credential =
            serde_json::from_slice(&text).map_err(|_| failed("wrote a credential that is none"))?;
        let server = self.address.ok_or_else(|| failed("does not run"))?;
        Ok(Target { server, token: credential.token })
    }

    /// `kill -9`, and waits until the process is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        child.kill().await.map_err(|error| failed("cannot be killed").caused_by(error))?;
        self.child = None;
        Ok(())
    }

    /// The polite end.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        faults::terminate(pid);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match tokio::time::timeout(STOP_LIMIT, child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(failed("does not stop when asked").with("pid", pid)),
        }
    }

    /// Waits until requests are answered again.
    pub async fn answers(&self, limit: Duration) -> Result<()> {
        let target = self.target()?;
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Ok(mut connection) = Connection::open(target.server, Duration::from_secs(2)).await
                && let Ok(answer) = connection.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await
                && answer.status == 200
            {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(failed("does not answer in time").with("said", self.last_words()))
    }
}
