//! Which processes live in a data directory. A child's processes all stand in it, so their working directory tells
//! them apart from a stranger that happens to have an old pid.

use rustix::process::{Pid, Signal, kill_process};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};

pub(crate) const POLL: Duration = Duration::from_millis(10);

/// The living (not zombie) processes of a program whose working directory is `data`.
#[cfg(target_os = "linux")]
#[must_use]
pub fn living_in(data: &Path, program: &str) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A zombie's link cannot be read, which is what we want: it holds nothing any more.
    pids.filter(|pid| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data) && is_of(*pid, program)
    })
    .collect()
}

/// A shell or a client that stands in the directory is none of ours.
#[cfg(target_os = "linux")]
fn is_of(pid: i32, program: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end().starts_with(program))
}

/// Without /proc: the processes of the program whose command line names the directory.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn living_in(data: &Path, program: &str) -> Vec<i32> {
    let Ok(output) = std::process::Command::new("ps").args(["-axo", "pid=,stat=,command="]).output() else {
        return Vec::new();
    };
    let wanted = data.display().to_string();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.contains(program) && line.contains(&wanted))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            (!words.next()?.starts_with('Z')).then_some(pid)
        })
        .collect()
}

/// Signals a process that may be gone already, which is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until nothing of the program lives in a directory; false when that takes too long.
pub async fn vanished(data: &Path, program: &str, limit: Duration) -> bool {
    let begun = Instant::now();
    while !living_in(data, program).is_empty() {
        if begun.elapsed() > limit {
            return false;
        }
        sleep(POLL).await;
    }
    true
}
