//! Black-box tests: the real binary in a directory of its own, on a port of its own, with a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod drill;
mod events;
mod faults;
mod import;
mod knowledge;
mod life;
mod metrics;
mod mistakes;
mod offline;
mod record;
mod shared;
mod verbs;
