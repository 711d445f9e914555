//! The embedded vector index: four-bit codes scanned in memory, the best rescored with the vectors themselves.
//!
//! One file per generation holds every change that was applied, each with its own checksum and its vectors sealed (see
//! `frame`, `file` and `seal`); the codes are made from it when it is opened. Codes are those of extended RaBitQ (Gao
//! and others, SIGMOD 2025): a vector is turned by a fixed random rotation, its coordinates become four-bit numbers,
//! and one factor per vector makes the estimate of an inner product unbiased (see `code`).
//!
//! Where a tenant has so many vectors that the scan takes too long (see `policy`), a graph in memory gives the candidates
//! instead (see `graph`, `building` and `serving`).

mod building;
mod code;
mod contents;
mod counts;
mod file;
mod frame;
mod graph;
mod index;
mod lazy;
mod policy;
mod seal;
mod search;
mod serving;
mod table;
mod writing;

pub use index::{Basis, VectorIndex};
pub use lazy::VectorCopy;
pub use policy::Policy;
pub use seal::CopyKeys;
pub use search::{EF, Explained, Filter, Hit, RESCORE, Search, Stats, VectorSearch};
