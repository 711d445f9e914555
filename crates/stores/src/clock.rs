//! The one place of this crate that reads the wall clock.

use jiff::Timestamp;

#[must_use]
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}
