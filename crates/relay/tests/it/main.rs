//! The relay on a real PostgreSQL: the one that all tests of a run share, one database per test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod copies;
mod groups;
mod held;
mod kept;
mod migrating;
mod moving;
mod stand;
