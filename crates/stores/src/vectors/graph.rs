//! A tenant's graph over its vectors (HNSW: Malkov and Yashunin, 2018), by `usearch`, in sixteen bits a coordinate:
//! bfloat16, because without instructions of the processor's own `usearch` converts it by a shift, and IEEE's half by
//! branches (measured: 0.28 and 1.85 ms to add a vector of 384 dimensions, the same recall: candidates are rescored).
//!
//! It lies in memory only: what is written to a disk would be vectors in clear, and everything it is made of lies sealed
//! in the generation's file (docs/adr/013-vector-graph-in-memory.md). So it cannot be damaged apart from it, has no checksum to
//! fail, and is made again when a server starts and its scan is too slow. It gives candidates; a hit's score comes from
//! the vector in the file, as after a scan.
//!
//! The graph knows the first rows of its table, up to `covered`; those that were added since are scanned. A row keeps
//! its label for life, whatever a rewriting of the file makes of the row's number.

use parking_lot::RwLock;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// No row: removed by a rewriting, or added again under another label.
const GONE: u32 = u32::MAX;
/// Searches at the same time; one more is a scan.
pub const SEARCHES: usize = 64;
/// Grown by an eighth at a time, as the table is.
const SPARE: usize = 1 << 10;
/// Of a vector in the library's tables: two pointers, and a label with its slot in a table that is half empty.
const TABLES: usize = 48;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub dimensions: usize,
    /// Links of a vector to others, on each level but the lowest, which has twice as many.
    pub connections: usize,
    /// Candidates looked at for each vector that is added.
    pub construction: usize,
}

impl Shape {
    /// Of one vector: sixteen bits a coordinate, twice as many links as on the upper levels (four bytes each), a head,
    /// the tables, and an eighth of room to spare.
    #[must_use]
    pub fn bytes_each(self) -> u64 {
        let each = self.dimensions * 2 + self.connections * 2 * 4 + 32 + TABLES + size_of::<u32>();
        (each + each / 8) as u64
    }
}

/// The library's part. Searches and the first building share it; what is added later has it alone.
pub struct Core {
    index: RwLock<Index>,
    shape: Shape,
    /// The next label. None is given twice, also when what was added under it is not used.
    next: AtomicUsize,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// What the library said, in its words.
pub type Refused = String;

impl Core {
    pub fn new(shape: Shape) -> Result<Self, Refused> {
        let options = IndexOptions {
            dimensions: shape.dimensions,
            metric: MetricKind::IP,
            quantization: ScalarKind::BF16,
            connectivity: shape.connections,
            expansion_add: shape.construction,
            // As many as a search wants are looked at: each brings its own number.
            expansion_search: 1,
            multi: false,
        };
        let index = RwLock::new(Index::new(&options).map_err(|error| error.to_string())?);
        Ok(Self { index, shape, next: AtomicUsize::new(0) })
    }

    /// The first of so many labels, with room for their vectors.
    pub fn labels(&self, count: usize) -> Result<u64, Refused> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let (index, all) = (self.index.write(), first + count);
        if all > index.capacity() {
            let room = all + all / 8 + SPARE;
            index.reserve_capacity_and_threads(room, SEARCHES).map_err(|error| error.to_string())?;
        }
        Ok(first as u64)
    }

    pub fn given(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// One vector, beside others that are added at the same time, while nobody searches.
    pub fn add_beside(&self, label: u64, vector: &[f32]) -> Result<(), Refused> {
        self.index.read().add(label, vector).map_err(|error| error.to_string())
    }

    /// One vector while others search: they wait for it.
    pub fn add_alone(&self, label: u64, vector: &[f32]) -> Result<(), Refused> {
        self.index.write().add(label, vector).map_err(|error| error.to_string())
    }

    /// Of nodes and vectors what is in use, and the tables of pointers and labels.
    fn memory(&self) -> usize {
        let index = self.index.read();
        let of = index.memory_stats();
        let taken = (of.graph_allocated + of.vectors_allocated).saturating_sub(of.graph_reserved + of.vectors_reserved);
        taken + index.capacity() * TABLES
    }
}

/// The graph as a table holds it.
#[derive(Debug)]
pub struct Graph {
    core: Arc<Core>,
    /// The row of each label.
    rows: Vec<u32>,
    covered: usize,
    /// The first building has ended: it is searched.
    ready: bool,
}

impl Graph {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, rows: Vec::new(), covered: 0, ready: false }
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }
    pub fn is_ready(&self) -> bool {
        self.ready
    }
    pub fn set_ready(&mut self) {
        self.ready = true;
    }
    /// Rows of the table before this one are in the graph, as far as they lived.
    pub fn covered(&self) -> usize {
        self.covered
    }
    pub fn bytes(&self) -> usize {
        self.core.memory() + self.rows.capacity() * size_of::<u32>()
    }

    /// These rows were added under labels from this one on, and all rows before `covered` are in.
    pub fn added(&mut self, first: u64, rows: impl IntoIterator<Item = u32>, covered: usize) {
        self.rows.resize(usize::try_from(first).unwrap_or(usize::MAX), GONE);
        self.rows.extend(rows);
        self.covered = covered;
    }

    /// The same graph over rows that have moved; `GONE` is one that went.
    pub fn moved(&self, moves: &Moves) -> Self {
        let place = |row: &u32| moves.0.get(*row as usize).copied().unwrap_or(GONE);
        let covered = moves.0.iter().take(self.covered).filter(|row| **row != GONE).count();
        Self { core: Arc::clone(&self.core), rows: self.rows.iter().map(place).collect(), covered, ready: self.ready }
    }

    /// The rows nearest to a question among those that are taken, best first; of `count` candidates looked at.
    pub fn search(&self, vector: &[f32], count: usize, takes: impl Fn(u32) -> bool) -> Result<Vec<u32>, Refused> {
        let row = |label: u64| usize::try_from(label).ok().and_then(|label| self.rows.get(label).copied());
        let taken = |label: u64| row(label).is_some_and(|row| row != GONE && takes(row));
        let found = self.core.index.read().filtered_search(vector, count, taken).map_err(|error| error.to_string())?;
        Ok(found.keys.into_iter().filter_map(row).collect())
    }
}

/// Where rows go in a rewriting: row by row the new number.
#[derive(Debug)]
pub struct Moves(Vec<u32>);

impl Moves {
    pub fn new(rows: usize) -> Self {
        Self(vec![GONE; rows])
    }
    pub fn to(&mut self, from: usize, to: usize, count: usize) {
        let to = u32::try_from(to).unwrap_or(GONE);
        for (new, old) in (to..).zip(self.0.iter_mut().skip(from).take(count)) {
            *old = new;
        }
    }
}
