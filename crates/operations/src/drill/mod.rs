//! Drills: break things under load, recover, and account for every acknowledged write (DESIGN 1.3).
//!
//! The load is a process of its own that keeps its own durable file of what it was told; the account compares that
//! file with the record. Nothing the server says about itself is needed for the verdict.

pub mod account;
pub mod ackfile;
mod arrivals;
pub mod faults;
pub mod gather;
pub mod latency;
pub mod load;
pub mod low_recall;
mod outside;
pub mod pause;
pub mod report;
pub mod run;
pub mod site;
pub mod summary;
pub mod wire;
pub mod work;
