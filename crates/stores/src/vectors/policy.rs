//! Which index serves a tenant, and why: the scan, until it misses its latency objective and there is memory for a graph.

use super::graph::Shape;
use parking_lot::Mutex;
use std::{
    fmt, fs,
    time::{Duration, Instant},
};

/// Scans of a tenant that are remembered.
const REMEMBERED: usize = 64;
/// Fewer than this say nothing about the objective.
const ENOUGH: usize = 32;
/// After a building that failed.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Vectors of a tenant from which on there may be a graph; `None`: never.
    pub from: Option<usize>,
    /// What a scan may take, P95.
    pub objective: Duration,
    /// For all graphs together; `None`: half of what the machine has left.
    pub memory: Option<u64>,
    pub connections: usize,
    pub construction: usize,
    /// Threads that build; `None`: half of the processors.
    pub hands: Option<usize>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            from: Some(200_000),
            objective: Duration::from_millis(25),
            memory: None,
            connections: 16,
            construction: 128,
            hands: None,
        }
    }
}

impl Policy {
    #[must_use]
    pub fn shape(&self, dimensions: usize) -> Shape {
        Shape { dimensions, connections: self.connections, construction: self.construction }
    }

    /// What graphs may take, of which some is taken.
    pub fn room(&self, taken: u64) -> u64 {
        match self.memory {
            Some(all) => all.saturating_sub(taken),
            None => available().map_or(0, |left| left / 2),
        }
    }

    /// Whether a tenant without a graph gets one.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> Why {
        let Some(from) = self.from else { return Why::Never };
        if facts.vectors < from {
            return Why::Small { from };
        }
        let Some(p95) = facts.p95 else { return Why::Unmeasured };
        if p95 <= self.objective {
            return Why::Fast { p95, objective: self.objective };
        }
        if facts.need > facts.room {
            return Why::Memory { need: facts.need, room: facts.room, p95, objective: self.objective };
        }
        Why::Due
    }
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub vectors: usize,
    /// Of the latest scans; `None`: too few.
    pub p95: Option<Duration>,
    /// Bytes of a graph over them, and those that may be had.
    pub need: u64,
    pub room: u64,
}

/// Why a tenant has the index it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Never,
    Small {
        from: usize,
    },
    Unmeasured,
    Fast {
        p95: Duration,
        objective: Duration,
    },
    Memory {
        need: u64,
        room: u64,
        p95: Duration,
        objective: Duration,
    },
    /// The graph is to be built, and nobody does so yet.
    Due,
    Building {
        done: usize,
        of: usize,
    },
    Failed(String),
    Graph {
        p95: Option<Duration>,
        objective: Duration,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
        let mib = |bytes: &u64| bytes.div_ceil(1 << 20);
        match self {
            Self::Never => f.write_str("graphs are switched off (vectors.graph_from = 0)"),
            Self::Small { from } => write!(f, "fewer than {from} vectors (vectors.graph_from)"),
            Self::Unmeasured => write!(f, "fewer than {ENOUGH} searches measured since the server began"),
            Self::Fast { p95, objective } => {
                write!(f, "the scan meets its objective: P95 {} of {}", ms(p95), ms(objective))
            }
            Self::Memory { need, room, p95, objective } => write!(
                f,
                "the scan takes P95 {} of {}, but a graph needs {} MiB of memory and {} MiB may be had (vectors.graph_memory_mib)",
                ms(p95),
                ms(objective),
                mib(need),
                mib(room)
            ),
            Self::Due => f.write_str("the scan misses its objective; a graph is built next"),
            Self::Building { done, of } => {
                write!(f, "the scan misses its objective; a graph is being built, {done} of {of} vectors")
            }
            Self::Failed(why) => write!(f, "a graph could not be built and is tried again: {why}"),
            Self::Graph { p95: Some(p95), objective } => {
                write!(f, "the scan missed its objective: P95 {} of {}", ms(p95), ms(objective))
            }
            Self::Graph { p95: None, .. } => f.write_str("the scan missed its objective"),
        }
    }
}

/// How long the latest scans of a table took, and how its last building ended.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Watched>);

#[derive(Debug, Default, Clone)]
struct Watched {
    took: Vec<Duration>,
    next: usize,
    failed: Option<(String, Instant)>,
}

impl Watch {
    pub fn took(&self, time: Duration) {
        let mut watched = self.0.lock();
        let at = watched.next % REMEMBERED;
        match watched.took.get_mut(at) {
            Some(old) => *old = time,
            None => watched.took.push(time),
        }
        watched.next = at + 1;
    }

    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        let mut took = self.0.lock().took.clone();
        if took.len() < ENOUGH {
            return None;
        }
        let at = (took.len() * 95).div_ceil(100) - 1;
        Some(*took.select_nth_unstable(at).1)
    }

    pub fn failed(&self, why: String) {
        self.0.lock().failed = Some((why, Instant::now()));
    }

    /// Why there is none, as long as that is a reason not to try again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let watched = self.0.lock();
        watched.failed.as_ref().filter(|(_, at)| at.elapsed() < PAUSE).map(|(why, _)| why.clone())
    }

    /// The same for a table that takes this one's place.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(Mutex::new(self.0.lock().clone()))
    }
}

/// Memory that can be had without swapping; `None` where the system does not say.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SLOW: Facts =
        Facts { vectors: 300_000, p95: Some(Duration::from_millis(40)), need: 300 << 20, room: 1 << 30 };

    #[test]
    fn a_graph_is_due_only_where_there_are_many_vectors_a_slow_scan_and_memory() {
        let policy = Policy::default();
        assert_eq!(policy.judge(&SLOW), Why::Due);
        assert_eq!(Policy { from: None, ..policy }.judge(&SLOW), Why::Never);
        assert_eq!(policy.judge(&Facts { vectors: 199_999, ..SLOW }), Why::Small { from: 200_000 });
        assert_eq!(policy.judge(&Facts { p95: None, ..SLOW }), Why::Unmeasured);
        let fast = policy.judge(&Facts { p95: Some(policy.objective), ..SLOW });
        assert!(matches!(fast, Why::Fast { .. }), "{fast}");
        let tight = policy.judge(&Facts { room: SLOW.need - 1, ..SLOW });
        assert!(tight.to_string().contains("300 MiB of memory and 300 MiB may be had"), "{tight}");
    }

    #[test]
    fn memory_is_what_is_set_less_what_is_taken_or_half_of_what_is_left() {
        let policy = Policy { memory: Some(100), ..Policy::default() };
        assert_eq!((policy.room(30), policy.room(130)), (70, 0));
        assert!(Policy::default().room(0) > 0);
    }

    #[test]
    fn the_latest_scans_count_and_few_say_nothing() {
        let watch = Watch::default();
        (0..ENOUGH - 1).for_each(|_| watch.took(Duration::from_secs(1)));
        assert_eq!(watch.p95(), None);
        watch.took(Duration::from_secs(1));
        assert_eq!(watch.p95(), Some(Duration::from_secs(1)));
        // Those before are forgotten.
        (1..=REMEMBERED as u64).for_each(|n| watch.took(Duration::from_millis(n)));
        assert_eq!((watch.p95(), watch.again().p95()), (Some(Duration::from_millis(61)), watch.p95()));
    }

    #[test]
    fn a_failure_is_told_and_carried_over() {
        let watch = Watch::default();
        assert_eq!(watch.failure(), None);
        watch.failed("no memory".into());
        assert_eq!(watch.again().failure().unwrap(), "no memory");
    }
}
