//! The audit log from outside: crash, tampering, full devices, proofs, many readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod append;
mod crash;
mod device;
mod entries;
mod proofs;
mod readers;
mod rolling;
mod tampering;
