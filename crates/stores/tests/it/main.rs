//! Copies as the relay and the door use them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod metrics;
mod vectors;
