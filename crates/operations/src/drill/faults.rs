//! The faults: `kill -9` of the database or of the server, and a stopped (not killed) process. Never a polite end.

use ledger::server::Local;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Kills the private PostgreSQL of a record directory: postmaster and children, without warning. How many died.
#[must_use]
pub fn kill_database(record: &Path) -> usize {
    let processes = Local::left_behind(record);
    // The postmaster is the oldest: without it, nobody starts the others again.
    processes.iter().filter(|pid| signal(**pid, Signal::KILL)).count()
}

/// Kills one process without warning.
pub fn kill(pid: i32) -> bool {
    signal(pid, Signal::KILL)
}

/// Stops a process where it stands; it keeps everything, also what it believes to hold.
pub fn pause(pid: i32) -> bool {
    signal(pid, Signal::STOP)
}

pub fn resume(pid: i32) -> bool {
    signal(pid, Signal::CONT)
}

/// The polite end, for what the drill itself started.
pub fn terminate(pid: i32) -> bool {
    signal(pid, Signal::TERM)
}

fn signal(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}
