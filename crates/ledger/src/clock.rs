//! The only place of this crate that reads clocks.

use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment on CLOCK_BOOTTIME: it goes on while the machine sleeps, and never back (RECORD 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let nanos = now.tv_sec.unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.unsigned_abs());
        Self(nanos)
    }
    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The wall clock of a record: the machine's, and by how much a test has set it wrong. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct Wall(Arc<AtomicI64>);

impl Wall {
    /// Microseconds since 1970; a clock before 1970 reads as 0 and the hybrid clock goes on from its last value.
    #[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
    pub(crate) fn micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add_signed(self.0.load(Relaxed))
    }
    /// Sets it forward, or back, as an administrator or a time server does to a machine.
    pub fn step(&self, micros: i64) {
        self.0.fetch_add(micros, Relaxed);
    }
}

/// Days since 1970 of a moment in microseconds.
pub(crate) fn day_of(micros: u64) -> i32 {
    i32::try_from(micros / 86_400_000_000).unwrap_or(i32::MAX)
}

pub(crate) fn system_time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}
