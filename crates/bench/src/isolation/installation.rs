//! A temporary nephkeep made with the real binary: one server with its private PostgreSQL, a second server on the
//! same record, and ways to break them. Everything it started is ended when it is dropped.

use super::load::Servers;
use ledger::server::Local;
use model::{Error, Result};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Read by a binary with the feature `seeded-bugs` only.
const SEEDED_BUG: &str = "DRILL_SEEDED_BUG";
const START_LIMIT: Duration = Duration::from_secs(60);
const PORTS: std::ops::Range<u16> = 21_000..32_000;

#[derive(Debug)]
pub struct Installation {
    // Dropped last: the files go when nothing uses them any more.
    first: Node,
    second: Node,
    binary: PathBuf,
    bug: Option<&'static str>,
    place: tempfile::TempDir,
}

/// One server.
#[derive(Debug)]
struct Node {
    directory: PathBuf,
    listen: SocketAddr,
    /// 0: not running.
    pid: i32,
    /// The second server is our own child; the first one's parent is gone once it is detached.
    child: Option<Child>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    First,
    Second,
}

impl Installation {
    /// Made and started: the first server leads, the second one follows.
    pub async fn start(binary: &Path, bug: Option<&'static str>) -> Result<Self> {
        let place = tempfile::tempdir().map_err(|error| failed("make a temporary directory", &error))?;
        // PostgreSQL runs under another account and has to pass through.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711))
            .map_err(|error| failed("open the temporary directory", &error))?;
        // A copy: the next build must not change what is being tested.
        let own = place.path().join("nephkeep");
        fs::copy(binary, &own).map_err(|error| failed("copy the binary", &error).with("path", binary.display()))?;
        let node = |name: &str| {
            let listen = free_port()?;
            Ok::<_, Error>(Node { directory: place.path().join(name), listen, pid: 0, child: None })
        };
        let (first, second) = (node("first")?, node("second")?);
        let mut installation = Self { first, second, binary: own, bug, place };
        installation.start_first().await?;
        installation.start_second().await?;
        Ok(installation)
    }

    pub fn servers(&self) -> Result<Servers> {
        let path = self.first.directory.join("admin-credential");
        let text = fs::read_to_string(&path).map_err(|error| failed("read the credential", &error))?;
        let credential: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let token = credential["token"].as_str().ok_or_else(|| Error::bug("the credential file holds no token"))?;
        Ok(Servers { addresses: vec![self.first.listen, self.second.listen], token: token.to_owned() })
    }

    pub async fn start_first(&mut self) -> Result<()> {
        let mut command = self.command();
        command.args(["-o", "json", "up", "--detach", "--listen", &self.first.listen.to_string()]);
        command.arg(&self.first.directory).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = tokio::time::timeout(START_LIMIT, run).await;
        let output = output.map_err(|_| Error::bug("`nephkeep up` did not return in time"))?;
        let output = output.map_err(|error| Error::bug("`nephkeep up` could not be awaited").caused_by(error))?;
        let output = output.map_err(|error| failed("run `nephkeep up`", &error))?;
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let pid = told["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|_| output.status.success());
        self.first.pid = pid.ok_or_else(|| {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            Error::bug("`nephkeep up` failed").with("it said", words.trim()).with("log", self.last_words(Which::First))
        })?;
        Ok(())
    }

    pub async fn start_second(&mut self) -> Result<()> {
        let directory = self.second.directory.clone();
        fs::create_dir_all(&directory).map_err(|error| failed("make the second directory", &error))?;
        let settings = directory.join("nephkeep.toml");
        fs::write(&settings, self.second_settings()).map_err(|error| failed("write settings", &error))?;
        let log = fs::File::options().create(true).append(true).open(directory.join("output"));
        let log = log.map_err(|error| failed("open a log", &error))?;
        let errors = log.try_clone().map_err(|error| failed("open a log", &error))?;
        let mut command = self.command();
        command.arg("--dir").arg(&directory).args(["serve", "--listen", &self.second.listen.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let mut child = child.map_err(|error| failed("run `nephkeep serve`", &error))?;
        self.second.pid = i32::try_from(child.id()).unwrap_or_default();
        let until = Instant::now() + START_LIMIT;
        while !answers(&self.second) {
            let ended = child.try_wait().ok().flatten().is_some();
            if ended || Instant::now() > until {
                let words = self.last_words(Which::Second);
                return Err(Error::bug("`nephkeep serve` did not start").with("it said", words));
            }
            sleep(Duration::from_millis(30)).await;
        }
        self.second.child = Some(child);
        Ok(())
    }

    /// The same keystore, the first one's socket, an audit log of its own.
    fn second_settings(&self) -> String {
        let first = &self.first.directory;
        let record = first.join("record");
        let socket = match fs::read_to_string(record.join("socket-path")) {
            Ok(path) if !path.is_empty() => path,
            _ => record.join("socket").display().to_string(),
        };
        let (first, record) = (first.display(), record.display());
        format!(
            "[stores]\nrecord = \"postgres://nephkeep@/postgres?host={}\"\nrecord_password_file = \"{record}/password\"\n\
             objects = \"file:objects\"\n[server]\nlisten = \"{}\"\n[keys]\n\
             directories = [\"{first}/keystore/a\", \"{first}/keystore/b\"]\n\
             slots = [\"{first}/slots/a/epoch.slot\", \"{first}/slots/b/epoch.slot\"]\n\
             host_key = \"{first}/host/host.key\"\n[audit]\ndirectory = \"audit\"\nkeys = \"audit-key\"\n",
            socket.replace('/', "%2F"),
            self.second.listen,
        )
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEPHKEEP_")) {
            command.env_remove(name);
        }
        command.env_remove(SEEDED_BUG);
        if let Some(bug) = self.bug {
            command.env(SEEDED_BUG, bug);
        }
        command.env("NEPHKEEP_METRICS", "none").current_dir(self.place.path());
        command
    }

    fn node(&self, which: Which) -> &Node {
        match which {
            Which::First => &self.first,
            Which::Second => &self.second,
        }
    }

    fn node_mut(&mut self, which: Which) -> &mut Node {
        match which {
            Which::First => &mut self.first,
            Which::Second => &mut self.second,
        }
    }

    pub fn address(&self, which: Which) -> SocketAddr {
        self.node(which).listen
    }

    /// `kill -9` of every process of the private PostgreSQL. How many there were.
    pub fn kill_database(&self) -> usize {
        let pids = Local::left_behind(&self.first.directory.join("record"));
        for pid in &pids {
            signal(*pid, Signal::KILL);
        }
        pids.len()
    }

    /// `kill -9` of a server; its PostgreSQL goes on without it.
    pub fn kill_server(&mut self, which: Which) {
        self.node_mut(which).end();
    }

    pub fn pause(&self, which: Which) {
        signal(self.node(which).pid, Signal::STOP);
    }
    pub fn resume(&self, which: Which) {
        signal(self.node(which).pid, Signal::CONT);
    }

    /// The end of a server's log.
    pub fn last_words(&self, which: Which) -> String {
        let path = match which {
            Which::First => self.first.directory.join("log/server.log"),
            Which::Second => self.second.directory.join("output"),
        };
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Ends everything. How many processes are still there afterwards.
    pub fn end(&mut self) -> usize {
        self.second.end();
        self.first.end();
        let record = self.first.directory.join("record");
        // What was just forking is found by the next look.
        for _ in 0..250 {
            if self.kill_database() == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Local::left_behind(&record).len()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.end();
    }
}

impl Node {
    fn end(&mut self) {
        signal(self.pid, Signal::KILL);
        if let Some(mut child) = self.child.take() {
            let _reaped = child.wait();
        }
        // Its threads end one by one, and its lock goes with the last.
        while is_held(&self.directory) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.pid = 0;
    }
}

fn is_held(directory: &Path) -> bool {
    let Ok(lock) = fs::File::open(directory.join("run/server.pid")) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// The server has published itself, as it does once it answers.
fn answers(node: &Node) -> bool {
    let told = fs::read(node.directory.join("run/server.json")).ok();
    let told: Option<Value> = told.and_then(|text| serde_json::from_slice(&text).ok());
    told.is_some_and(|told| told["pid"].as_i64() == Some(i64::from(node.pid)))
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone already is as good.
        let _gone = kill_process(pid, signal);
    }
}

/// Fixed for the whole run, so that clients find a server again after its restart.
fn free_port() -> Result<SocketAddr> {
    let width = u64::from(PORTS.end - PORTS.start);
    let mut random = adya::r#gen::Rng::new(
        u64::from(std::process::id()) ^ u64::from(crate::clock::wall().subsec_nanosecond().unsigned_abs()),
    );
    for _ in 0..200 {
        let port = PORTS.start + u16::try_from(random.below(width)).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Error::retry("port-taken", "no free port was found"))
}

fn failed(what: &'static str, error: &std::io::Error) -> Error {
    Error::bug(format!("could not {what}: {error}"))
}
