//! The gateway: every call takes `&Access`, is checked, audited, and only then answered.

use crate::{ChangePage, Group, ListQuery, Page, Receipt, Resource};
use model::{Access, Error, Kind, Position, ResourceKey, Result};
use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    Leader {
        epoch: u64,
    },
    /// Writes are answered with 307 and this address, when one is known.
    Follower {
        leader_url: Option<String>,
    },
}

/// A handle to the record; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    _inner: Arc<()>,
}

impl Ledger {
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership::Follower { leader_url: None }
    }
    /// Durable when it returns. Errors: `version-conflict`, `already-exists`, `not-found`, `precondition-failed`,
    /// `idempotency-mismatch`, `not-leader`, `subject-erased`, …
    pub async fn write(&self, access: &Access, group: Group) -> Result<Receipt> {
        let _ = (access, group);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// The current version, its access entry durable by class before this returns.
    pub async fn read(&self, access: &Access, key: &ResourceKey) -> Result<Option<Resource>> {
        let _ = (access, key);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    pub async fn list(&self, access: &Access, kind: Kind, query: &ListQuery) -> Result<Page> {
        let _ = (access, kind, query);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// All versions, oldest first, tombstones included.
    pub async fn history(&self, access: &Access, key: &ResourceKey) -> Result<Vec<Resource>> {
        let _ = (access, key);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Changes of the caller's tenant after a position (`None`: from the start), waiting up to `wait` for the first.
    pub async fn changes_after(
        &self,
        access: &Access,
        after: Option<Position>,
        limit: usize,
        wait: Duration,
    ) -> Result<ChangePage> {
        let _ = (access, after, limit, wait);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Waits until this server can answer from at least this position (read-your-writes), or fails with `position-timeout`.
    pub async fn wait_for(&self, position: Position, limit: Duration) -> Result<()> {
        let _ = (position, limit);
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
}
