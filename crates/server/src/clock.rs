//! The one place of this crate that reads clocks and draws random numbers.

use jiff::Timestamp;
use model::{Error, Result};
use std::time::Instant;

#[must_use]
#[allow(clippy::disallowed_methods, reason = "here the wall clock is read")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Bytes nobody can guess: tokens.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| {
        Error::retry("randomness-missing", "the operating system gave no random numbers").with("why", error)
    })?;
    Ok(bytes)
}

/// An id for a new resource: ordered by time, so that index pages fill in order.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
