//! The embedded vector index: four-bit codes scanned in memory, the best rescored with the vectors themselves.
//!
//! One file per generation holds every change that was applied, each with its own checksum and its vectors sealed (see
//! `frame`, `file` and `seal`); the codes are made from it when it is opened. Codes are those of extended RaBitQ (Gao
//! and others, SIGMOD 2025): a vector is turned by a fixed random rotation, its coordinates become four-bit numbers,
//! and one factor per vector makes the estimate of an inner product unbiased (see `code`).

mod code;
mod contents;
mod directory;
mod file;
mod frame;
mod index;
mod lazy;
mod seal;
mod search;
mod table;
mod writing;

pub use index::{Basis, VectorIndex};
pub use lazy::VectorCopy;
pub use seal::CopyKeys;
pub use search::{Filter, Hit, Search, Stats, VectorSearch};
