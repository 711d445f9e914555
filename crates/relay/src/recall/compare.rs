//! A question asked again, approximately and exactly, and what the one missed of the other.

use super::control::Effort;
use model::{ResourceKey, Result, Tenant};
use std::{collections::HashSet, sync::Arc};
use stores::vectors::{Filter, Hit, Search, VectorSearch};

/// Of scores: the same sum in another order.
const EQUAL: f32 = 1e-6;

/// A question as it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub vectors: Arc<dyn VectorSearch>,
    pub tenant: Tenant,
    pub vector: Arc<[f32]>,
    pub limit: usize,
    pub filter: Filter,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub recall: f64,
    /// What the index answered.
    pub answered: Vec<ResourceKey>,
    /// In the exact answer, and not even found with the most effort.
    pub missing: Vec<(ResourceKey, u32)>,
}

impl Asked {
    pub fn search(&self, effort: Effort) -> Result<Vec<Hit>> {
        let Effort { ef, rescore } = effort.answers(self.limit);
        self.vectors.search(&self.tenant, &self.exactly(ef, rescore))
    }

    fn exactly(&self, ef: usize, rescore: usize) -> Search<'_> {
        Search { vector: &self.vector, limit: self.limit, rescore, ef, filter: &self.filter }
    }

    /// `None`: there is nothing to find.
    pub fn compared(&self, effort: Effort) -> Result<Option<Compared>> {
        // What is written from here on is in one of the answers by chance.
        let reached = self.vectors.reached();
        let known = |hit: &Hit| reached.is_some_and(|at| hit.position.order() <= at.order());
        let near = self.search(effort)?;
        let exact = self.vectors.search_exact(&self.tenant, &self.exactly(0, 0))?;
        let exact: Vec<&Hit> = exact.iter().filter(|hit| known(hit)).collect();
        let Some(recall) = recall(&near, &exact) else { return Ok(None) };
        let missing = if recall < 1.0 { self.missing(&near, &exact)? } else { Vec::new() };
        let keys: HashSet<ResourceKey> = near.into_iter().map(|hit| hit.key).collect();
        Ok(Some(Compared { recall, answered: keys.into_iter().collect(), missing }))
    }

    fn missing(&self, near: &[Hit], exact: &[&Hit]) -> Result<Vec<(ResourceKey, u32)>> {
        let most = self.search(Effort::MOST)?;
        let is = |hit: &Hit, other: &Hit| hit.ordinal == other.ordinal && hit.key == other.key;
        let found = |hit: &Hit| near.iter().chain(&most).any(|other| is(hit, other));
        // The last of them may stand beside others with the same score.
        let last = most.last().map_or(f32::NEG_INFINITY, |hit| hit.score);
        let lost = exact.iter().filter(|hit| hit.score > last + EQUAL && !found(hit));
        Ok(lost.map(|hit| (hit.key.clone(), hit.ordinal)).collect())
    }
}

/// Which share of the exact answer was found. By scores: of several that are equally near, any is right.
#[expect(clippy::cast_precision_loss, reason = "a hundred answers at most")]
fn recall(near: &[Hit], exact: &[&Hit]) -> Option<f64> {
    let least = exact.last()?.score - EQUAL;
    let found = near.iter().filter(|hit| hit.score >= least).count().min(exact.len());
    Some(found as f64 / exact.len() as f64)
}
