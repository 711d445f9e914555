//! A private PostgreSQL as a supervised child: initialised, started, watched, restarted, stopped (DESIGN 4).
//!
//! The server outlives a supervisor that is killed (its death cannot be tied to ours without unsafe code); the
//! next one, which holds the directory's lock, ends it and starts its own.

use super::{
    account::file_error,
    cluster::{Cluster, Secret, USER},
    postmaster::Postmaster,
    processes::signal,
    settings,
};
use model::{Error, Result};
use rustix::process::Signal;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, interval, sleep},
};

const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_MOST: Duration = Duration::from_secs(5);
/// A server that answered for this long had a fresh misfortune, not the last one again: the back-off is for servers
/// that do not come up, and every step of it is time in which nothing is answered.
const STEADY: Duration = Duration::from_millis(500);
const LOG_CHECK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// The directory with `postgres` and `initdb`; found when not given.
    pub binaries: Option<PathBuf>,
    /// The account root drops to; `postgres` or `nobody` when not given.
    pub account: Option<String>,
    /// More server settings, which win; for tests and drills.
    pub extra: Vec<(String, String)>,
}

/// What the supervisor sees; restarts count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    Ready { pid: i32, restarts: u64 },
    Down { restarts: u64, reason: String },
    Stopped,
}

/// A running private server. `stop` it; dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub struct Local {
    directory: PathBuf,
    socket_dir: PathBuf,
    password: Secret,
    version: String,
    pid: Arc<AtomicI32>,
    state: watch::Receiver<ServerState>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Local {
    /// Finds the newest PostgreSQL, or says what is missing.
    pub fn find_binaries() -> Result<super::Binaries> {
        super::Binaries::find(None)
    }

    /// Initialises the directory if it is empty, starts the server, and returns when it is ready.
    pub async fn start(directory: &Path, options: LocalOptions) -> Result<Self> {
        let cluster = Cluster::prepare(directory, &options).await?;
        cluster.bound_log()?;
        cluster.write_settings(&options.extra)?;
        let pid = Arc::new(AtomicI32::new(0));
        let postmaster = Postmaster::start(&cluster, |started| pid.store(started, Ordering::SeqCst)).await?;
        let (state_sender, state) = watch::channel(ServerState::Ready { pid: postmaster.pid, restarts: 0 });
        let (stop, stopped) = oneshot::channel();
        let (directory, socket_dir) = (cluster.directory.clone(), cluster.socket_dir.clone());
        let (password, version) = (cluster.password.clone(), cluster.binaries.version.clone());
        let supervisor =
            Supervisor { cluster, extra: options.extra, state: state_sender, pid: Arc::clone(&pid), restarts: 0 };
        let task = Some(tokio::spawn(supervisor.run(postmaster, stopped)));
        Ok(Self { directory, socket_dir, password, version, pid, state, stop: Some(stop), task })
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }
    #[must_use]
    pub fn port(&self) -> u16 {
        settings::PORT
    }
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password.0
    }
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
    /// Of the postmaster now; `None` while there is none.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }
    /// Every process of the server, for drills that kill them.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        super::processes::living_in(&self.directory.join("data"))
    }
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }

    /// The processes that a killed supervisor left behind in a directory.
    #[must_use]
    pub fn left_behind(directory: &Path) -> Vec<i32> {
        std::fs::canonicalize(directory.join("data")).map(|data| super::processes::living_in(&data)).unwrap_or_default()
    }

    /// Ends what a killed supervisor left behind, unless another one has the directory now.
    pub async fn end_left_behind(directory: &Path) -> Result<()> {
        let directory = std::fs::canonicalize(directory).map_err(|e| file_error("resolve", directory, e))?;
        let _lock = super::cluster::lock(&directory)?;
        let socket_dir = super::cluster::socket_dir_of(&directory);
        super::postmaster::end_orphans(&directory.join("data.new")).await?;
        super::postmaster::clear_away(&directory.join("data"), &socket_dir).await
    }

    /// Stops the server (fast, then immediate) and releases the directory.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        match self.task.take() {
            Some(task) => task.await.map_err(|e| Error::bug("the supervisor of the local server failed").caused_by(e)),
            None => Ok(()),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The supervisor may be gone with its runtime: the signal does not depend on it.
        if self.task.is_some()
            && let Some(pid) = self.pid()
        {
            signal(pid, Signal::INT);
        }
    }
}

struct Supervisor {
    cluster: Cluster,
    extra: Vec<(String, String)>,
    state: watch::Sender<ServerState>,
    pid: Arc<AtomicI32>,
    restarts: u64,
}

impl Supervisor {
    async fn run(mut self, mut postmaster: Postmaster, mut stopped: oneshot::Receiver<()>) {
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let begun = Instant::now();
            let reason = tokio::select! {
                biased;
                _ = &mut stopped => {
                    self.pid.store(0, Ordering::SeqCst);
                    postmaster.stop().await;
                    break;
                }
                reason = self.watch(&mut postmaster) => reason,
            };
            self.pid.store(0, Ordering::SeqCst);
            if begun.elapsed() > STEADY {
                back_off = BACK_OFF_FIRST;
            }
            self.report_down(reason);
            let restarted = tokio::select! {
                biased;
                _ = &mut stopped => None,
                again = self.restart(&mut back_off) => Some(again),
            };
            match restarted {
                Some(again) => postmaster = again,
                None => {
                    self.abandon_start();
                    break;
                }
            }
        }
        self.state.send_replace(ServerState::Stopped);
    }

    /// Returns when the server ended, with how.
    async fn watch(&self, postmaster: &mut Postmaster) -> String {
        let mut check = interval(LOG_CHECK);
        loop {
            tokio::select! {
                status = postmaster.wait() => {
                    return status.map_or_else(|| "its end could not be awaited".to_owned(), |status| status.to_string());
                }
                _ = check.tick() => {
                    if let Err(error) = self.cluster.bound_log() {
                        tracing::warn!(%error, "the local server's log could not be shortened");
                    }
                }
            }
        }
    }

    async fn restart(&mut self, back_off: &mut Duration) -> Postmaster {
        loop {
            sleep(*back_off).await;
            *back_off = (*back_off * 2).min(BACK_OFF_MOST);
            self.restarts += 1;
            match self.start_once().await {
                Ok(postmaster) => {
                    let state = ServerState::Ready { pid: postmaster.pid, restarts: self.restarts };
                    tracing::info!(pid = postmaster.pid, restarts = self.restarts, "the local server runs again");
                    self.state.send_replace(state);
                    return postmaster;
                }
                Err(error) => {
                    self.pid.store(0, Ordering::SeqCst);
                    self.report_down(error.to_string());
                }
            }
        }
    }

    async fn start_once(&self) -> Result<Postmaster> {
        self.cluster.write_settings(&self.extra)?;
        Postmaster::start(&self.cluster, |pid| self.pid.store(pid, Ordering::SeqCst)).await
    }

    /// Told to stop in the middle of a start: the half-started server is told too.
    fn abandon_start(&self) {
        let pid = self.pid.swap(0, Ordering::SeqCst);
        if pid != 0 {
            signal(pid, Signal::QUIT);
        }
    }

    fn report_down(&self, reason: String) {
        tracing::warn!(reason, restarts = self.restarts, "the local server is down");
        self.state.send_replace(ServerState::Down { restarts: self.restarts, reason });
    }
}
