//! The one place of this crate that reads the wall clock.

use jiff::Timestamp;

#[must_use]
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

/// Microseconds since 1970; a clock before that reads as 0.
pub(crate) fn wall_micros() -> u64 {
    u64::try_from(wall().as_microsecond()).unwrap_or(0)
}
