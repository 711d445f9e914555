//! The one place of this crate that reads the wall clock.

use std::time::SystemTime;

#[must_use]
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub(crate) fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// As a file system keeps it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub(crate) fn file_time() -> SystemTime {
    SystemTime::now()
}
