//! The machine: its facts, and who used its processors while something was measured.

use crate::provenance;
use ledger::server::Local;
use rustix::system::uname;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    time::Instant,
};

/// Of all processor time, what others may use during a run that counts.
pub const FOREIGN_MAX: f64 = 0.10;
/// How often a disturbed run is repeated, over all rounds of a row.
pub const REPEATS_MAX: usize = 30;
/// Of `/proc/PID/stat`; the kernel's unit for user space has been 1/100 s for ever.
const TICKS_PER_SECOND: f64 = 100.0;

/// With what was measured: one machine's figures say little about another's, or about other code.
#[must_use]
pub fn facts(place: &Path) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    json!({
        "processors": processors(),
        "model": of(&cpuinfo, "model name"),
        "memory": of(&memory, "MemTotal"),
        "kernel": uname().release().to_string_lossy(),
        "file_system": provenance::file_system(place),
        "sync_us": sync_us(place),
        "postgresql": Local::find_binaries().ok().map(|found| found.version),
        "commit": provenance::commit(),
    })
}

/// Median time of an 8 kB write with fdatasync: what every durable promise here is made of.
fn sync_us(place: &Path) -> Option<u64> {
    use std::io::{Seek, Write};
    let path = place.join("sync-probe");
    let mut file = fs::File::create(&path).ok()?;
    let mut times = Vec::new();
    for _ in 0..64 {
        let begun = Instant::now();
        file.rewind().and_then(|()| file.write_all(&[7; 8192])).and_then(|()| file.sync_data()).ok()?;
        times.push(u64::try_from(begun.elapsed().as_micros()).ok()?);
    }
    fs::remove_file(path).ok()?;
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// One process as `/proc` shows it.
#[derive(Debug, Clone, Copy)]
struct Process {
    parent: i32,
    ticks: u64,
    /// Of children that have ended and were waited for.
    reaped: u64,
}

fn process(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let parent = fields.get(1)?.parse().ok()?;
    Some(Process { parent, ticks: number(11)? + number(12)?, reaped: number(13)? + number(14)? })
}

fn processes() -> HashMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

/// Kilobytes resident now, and at most so far.
#[must_use]
pub fn resident_kb(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

/// Ticks of user and system time, and of stolen time, over all processors. Interrupts belong to nobody.
fn machine_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let at = |n: usize| fields.get(n).copied().unwrap_or(0);
    (at(0) + at(1) + at(2), at(7))
}

/// A reading of all processors' time; compared with a later one by [`Sampler::end`].
#[derive(Debug)]
pub struct Sampler {
    begun: Instant,
    machine: (u64, u64),
    processes: HashMap<i32, Process>,
}

/// Who used how many seconds of processor time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    pub server_s: f64,
    pub database_s: f64,
    pub own_s: f64,
    /// Of all processor time, what went to processes that are none of ours, or was stolen.
    pub foreign: f64,
}

impl Sampler {
    #[must_use]
    pub fn begin() -> Self {
        Self { begun: Instant::now(), machine: machine_ticks(), processes: processes() }
    }

    /// `server` and `database` are the processes to be told apart; all descendants of this process are ours.
    #[must_use]
    pub fn end(&self, server: Option<i32>, database: &[i32]) -> Used {
        let now = processes();
        let elapsed = self.begun.elapsed().as_secs_f64();
        let machine = machine_ticks();
        let ours = ours(&now);
        let ticks = |pid: &i32| {
            let before = self.processes.get(pid).map_or(0, |process| process.ticks);
            now.get(pid).map_or(0, |process| process.ticks.saturating_sub(before))
        };
        let me = std::process::id().cast_signed();
        // A server that ended with its connection left its time to its parent, which is ours too.
        let reaped = |all: &HashMap<i32, Process>, pid: &i32| all.get(pid).map_or(0, |process| process.reaped);
        let left = |pid: &i32| reaped(&now, pid).saturating_sub(reaped(&self.processes, pid));
        let own: u64 = ours.iter().map(|pid| ticks(pid) + left(pid)).sum();
        let kernel: u64 =
            now.iter().filter(|(pid, process)| **pid == 2 || process.parent == 2).map(|(pid, _)| ticks(pid)).sum();
        let busy = machine.0.saturating_sub(self.machine.0);
        let stolen = machine.1.saturating_sub(self.machine.1);
        let foreign = busy.saturating_sub(own + kernel) + stolen;
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        Used {
            server_s: seconds(server.iter().map(ticks).sum()),
            database_s: seconds(database.iter().map(ticks).sum()),
            own_s: seconds(ticks(&me)),
            foreign: seconds(foreign) / (elapsed * processors() as f64),
        }
    }
}

/// This process and all that descend from it.
fn ours(all: &HashMap<i32, Process>) -> HashSet<i32> {
    let mut ours = HashSet::from([std::process::id().cast_signed()]);
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|(pid, process)| !ours.contains(pid) && ours.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return ours;
        }
        ours.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_work_is_ours() {
        let sampler = Sampler::begin();
        let mut sum = 0u64;
        while sampler.begun.elapsed().as_millis() < 300 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let used = sampler.end(None, &[]);
        assert!(used.own_s > 0.02, "{used:?} {sum}");
        assert!((0.0..=1.5).contains(&used.foreign), "{used:?}");
        assert!(resident_kb(std::process::id().cast_signed()).is_some_and(|(now, peak)| now > 0 && peak >= now));
    }
}
