//! The one place of this crate that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970; a clock before that reads as 0.
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub(crate) fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn now() -> Instant {
    Instant::now()
}
