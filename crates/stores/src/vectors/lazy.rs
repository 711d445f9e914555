//! The index as the server starts with it (see `crate::lazy`).

use super::{
    file::NAMING,
    index::{Basis, VectorIndex},
    search::{Explained, Hit, Search, Stats, VectorSearch},
};
use crate::{
    generations::Generations,
    lazy::{Engine, Lazy},
};
use model::{Position, Result, Tenant};
use std::{path::Path, sync::Arc, time::Duration};

pub type VectorCopy = Lazy<VectorIndex>;

impl Engine for VectorIndex {
    const NAME: &'static str = "vectors";
    type Basis = Basis;

    fn open(root: &Path, basis: &Basis) -> Result<Arc<Self>> {
        Self::open(root, basis)
    }
    fn beside(root: &Path, basis: &Basis) -> Result<Arc<Self>> {
        Self::beside(root, basis)
    }
    fn clear(root: &Path) -> Result<()> {
        Generations::make(root, &NAMING)?.sweep(&[])
    }
    fn vectors_of(copy: Arc<VectorCopy>) -> Option<Arc<dyn VectorSearch>> {
        Some(copy)
    }
}

impl VectorSearch for VectorCopy {
    fn search(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.fed()?.search(tenant, search)
    }
    fn search_exact(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.fed()?.search_exact(tenant, search)
    }

    fn reached(&self) -> Option<Position> {
        self.index(Duration::ZERO).ok()?.reached()
    }

    fn stats(&self) -> Stats {
        self.index(Duration::ZERO).map_or_else(
            |_| Stats {
                model: Arc::clone(&self.basis.model),
                dimensions: self.basis.dimensions,
                documents: 0,
                vectors: 0,
                tombstones: 0,
                damaged: 0,
                code_bytes: 0,
                resident_bytes: 0,
                disk_bytes: 0,
            },
            |index| index.stats(),
        )
    }

    fn explained(&self, tenant: Option<&Tenant>) -> Vec<Explained> {
        self.index(Duration::ZERO).map_or_else(|_| Vec::new(), |index| index.explained(tenant))
    }
}
