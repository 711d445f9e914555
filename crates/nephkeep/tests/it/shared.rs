//! A nephkeep of one test: its directory, its port, and nothing left when the test ends.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};
use tempfile::TempDir;

pub struct Home {
    place: TempDir,
    pub port: u16,
    metrics: bool,
    program: PathBuf,
    /// Who runs it, when not the one who runs the tests.
    user: Option<u32>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A free loopback port below the range that the system gives out by itself. Tests run side by side: each takes the next.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Home {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        // PostgreSQL runs under another account when this is root: the way must be open to it.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = env!("CARGO_BIN_EXE_nephkeep").into();
        Self { place, port: free_port(), metrics: false, program, user: None }
    }

    /// Run by a user without any rights: `nobody` where the tests are root's, else whoever runs them.
    pub fn of_a_normal_user() -> Self {
        const NOBODY: u32 = 65_534;
        let mut home = Self::new();
        if fs::metadata(home.place.path()).unwrap().uid() == 0 {
            // The directory it was built in may be closed to others.
            let program = home.beside("nephkeep-program");
            fs::copy(&home.program, &program).unwrap();
            chown(home.place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            (home.program, home.user) = (program, Some(NOBODY));
        }
        home
    }

    /// With its Prometheus; most tests have nothing to do with it.
    pub fn with_metrics() -> Self {
        let mut home = Self::new();
        home.metrics = true;
        home
    }

    pub fn directory(&self) -> PathBuf {
        self.place.path().join("nephkeep")
    }

    /// A path beside the directory, for the test's own files.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(user) = self.user {
            command.uid(user).gid(user).current_dir("/").env_remove("HOME");
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("NEPHKEEP_")) {
            command.env_remove(name);
        }
        command.env("NEPHKEEP_DIR", self.directory()).stdin(Stdio::null());
        match self.metrics {
            true => command.env("NEPHKEEP_METRICS_SCRAPE_SECONDS", "1"),
            false => command.env("NEPHKEEP_METRICS", "none"),
        };
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Done {
        self.command().args(arguments).output().unwrap().into()
    }

    /// With something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command();
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    #[track_caller]
    pub fn up(&self) -> Done {
        let listen = format!("127.0.0.1:{}", self.port);
        self.run(&["up", "--detach", "--listen", &listen, "-o", "json"]).exits(0)
    }

    #[track_caller]
    pub fn server_pid(&self) -> u32 {
        u32::try_from(self.run(&["status", "-o", "json"]).exits(0).json()["pid"].as_u64().unwrap()).unwrap()
    }

    /// Living processes that stand in or were started with the directory.
    pub fn processes(&self) -> Vec<String> {
        let directory = fs::canonicalize(self.directory()).unwrap_or_else(|_| self.directory());
        living_under(&directory)
    }
}

pub fn living_under(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stands = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if stands || line.contains(&*directory.to_string_lossy()) {
            found.push(format!("{pid} {line}"));
        }
    }
    found
}

#[track_caller]
pub fn kill_9(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    while Path::new(&format!("/proc/{pid}/fd/0")).exists() {
        std::thread::yield_now();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.command().args(["down"]).output();
    }
}
