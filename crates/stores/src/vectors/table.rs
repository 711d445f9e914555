//! One tenant's codes in memory, and the search over them.

use super::{
    code::{self, Query, Rotation},
    file::{self, Stored},
    index::{Filter, Hit, Search},
};
use model::{ResourceKey, Result};
use std::{cmp::Ordering, collections::HashMap, fs::File, sync::Arc};

/// One stored vector.
#[derive(Debug, Clone, Copy)]
struct Row {
    document: u32,
    ordinal: u32,
    /// Where in the file it lies.
    at: u64,
}

/// Rows are only added; those of a removed or replaced document stay dead until the file is written anew.
#[derive(Debug, Default)]
pub struct Table {
    codes: Vec<u8>,
    factors: Vec<f32>,
    rows: Vec<Row>,
    /// By document number; `None`: removed or replaced.
    documents: Vec<Option<Arc<Stored>>>,
    /// First row of each document; its rows follow one another.
    first_rows: Vec<u32>,
    current: HashMap<ResourceKey, u32>,
    dead_rows: usize,
}

/// What a search has to look at, and which file the vectors lie in.
#[derive(Debug)]
pub struct Reading<'r> {
    pub rotation: &'r Rotation,
    pub file: &'r File,
    pub dimensions: usize,
}

impl Table {
    /// The current state of a document.
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Stored>> {
        self.documents.get(*self.current.get(key)? as usize)?.as_ref()
    }

    /// Replaces whatever the key had.
    pub fn put(&mut self, stored: Stored, rotation: &Rotation, objects_at: u64, vectors: &[&[f32]]) {
        self.remove(&stored.key);
        if stored.ordinals.is_empty() {
            return;
        }
        let document = u32::try_from(self.documents.len()).unwrap_or(u32::MAX);
        self.first_rows.push(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        let size = vectors.first().map_or(0, |vector| 4 + 4 * vector.len()) as u64;
        for (number, (ordinal, vector)) in stored.ordinals.iter().zip(vectors).enumerate() {
            self.factors.push(code::encode(rotation, vector, &mut self.codes));
            self.rows.push(Row { document, ordinal: *ordinal, at: objects_at + number as u64 * size + 4 });
        }
        self.current.insert(stored.key.clone(), document);
        self.documents.push(Some(Arc::new(stored)));
    }

    pub fn remove(&mut self, key: &ResourceKey) -> bool {
        let Some(document) = self.current.remove(key) else { return false };
        let gone = self.documents.get_mut(document as usize).and_then(Option::take);
        self.dead_rows += gone.as_ref().map_or(0, |stored| stored.ordinals.len());
        gone.is_some()
    }

    pub fn live(&self) -> impl Iterator<Item = (&Arc<Stored>, Vec<u64>)> {
        let numbered = self.documents.iter().zip(&self.first_rows);
        numbered.filter_map(|(stored, first)| {
            let stored = stored.as_ref()?;
            let rows = self.rows.get(*first as usize..*first as usize + stored.ordinals.len())?;
            Some((stored, rows.iter().map(|row| row.at).collect()))
        })
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
            + self.rows.capacity() * size_of::<Row>()
            + self.documents.len() * (size_of::<Stored>() + 96)
    }

    /// Estimates for all, filters before ranking, then the vectors themselves for the best.
    pub fn search(&self, reading: &Reading<'_>, search: &Search<'_>) -> Result<Vec<Hit>> {
        let mut estimates = Vec::with_capacity(self.rows.len());
        Query::new(reading.rotation, search.vector).scan(&self.codes, &self.factors, &mut estimates);
        let allowed = self.allowed(search.filter);
        let wanted = search.limit.max(search.rescore).min(self.rows.len());
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(wanted * 2 + 1);
        let mut bar = f32::NEG_INFINITY;
        for (at, estimate) in (0_u32..).zip(&estimates) {
            if *estimate > bar && allowed[self.rows[at as usize].document as usize] {
                best.push((*estimate, at));
                if best.len() > wanted * 2 {
                    bar = keep(&mut best, wanted);
                }
            }
        }
        keep(&mut best, wanted);
        self.exact(best.into_iter().map(|(_, at)| at), reading, search)
    }

    /// All of them by the vectors themselves: what a search is measured against.
    pub fn search_exact(&self, reading: &Reading<'_>, search: &Search<'_>) -> Result<Vec<Hit>> {
        let allowed = self.allowed(search.filter);
        let rows = (0_u32..).zip(&self.rows).filter(|(_, row)| allowed[row.document as usize]);
        self.exact(rows.map(|(at, _)| at), reading, search)
    }

    fn allowed(&self, filter: &Filter) -> Vec<bool> {
        let allows = |stored: &Arc<Stored>| {
            stored.class <= filter.class_max && filter.source.as_ref().is_none_or(|source| **source == *stored.source)
        };
        self.documents.iter().map(|stored| stored.as_ref().is_some_and(allows)).collect()
    }

    fn exact(&self, rows: impl Iterator<Item = u32>, reading: &Reading<'_>, search: &Search<'_>) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for at in rows {
            let row = self.rows[at as usize];
            let Some(stored) = self.documents[row.document as usize].as_ref() else { continue };
            let vector = file::vector_at(reading.file, row.at, reading.dimensions).map_err(|error| {
                let what = "a vector cannot be read from the index; nephkeep verify vectors names what is wrong";
                model::Error::retry("vectors-unusable", what).caused_by(error)
            })?;
            let score: f32 = vector.iter().zip(search.vector).map(|(a, b)| a * b).sum();
            hits.push(Hit {
                key: stored.key.clone(),
                version: stored.version,
                position: stored.position,
                class: stored.class,
                ordinal: row.ordinal,
                score,
            });
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| (&a.key, a.ordinal).cmp(&(&b.key, b.ordinal))));
        hits.truncate(search.limit);
        Ok(hits)
    }
}

/// Keeps the `count` best; gives the least of them.
fn keep(best: &mut Vec<(f32, u32)>, count: usize) -> f32 {
    let better = |a: &(f32, u32), b: &(f32, u32)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    if best.len() > count && count > 0 {
        best.select_nth_unstable_by(count - 1, better);
        best.truncate(count);
    }
    best.iter().fold(f32::INFINITY, |least, (estimate, _)| least.min(*estimate))
}
