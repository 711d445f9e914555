//! One tenant's codes in memory, and the search over them.

use super::{
    code::{self, Query, Rotation},
    counts::Counts,
    file::vector_at,
    frame::{Span, Stored, stride},
    graph::{Graph, Moves},
    policy::Watch,
    seal::{Bound, Seal},
    search::{Filter, Hit, Search},
};
use crate::digest;
use model::{Class, Error, Result};
use parking_lot::Mutex;
use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    fs::File,
    num::NonZero,
    ops::Range,
    sync::Arc,
    thread,
    time::Instant,
};

/// From so many vectors on a search is shared between the processors.
const SHARED_FROM: usize = 1 << 16;
/// Estimated at a time: codes and estimates stay in the processor's own memory.
const BLOCK: usize = 512;

/// A key's state, and where its frame lies.
#[derive(Debug)]
pub struct Document {
    pub stored: Stored,
    pub place: u64,
    pub span: Span,
    objects_at: u64,
    /// Its rows follow one another.
    first_row: u32,
}

/// What a filter looks at, for each document; of no class: removed or replaced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    class: Option<Class>,
    source: u32,
}

/// A key's state on its way into a table, its codes made.
#[derive(Debug)]
pub struct Entry {
    pub stored: Stored,
    pub place: u64,
    pub span: Span,
    /// Where in the file its first object lies.
    pub objects_at: u64,
    pub codes: Vec<u8>,
    pub factors: Vec<f32>,
}

impl Document {
    /// Where its objects lie.
    pub fn places(&self, dimensions: usize) -> impl Iterator<Item = (u32, u64)> {
        let (first, each) = (self.objects_at + 4, stride(dimensions));
        (0_u64..).zip(&self.stored.ordinals).map(move |(number, ordinal)| (*ordinal, first + number * each))
    }
}

impl Entry {
    /// Makes the codes of a key's vectors, given one after the other.
    pub fn encode<'v>(&mut self, rotation: &Rotation, vectors: impl Iterator<Item = &'v [f32]>) {
        self.factors.extend(vectors.map(|vector| code::encode(rotation, vector, &mut self.codes)));
    }
}

/// Rows are only added; those of a removed or replaced document stay dead until the file is written anew.
#[derive(Debug, Default)]
pub struct Table {
    codes: Vec<u8>,
    factors: Vec<f32>,
    /// Which document each vector is of.
    pub(super) rows: Vec<u32>,
    /// By document number; `None`: removed or replaced.
    documents: Vec<Option<Document>>,
    pub(super) marks: Vec<Mark>,
    sources: HashMap<Arc<str>, u32>,
    pub(super) counts: Counts,
    /// By place.
    current: HashMap<u64, u32>,
    dead_rows: usize,
    /// How often the rows were numbered anew.
    pub(super) numbering: u64,
    pub(super) graph: Option<Graph>,
    pub(super) watch: Watch,
}

/// What a search reads the vectors themselves with.
#[derive(Debug)]
pub struct Reading<'r> {
    pub rotation: &'r Rotation,
    pub file: &'r File,
    pub seal: &'r Seal,
    pub dimensions: usize,
    /// Places of keys with a vector that did not open.
    pub unreadable: &'r Mutex<BTreeSet<u64>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub class_max: Class,
    pub source: Option<u32>,
}

impl Wanted {
    pub fn takes(self, mark: Mark) -> bool {
        mark.class.is_some_and(|class| class <= self.class_max)
            && self.source.is_none_or(|source| source == mark.source)
    }
}

pub(super) type Best = Vec<(f32, u32)>;

impl Table {
    /// The current state of a document.
    pub fn get(&self, place: u64) -> Option<&Document> {
        self.documents.get(*self.current.get(&place)? as usize)?.as_ref()
    }

    /// Replaces whatever the key had, and gives that back.
    pub fn put(&mut self, entry: Entry) -> Option<Document> {
        let before = self.remove(entry.place);
        let Entry { stored, place, span, objects_at, codes, factors } = entry;
        let document = u32::try_from(self.documents.len()).unwrap_or(u32::MAX);
        let first_row = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        grow(&mut self.codes, codes);
        grow(&mut self.factors, factors);
        grow(&mut self.rows, stored.ordinals.iter().map(|_| document));
        let sources = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        let source = *self.sources.entry(Arc::clone(&stored.source)).or_insert(sources);
        grow(&mut self.marks, [Mark { class: Some(stored.class), source }]);
        self.counts.add(source, stored.class, stored.ordinals.len());
        self.current.insert(place, document);
        grow(&mut self.documents, [Some(Document { stored, place, span, objects_at, first_row })]);
        before
    }

    pub fn remove(&mut self, place: u64) -> Option<Document> {
        let number = self.current.remove(&place)? as usize;
        let gone = self.documents.get_mut(number).and_then(Option::take)?;
        if let Some(mark) = self.marks.get_mut(number) {
            mark.class = None;
            self.counts.take(mark.source, gone.stored.class, gone.stored.ordinals.len());
        }
        self.dead_rows += gone.stored.ordinals.len();
        Some(gone)
    }

    /// The name of a source as it is already kept.
    pub fn share(&self, source: &mut Arc<str>) {
        if let Some((known, _)) = self.sources.get_key_value(source) {
            *source = Arc::clone(known);
        }
    }

    pub fn live(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter().flatten()
    }

    fn rows_of(&self, document: &Document) -> Range<usize> {
        let first = document.first_row as usize;
        first..(first + document.stored.ordinals.len()).min(self.rows.len())
    }

    /// The same documents without the dead rows between them, their frames where `moved` says; of the others nothing.
    pub fn compacted(&self, moved: impl Fn(&Document) -> Option<u64>) -> Self {
        let mut fresh = Self { numbering: self.numbering + 1, watch: self.watch.again(), ..Self::default() };
        let each = self.codes.len() / self.rows.len().max(1);
        let mut moves = Moves::new(if self.graph.is_some() { self.rows.len() } else { 0 });
        for document in self.live() {
            let (Some(at), rows) = (moved(document), self.rows_of(document)) else { continue };
            moves.to(rows.start, fresh.rows.len(), rows.len());
            fresh.put(Entry {
                stored: document.stored.clone(),
                place: document.place,
                span: Span { at, ..document.span },
                objects_at: at + (document.objects_at - document.span.at),
                codes: self.codes[rows.start * each..rows.end * each].to_vec(),
                factors: self.factors[rows].to_vec(),
            });
        }
        fresh.graph = self.graph.as_ref().map(|graph| graph.moved(&moves));
        fresh
    }

    pub fn rows_live(&self) -> usize {
        self.rows.len() - self.dead_rows
    }
    pub fn rows_dead(&self) -> usize {
        self.dead_rows
    }
    pub fn documents_live(&self) -> usize {
        self.current.len()
    }
    pub fn code_bytes(&self) -> usize {
        self.codes.len() + self.factors.len() * 4
    }
    pub fn resident_bytes(&self) -> usize {
        self.codes.capacity()
            + self.factors.capacity() * 4
            + self.rows.capacity() * size_of::<u32>()
            + self.marks.capacity() * size_of::<Mark>()
            + self.documents.capacity() * size_of::<Option<Document>>()
            + self.current.capacity() * (size_of::<(u64, u32)>() + 1)
            // Of each document's own: its id and its ordinals.
            + self.live().map(|document| document.stored.key.id.len() + 16 + document.stored.ordinals.capacity() * 4).sum::<usize>()
    }

    /// By the graph where there is one that serves; else estimates for all that the filter lets through. Then the vectors
    /// themselves for the best.
    pub fn search(&self, reading: &Reading<'_>, search: &Search<'_>) -> Result<Vec<Hit>> {
        let Some(wanted) = self.wanted(search.filter) else { return Ok(Vec::new()) };
        if let Some(hits) = self.by_graph(reading, wanted, search)? {
            return Ok(hits);
        }
        let begun = Instant::now();
        let query = Query::new(reading.rotation, search.vector);
        let count = search.limit.max(search.rescore).min(self.rows.len());
        let best = self.best(&query, wanted, count, self.hands());
        let hits = self.exact(best.into_iter().map(|(_, at)| at), reading, search)?;
        self.watch.took(begun.elapsed());
        Ok(hits)
    }

    /// Some of the rows by the vectors themselves: what a search is measured against.
    pub fn search_exact(&self, reading: &Reading<'_>, search: &Search<'_>, rows: Range<usize>) -> Result<Vec<Hit>> {
        let Some(wanted) = self.wanted(search.filter) else { return Ok(Vec::new()) };
        let rows = rows.start..rows.end.min(self.rows.len());
        let taken = rows.filter(|at| wanted.takes(self.marks[self.rows[*at] as usize]));
        self.exact(taken.map(|at| u32::try_from(at).unwrap_or(u32::MAX)), reading, search)
    }

    /// What was found is still so.
    pub fn has(&self, hit: &Hit) -> bool {
        let held = self.get(digest::place(&hit.key)).map(|document| &document.stored);
        held.is_some_and(|stored| stored.version == hit.version && stored.position == hit.position)
    }

    /// `None`: there is nothing of that source.
    fn wanted(&self, filter: &Filter) -> Option<Wanted> {
        let source = match &filter.source {
            Some(source) => Some(*self.sources.get(source.as_str())?),
            None => None,
        };
        Some(Wanted { class_max: filter.class_max, source })
    }

    /// How many processors look at this table for one search.
    fn hands(&self) -> usize {
        match self.rows.len() {
            rows if rows < SHARED_FROM => 1,
            rows => thread::available_parallelism().map_or(1, NonZero::get).min(rows * 2 / SHARED_FROM),
        }
    }

    /// The rows with the best estimates, each hand looking at a part of them.
    fn best(&self, query: &Query, wanted: Wanted, count: usize, hands: usize) -> Best {
        let rows = self.rows.len();
        let each = rows.div_ceil(hands.max(1)).next_multiple_of(BLOCK);
        let part = |number: usize| {
            self.best_of(query, wanted, count, (number * each).min(rows)..((number + 1) * each).min(rows))
        };
        let mut best = thread::scope(|scope| {
            let others: Vec<_> = (1..hands).map(|number| scope.spawn(move || part(number))).collect();
            let mut best = part(0);
            for (number, other) in (1..).zip(others) {
                // A thread that did not end well has found nothing: its part is looked at here.
                best.extend(other.join().unwrap_or_else(|_| part(number)));
            }
            best
        });
        keep(&mut best, count);
        best
    }

    pub(super) fn best_of(&self, query: &Query, wanted: Wanted, count: usize, rows: Range<usize>) -> Best {
        let bytes = code::bytes_of(query.coordinates());
        let (mut best, mut bar) = (Best::with_capacity(count * 2 + 1), f32::NEG_INFINITY);
        let mut estimates = Vec::with_capacity(BLOCK);
        for from in rows.clone().step_by(BLOCK) {
            let to = (from + BLOCK).min(rows.end);
            query.scan(&self.codes[from * bytes..to * bytes], &self.factors[from..to], &mut estimates);
            for (at, estimate) in (from..to).zip(&estimates) {
                if *estimate > bar && wanted.takes(self.marks[self.rows[at] as usize]) {
                    best.push((*estimate, u32::try_from(at).unwrap_or(u32::MAX)));
                    if best.len() > count * 2 {
                        bar = keep(&mut best, count);
                    }
                }
            }
        }
        best
    }

    /// A row's vector from the file; `None`: it is dead, or damaged.
    pub(super) fn vector(&self, at: u32, reading: &Reading<'_>) -> Result<Option<(&Stored, u32, Vec<f32>)>> {
        let number = self.rows.get(at as usize).map(|number| *number as usize);
        let Some(document) = number.and_then(|number| self.documents.get(number)?.as_ref()) else { return Ok(None) };
        let Document { stored, place, first_row, .. } = document;
        let object = document.places(reading.dimensions).nth((at - first_row) as usize);
        let Some((ordinal, lies_at)) = object else { return Ok(None) };
        let bound = Bound { place: *place, version: stored.version, ordinal };
        let read = vector_at(reading.file, lies_at, reading.dimensions, reading.seal, bound);
        let vector = read.map_err(|error| {
            let what = "a vector cannot be read from the index; nephkeep verify vectors names what is wrong";
            Error::retry("vectors-unusable", what).caused_by(error)
        })?;
        if vector.is_none() && reading.unreadable.lock().insert(*place) {
            tracing::error!(id = %stored.key.id, "a vector in the index is damaged; verify names its key");
        }
        Ok(vector.map(|vector| (stored, ordinal, vector)))
    }

    pub(super) fn exact(
        &self,
        rows: impl Iterator<Item = u32>,
        reading: &Reading<'_>,
        search: &Search<'_>,
    ) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for at in rows {
            let Some((stored, ordinal, vector)) = self.vector(at, reading)? else { continue };
            let score: f32 = vector.iter().zip(search.vector).map(|(a, b)| a * b).sum();
            hits.push(Hit {
                key: stored.key.clone(),
                version: stored.version,
                position: stored.position,
                class: stored.class,
                ordinal,
                score,
            });
        }
        rank(&mut hits, search.limit);
        Ok(hits)
    }
}

/// The best first, and no more of them than wanted.
pub fn rank(hits: &mut Vec<Hit>, limit: usize) {
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| (&a.key, a.ordinal).cmp(&(&b.key, b.ordinal))));
    hits.truncate(limit);
}

/// Appends, with an eighth of room to spare: doubling would keep up to half of a large table unused.
fn grow<T>(to: &mut Vec<T>, more: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) {
    let more = more.into_iter();
    if to.capacity() - to.len() < more.len() {
        to.reserve_exact(more.len() + to.len() / 8);
    }
    to.extend(more);
}

/// Keeps the `count` best; gives the least of them.
fn keep(best: &mut Best, count: usize) -> f32 {
    let better = |a: &(f32, u32), b: &(f32, u32)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    if best.len() > count && count > 0 {
        best.select_nth_unstable_by(count - 1, better);
        best.truncate(count);
    }
    best.iter().fold(f32::INFINITY, |least, (estimate, _)| least.min(*estimate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::{Incarnation, Kind, Position, ResourceKey, Shard, Subject, Tenant};

    /// Documents of 300 rows with codes that look like chance.
    fn table(documents: u64) -> Table {
        let (tenant, mut table, mut state) = (Tenant::new("acme").unwrap(), Table::default(), 1_u64);
        let mut roll = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for n in 0..documents {
            let stored = Stored {
                key: ResourceKey::new(&tenant, Kind::KnowledgeDocument, &format!("d{n}")).unwrap(),
                position: Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n },
                version: 1,
                class: if n % 4 == 0 { Class::Confidential } else { Class::Internal },
                subject: Subject::of_tenant(&tenant),
                source: if n % 2 == 0 { "even" } else { "odd" }.into(),
                ordinals: (0..300).collect(),
            };
            let (codes, factors) = ((0..300 * 8).map(|_| (roll() >> 20) as u8).collect(), vec![0.1; 300]);
            let span = Span { at: n, length: 1 };
            table.put(Entry { stored, place: n, span, objects_at: n, codes, factors });
        }
        table
    }

    #[test]
    fn many_hands_find_what_one_finds_and_nothing_that_the_filter_keeps_out() {
        let rotation = Rotation::new(16, 3);
        let query = Query::new(&rotation, &[0.25; 16]);
        for documents in [0, 1, 2, 9, 40] {
            let mut table = table(documents);
            let gone = table.live().nth(5).map(|document| document.place);
            gone.iter().for_each(|place| drop(table.remove(*place)));
            for source in [None, Some("odd".to_owned())] {
                let filter = Filter { class_max: Class::Internal, source };
                let Some(wanted) = table.wanted(&filter) else { continue };
                let best = |hands| {
                    let mut best = table.best(&query, wanted, 50, hands);
                    best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    best
                };
                let one = best(1);
                for (estimate, row) in &one {
                    let document = table.documents[table.rows[*row as usize] as usize].as_ref().unwrap();
                    assert!(estimate.is_finite() && document.stored.class == Class::Internal);
                    assert!(filter.source.as_deref().is_none_or(|source| source == &*document.stored.source));
                }
                for hands in [2, 3, 7] {
                    assert_eq!(best(hands), one, "{documents} documents, {hands} hands");
                }
            }
        }
    }
}
