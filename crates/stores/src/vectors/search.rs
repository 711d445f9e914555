//! What can be asked of the index, and what it answers.

use model::{Class, Position, ResourceKey, Result, Tenant, Version};
use std::{fmt, sync::Arc, time::Duration};

/// Candidates that a graph looks at, and those compared by the vectors themselves, where nobody knows better.
pub const EF: usize = 64;
pub const RESCORE: usize = 50;

/// Which stored vectors are looked at, before any is ranked.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Documents of a higher class are not looked at.
    pub class_max: Class,
    pub source: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Search<'s> {
    pub vector: &'s [f32],
    pub limit: usize,
    /// How many of the best estimates are compared by the vectors themselves.
    pub rescore: usize,
    /// How many candidates a graph looks at; a scan looks at all.
    pub ef: usize,
    pub filter: &'s Filter,
}

/// Inner product of vectors of length 1: 1 is the same direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
    pub class: Class,
    pub ordinal: u32,
    pub score: f32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub model: Arc<str>,
    pub dimensions: usize,
    pub documents: usize,
    pub vectors: usize,
    /// Removed or replaced, until the file is written anew.
    pub tombstones: usize,
    /// Keys that are missing because their frames are damaged, until they are applied again, and damage of which no
    /// key is known, until the index is made anew.
    pub damaged: usize,
    pub code_bytes: usize,
    pub resident_bytes: usize,
    pub disk_bytes: u64,
}

/// Which index serves a tenant, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub tenant: Tenant,
    /// `flat` or `hnsw`.
    pub index: &'static str,
    pub why: String,
    pub vectors: usize,
    /// Of the latest scans; `None`: too few.
    pub scan_p95: Option<Duration>,
    /// Memory of the graph, also of one that is being built.
    pub graph_bytes: usize,
}

pub trait VectorSearch: Send + Sync + fmt::Debug {
    fn search(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>>;
    /// Without codes, over every vector, a few at a time: writers and other searches go on meanwhile.
    fn search_exact(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>>;
    /// The position up to which everything is found.
    fn reached(&self) -> Option<Position>;
    fn stats(&self) -> Stats;
    /// Of one tenant or of all.
    fn explained(&self, tenant: Option<&Tenant>) -> Vec<Explained>;
}
