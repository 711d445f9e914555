//! States of the record on their way into a copy: opened, shaped, and written in batches that fit into memory.
//!
//! A document that cannot be read or shaped has no objects in a copy, and is counted and named: it holds up no other.

use crate::Shaper;
use ledger::{Change, ChangeAction, Kept, Ledger, Resource};
use model::{Class, ErrorKind, Position, ResourceKey, Result, Subject, Version};
use std::{collections::BTreeMap, sync::Arc};
use stores::{Body, ChangeBatch, CopyChange, Entry, Projection, digest};

/// Vectors of one batch.
const BATCH_BYTES: usize = 32 << 20;
/// Documents without objects that are remembered; all are logged.
const UNSHAPED_MOST: usize = 10_000;

/// A state of a key: as a row, or as a change of the log.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Kept(Kept),
    Change(Change),
}

impl State {
    pub(crate) fn key(&self) -> &ResourceKey {
        match self {
            Self::Kept(kept) => &kept.key,
            Self::Change(change) => &change.key,
        }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        matches!(self, Self::Change(change) if change.action == ChangeAction::Deleted)
    }

    fn open(&self, ledger: &Ledger) -> Result<Resource> {
        match self {
            Self::Kept(kept) => ledger.open_kept(kept),
            Self::Change(change) => ledger.state_of(change),
        }
    }

    fn without_objects(&self) -> CopyChange {
        match self {
            Self::Kept(kept) => empty(&kept.key, kept.version, kept.position, kept.class),
            Self::Change(change) => empty(&change.key, change.version, change.position, change.class),
        }
    }
}

/// A key that the record does not have.
pub(crate) fn absent(key: &ResourceKey, position: Position) -> CopyChange {
    empty(key, 0, position, Class::Internal)
}

fn empty(key: &ResourceKey, version: Version, position: Position, class: Class) -> CopyChange {
    CopyChange { position, key: key.clone(), version, class, subject: Subject::of_tenant(&key.tenant), objects: vec![] }
}

/// Documents of which a copy holds nothing because they cannot be shaped, with the error's code.
pub(crate) type Unshaped = BTreeMap<ResourceKey, &'static str>;

/// Shapes states for one copy; meant for where blocking is allowed.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub ledger: Ledger,
    pub shaper: Arc<dyn Shaper>,
    pub copy: &'static str,
}

impl Feed {
    pub(crate) fn shaped(&self, state: &State, unshaped: &mut Unshaped) -> Result<CopyChange> {
        match state.open(&self.ledger).and_then(|resource| self.shaper.objects(&resource)) {
            Ok(objects) => {
                unshaped.remove(state.key());
                Ok(CopyChange { objects, ..state.without_objects() })
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => {
                let (key, code) = (state.key(), error.code());
                if unshaped.get(key) != Some(&code) {
                    tracing::error!(copy = self.copy, %key, code, "a document has nothing in this copy: {error}");
                    if unshaped.len() < UNSHAPED_MOST {
                        unshaped.insert(key.clone(), code);
                    }
                }
                Ok(state.without_objects())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn entry(&self, state: &State, unshaped: &mut Unshaped) -> Result<Entry> {
        Ok(digest::of_change(&self.shaped(state, unshaped)?))
    }
}

/// Applies changes. Those `in_order` are the log's: what is written of a batch that is parted carries its own position.
/// Of rows in any order every part carries `through`.
pub(crate) fn write(
    held: &dyn Projection,
    changes: impl Iterator<Item = Result<CopyChange>>,
    through: Position,
    in_order: bool,
) -> Result<()> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for change in changes {
        let change = change?;
        let reached = if in_order { change.position } else { through };
        bytes += weight(&change);
        batch.push(change);
        if bytes > BATCH_BYTES {
            held.apply(&ChangeBatch { through: reached, changes: std::mem::take(&mut batch) })?;
            bytes = 0;
        }
    }
    held.apply(&ChangeBatch { through, changes: batch })
}

fn weight(change: &CopyChange) -> usize {
    let of = |body: &Body| match body {
        Body::Vector { values, .. } => size_of_val(&**values),
    };
    256 + change.objects.iter().map(|object| of(&object.body)).sum::<usize>()
}
