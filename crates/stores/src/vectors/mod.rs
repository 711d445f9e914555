//! The embedded vector index: four-bit codes scanned in memory, the best rescored with the vectors themselves.
//!
//! One file per generation holds every change that was applied, each with its own checksum (see `file`); the codes are
//! made from it when it is opened. Codes are those of extended RaBitQ (Gao and others, SIGMOD 2025): a vector is
//! turned by a fixed random rotation, its coordinates become four-bit numbers, and one factor per vector makes the
//! estimate of an inner product unbiased (see `code`).

mod code;
mod file;
mod index;
mod table;

pub use index::{Filter, Hit, Search, Stats, VectorIndex, VectorSearch};
