//! A private PostgreSQL as a supervised child: initialised, started, watched, restarted, stopped (DESIGN 4).

use super::{
    cluster::{Cluster, Secret, USER},
    postmaster, settings,
};
use futures_util::future::BoxFuture;
use model::Result;
use std::path::{Path, PathBuf};
use supervisor::{Child, Service, State, Stop, Supervision, file_error};
use tokio::sync::watch;

#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// The directory with `postgres` and `initdb`; found when not given.
    pub binaries: Option<PathBuf>,
    /// The account root drops to; `postgres` or `nobody` when not given.
    pub account: Option<String>,
    /// More server settings, which win; for tests and drills.
    pub extra: Vec<(String, String)>,
}

/// A running private server. `stop` it; dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub struct Local {
    directory: PathBuf,
    socket_dir: PathBuf,
    password: Secret,
    version: String,
    supervision: Supervision,
}

impl Local {
    /// Whether the account of the server could come to a directory at all; what is not there yet is no hindrance.
    pub fn reachable(directory: &Path) -> Result<()> {
        super::cluster::account(&LocalOptions::default())?.check_path(directory)
    }

    /// Finds the newest PostgreSQL, or says what is missing.
    pub fn find_binaries() -> Result<super::Binaries> {
        super::Binaries::find(None)
    }

    /// Initialises the directory if it is empty, starts the server, and returns when it is ready.
    pub async fn start(directory: &Path, options: LocalOptions) -> Result<Self> {
        let cluster = Cluster::prepare(directory, &options).await?;
        cluster.log().bound()?;
        let (directory, socket_dir) = (cluster.directory.clone(), cluster.socket_dir.clone());
        let (password, version) = (cluster.password.clone(), cluster.binaries.version.clone());
        let supervision = Supervision::start(Postgres { cluster, extra: options.extra }).await?;
        Ok(Self { directory, socket_dir, password, version, supervision })
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
        self.supervision.pid()
    }
    /// Every process of the server, for drills that kill them.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        postmaster::living(&self.directory.join("data"))
    }
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.supervision.state()
    }

    /// The processes that a killed supervisor left behind in a directory.
    #[must_use]
    pub fn left_behind(directory: &Path) -> Vec<i32> {
        std::fs::canonicalize(directory.join("data")).map(|data| postmaster::living(&data)).unwrap_or_default()
    }

    /// Ends what a killed supervisor left behind, unless another one has the directory now.
    pub async fn end_left_behind(directory: &Path) -> Result<()> {
        let directory = std::fs::canonicalize(directory).map_err(|e| file_error("resolve", directory, e))?;
        let _lock = super::cluster::lock(&directory)?;
        let socket_dir = super::cluster::socket_dir_of(&directory);
        postmaster::end_orphans(&directory.join("data.new")).await?;
        postmaster::clear_away(&directory.join("data"), &socket_dir).await
    }

    /// Stops the server (fast, then immediate) and releases the directory.
    pub async fn stop(self) -> Result<()> {
        self.supervision.stop().await
    }
}

struct Postgres {
    cluster: Cluster,
    extra: Vec<(String, String)>,
}

impl Service for Postgres {
    fn name(&self) -> &'static str {
        "the local server"
    }

    fn start<'s>(&'s self, started: &'s (dyn Fn(i32) + Send + Sync)) -> BoxFuture<'s, Result<Child>> {
        Box::pin(async move {
            self.cluster.write_settings(&self.extra)?;
            postmaster::start(&self.cluster, started).await
        })
    }

    fn tend(&self) -> Result<()> {
        self.cluster.log().bound()
    }

    fn stop(&self) -> Stop {
        postmaster::STOP
    }
}
