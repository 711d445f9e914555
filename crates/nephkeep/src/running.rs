//! Which server runs on a directory: a lock that the kernel releases when its holder dies, and a file that names it.
//!
//! A pid alone proves nothing (it may have been given to someone else since). Ours is the process that holds the
//! lock of the directory and started when the file says it did.

use crate::{
    exit::{Failure, Outcome},
    layout::{self, Layout},
};
use model::Error;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    /// When the process began, as the kernel tells it.
    pub began: String,
    pub url: String,
    pub version: String,
    pub started: String,
}

/// Held while a server runs; the file goes with it.
#[derive(Debug)]
pub struct Held {
    lock: File,
    file: PathBuf,
}

/// Takes the directory for this process. A `status` that looks at the lock at the same moment is waited out.
pub fn hold(layout: &Layout) -> Outcome<Held> {
    let lock = File::options().create(true).truncate(false).read(true).write(true).open(layout.lock());
    let lock = lock.map_err(|error| unwritable(layout, error))?;
    let until = Instant::now() + Duration::from_millis(500);
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > until {
            return Err(Failure::environment(in_use(layout)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    name_holder(&lock).map_err(|error| unwritable(layout, error))?;
    Ok(Held { lock, file: layout.running() })
}

#[must_use]
pub fn unwritable(layout: &Layout, error: io::Error) -> Failure {
    Failure::environment(layout::io_error("directory-unusable", "the lock cannot be written", &layout.lock(), error))
}

fn name_holder(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// The error for a directory that somebody else holds.
#[must_use]
pub fn in_use(layout: &Layout) -> Error {
    let error = Error::conflict("directory-in-use", "another nephkeep runs on this directory; see `nephkeep status`")
        .with("directory", layout.root().display());
    match read(layout) {
        Some(running) => error.with("pid", running.pid).with("url", running.url),
        None => error,
    }
}

impl Held {
    /// Tells others, once requests are answered.
    pub fn publish(&self, url: &str) -> io::Result<()> {
        let pid = std::process::id();
        let running = Running {
            pid,
            began: began(pid).unwrap_or_default(),
            url: url.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: crate::clock::wall().to_string(),
        };
        layout::write_private(&self.file, &serde_json::to_vec(&running)?)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Absent when the server never came so far as to publish itself.
        let _absent = fs::remove_file(&self.file);
        let _stale = self.lock.set_len(0);
    }
}

/// The server that runs on a directory now, if its holder is alive and is who the file says.
#[must_use]
pub fn find(layout: &Layout) -> Option<Running> {
    if !is_held(layout) {
        return None;
    }
    read(layout).filter(|running| began(running.pid).as_deref() == Some(&running.began))
}

/// As `find`, where not to know is an error: a directory that cannot be looked into, or that is none of ours.
pub fn look(layout: &Layout) -> Outcome<Option<Running>> {
    let unseen = [layout.lock(), layout.running()].into_iter().find_map(|path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(error),
        _ => None,
    });
    match unseen {
        None => Ok(find(layout)),
        Some(error) => Err(Failure::environment(denied(layout, error))),
    }
}

/// Somebody else's directory: what runs there is not known to this user.
#[must_use]
pub fn denied(layout: &Layout, error: io::Error) -> Error {
    let me = rustix::process::geteuid().as_raw();
    let owner = layout.root().ancestors().find_map(|step| fs::metadata(step).ok()).map_or(0, |meta| meta.uid());
    let what = format!("this directory cannot be looked into: it belongs to uid {owner}, and this is uid {me}");
    Error::refused("directory-denied", what).with("directory", layout.root().display()).caused_by(error)
}

/// Whether some process holds the directory, also one that is still starting or stopping.
#[must_use]
pub fn is_held(layout: &Layout) -> bool {
    let Ok(lock) = File::open(layout.lock()) else { return false };
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// The process that holds the directory, published or not.
#[must_use]
pub fn holder(layout: &Layout) -> Option<u32> {
    let text = fs::read_to_string(layout.lock()).ok().filter(|_| is_held(layout))?;
    text.lines().next()?.parse().ok()
}

fn read(layout: &Layout) -> Option<Running> {
    serde_json::from_slice(&fs::read(layout.running()).ok()?).ok()
}

/// Start time of a living process in ticks since boot (Linux), or as `ps` tells it elsewhere. A zombie has ended; that its
/// parent has not looked yet is no life.
#[must_use]
pub fn began(pid: u32) -> Option<String> {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The name in brackets may hold blanks and brackets itself: fields count from the last bracket.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        return fields.nth(18).filter(|_| !matches!(state, "Z" | "X")).map(str::to_owned);
    }
    if cfg!(target_os = "linux") {
        return None;
    }
    let output =
        std::process::Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (state, start) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| start.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_free_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::find(Some(directory.path())).unwrap();
        layout.create().unwrap();
        assert!(find(&layout).is_none());
        let held = hold(&layout).unwrap();
        assert!(is_held(&layout) && find(&layout).is_none());
        held.publish("http://127.0.0.1:1").unwrap();
        assert_eq!(find(&layout).unwrap().pid, std::process::id());
        let Err(Failure::Error { error, .. }) = hold(&layout) else { unreachable!() };
        assert_eq!(error.code(), "directory-in-use");
        drop(held);
        assert!(!is_held(&layout) && !layout.running().exists());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while began(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
        assert!(began(std::process::id()).is_some());
    }

    #[test]
    fn a_file_that_names_a_process_started_at_another_time_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::find(Some(directory.path())).unwrap();
        layout.create().unwrap();
        let held = hold(&layout).unwrap();
        let other = Running {
            pid: std::process::id(),
            began: "1".into(),
            url: String::new(),
            version: String::new(),
            started: String::new(),
        };
        fs::write(layout.running(), serde_json::to_vec(&other).unwrap()).unwrap();
        assert!(find(&layout).is_none());
        drop(held);
    }
}
