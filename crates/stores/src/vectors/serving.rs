//! How a table is searched by its graph, and when it gets one or loses it.

use super::{
    code::Query,
    graph::{Core, Graph},
    policy::{Facts, Policy, Why},
    search::{Explained, Hit, Search},
    table::{Best, Reading, Table, Wanted},
};
use model::{Result, Tenant};
use std::sync::Arc;

/// A filter that lets less than one in so many through is a scan: the graph would walk through all the others.
const RARE: usize = 10;
/// Rows that are scanned beside the graph until they are added to it.
const TAIL: usize = 1 << 10;
/// One in so many labels of a graph may be dead before it is built anew.
const DEAD: usize = 4;

/// What is to be done about a table's graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Build,
    Extend,
    Drop,
}

/// Rows on their way into a graph.
#[derive(Debug)]
pub struct Step {
    pub core: Arc<Core>,
    pub ready: bool,
    pub rows: Vec<(u32, Vec<f32>)>,
    numbering: u64,
    covered: usize,
}

impl Table {
    /// `None`: the scan has to serve.
    pub(super) fn by_graph(
        &self,
        reading: &Reading<'_>,
        wanted: Wanted,
        search: &Search<'_>,
    ) -> Result<Option<Vec<Hit>>> {
        let Some(graph) = self.graph.as_ref().filter(|graph| graph.is_ready()) else { return Ok(None) };
        let matching = self.counts.matching(wanted);
        if matching * RARE < self.rows.len() {
            return Ok(None);
        }
        let mark = |row: u32| self.marks.get(*self.rows.get(row as usize)? as usize).copied();
        let takes = |row: u32| mark(row).is_some_and(|mark| wanted.takes(mark));
        let kept = search.rescore.max(search.limit);
        let mut rows = match graph.search(search.vector, search.ef.max(search.limit), takes) {
            Ok(rows) => rows,
            Err(why) => {
                tracing::debug!("the graph did not answer, the scan does: {why}");
                return Ok(None);
            }
        };
        rows.truncate(kept);
        let tail = graph.covered()..self.rows.len();
        if !tail.is_empty() {
            let mut best: Best = self.best_of(&Query::new(reading.rotation, search.vector), wanted, kept, tail);
            best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            rows.extend(best.iter().take(kept).map(|(_, row)| *row));
        }
        let hits = self.exact(rows.into_iter(), reading, search)?;
        // The graph may not reach everything: no filter loses what there is.
        Ok((hits.len() >= search.limit.min(matching)).then_some(hits))
    }

    fn facts(&self, policy: &Policy, dimensions: usize, taken: u64) -> Facts {
        let vectors = self.rows_live();
        let (need, p95) = (policy.shape(dimensions).bytes_each() * vectors as u64, self.watch.p95());
        // Asked of the system only where it matters.
        let matters = policy.from.is_some_and(|from| vectors >= from) && p95.is_some_and(|p95| p95 > policy.objective);
        Facts { vectors, p95, need, room: if matters { policy.room(taken) } else { 0 } }
    }

    /// `taken`: memory of all graphs there are.
    pub fn due(&self, policy: &Policy, dimensions: usize, taken: u64) -> Option<Due> {
        let Some(graph) = &self.graph else {
            let due =
                policy.judge(&self.facts(policy, dimensions, taken)) == Why::Due && self.watch.failure().is_none();
            return due.then_some(Due::Build);
        };
        // Half: a tenant at the threshold does not go to and fro.
        if policy.from.is_none_or(|from| self.rows_live() < from / 2) {
            return Some(Due::Drop);
        }
        // An eighth above: an estimate that was a little short does not make it go to and fro.
        if policy.memory.is_some_and(|all| taken > all + all / 8) {
            return Some(Due::Drop);
        }
        let dead = (graph.core().given() + self.rows.len() - graph.covered()).saturating_sub(self.rows_live());
        if graph.is_ready() && dead * DEAD > graph.core().given() {
            return Some(Due::Build);
        }
        (!graph.is_ready() || self.rows.len() - graph.covered() >= TAIL).then_some(Due::Extend)
    }

    pub fn explained(&self, tenant: &Tenant, policy: &Policy, dimensions: usize, taken: u64) -> Explained {
        let (p95, objective) = (self.watch.p95(), policy.objective);
        let why = match (&self.graph, self.watch.failure()) {
            (Some(graph), _) if graph.is_ready() => Why::Graph { p95, objective },
            (Some(graph), _) => Why::Building { done: graph.core().given(), of: self.rows_live() },
            (None, Some(failure)) => Why::Failed(failure),
            (None, None) => policy.judge(&self.facts(policy, dimensions, taken)),
        };
        Explained {
            tenant: tenant.clone(),
            index: if matches!(why, Why::Graph { .. }) { "hnsw" } else { "flat" },
            why: why.to_string(),
            vectors: self.rows_live(),
            scan_p95: p95,
            graph_bytes: self.graph.as_ref().map_or(0, Graph::bytes),
        }
    }

    /// The next rows that the graph does not have, with their vectors; `None`: there are none, or no graph.
    pub fn step(&self, reading: &Reading<'_>, count: usize) -> Result<Option<Step>> {
        let Some(graph) = &self.graph else { return Ok(None) };
        let (from, to) = (graph.covered(), self.rows.len().min(graph.covered() + count));
        if from >= to {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(to - from);
        for row in from..to {
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            rows.extend(self.vector(row, reading)?.map(|(_, _, vector)| (row, vector)));
        }
        let (core, ready) = (Arc::clone(graph.core()), graph.is_ready());
        Ok(Some(Step { core, ready, rows, numbering: self.numbering, covered: to }))
    }

    /// These rows are in the graph, under labels from this one on. False: it is not this table's any longer.
    pub fn stepped(&mut self, step: &Step, first: u64) -> bool {
        let Some(graph) = self.graph.as_mut().filter(|graph| Arc::ptr_eq(graph.core(), &step.core)) else {
            return false;
        };
        // Else a rewriting of the file has moved the rows meanwhile: they are added again.
        if self.numbering == step.numbering {
            graph.added(first, step.rows.iter().map(|(row, _)| *row), step.covered);
        }
        true
    }
}
