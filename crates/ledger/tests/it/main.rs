//! The ledger against a real PostgreSQL: one private server for the whole binary, one database per test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod advice;
mod clock;
mod collector;
mod connection;
mod durability;
mod erasing;
mod expiry;
mod groups;
mod hermitage;
mod leading;
mod loads;
mod local;
mod migrations;
mod opened;
mod outcomes;
mod prepared;
mod read;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod serving;
mod shared;
mod tls;
mod upkeep;
mod writing;
