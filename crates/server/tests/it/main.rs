//! The door on a real record: a private PostgreSQL, a keystore, a transparency log, HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod configuration;
mod events;
mod exactly_once;
mod examples;
mod follower;
mod hub;
mod hybrid;
mod keys;
mod knowledge;
mod log;
mod metrics;
mod official;
mod openapi;
mod principals;
mod prometheus;
mod record;
mod refusals;
mod registry;
mod sinks;
mod stand;
mod texts;
mod tmf921;
mod transactions;
mod withheld;
