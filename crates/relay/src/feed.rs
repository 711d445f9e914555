//! States of the record on their way into a copy: opened, shaped, and written in batches that fit into memory.
//!
//! A document that cannot be read or shaped has no objects in a copy, and is counted and named: it holds up no other.

use crate::{Shaper, measures::Imports};
use ledger::{Change, ChangeAction, Content, Kept, Ledger, Resource};
use model::{Class, Error, ErrorKind, Position, ResourceKey, Result, Subject, Version};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use stores::{Body, ChangeBatch, CopyChange, Object, Projection};

/// Vectors of one batch.
const BATCH_BYTES: usize = 32 << 20;
/// Of the documents that are shaped together; one may be larger.
const OPEN_BYTES: usize = 256 << 10;
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

    pub(crate) fn open(&self, ledger: &Ledger) -> Result<Resource> {
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
    pub imports: Arc<Imports>,
}

impl Feed {
    /// What the copy should hold, in the order of the states. Several documents are open at a time, as many as are small.
    pub(crate) fn shaped<'f>(&'f self, states: &'f [State], unshaped: &'f mut Unshaped) -> Shaped<'f> {
        Shaped { feed: self, states, unshaped, ready: VecDeque::new() }
    }

    /// Applies changes. Those `in_order` are the log's: what is written of a batch that is parted carries its own
    /// position. Of rows in any order every part carries `through`.
    pub(crate) fn write(
        &self,
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
                self.apply(held, &ChangeBatch { through: reached, changes: std::mem::take(&mut batch) })?;
                bytes = 0;
            }
        }
        self.apply(held, &ChangeBatch { through, changes: batch })
    }

    fn apply(&self, held: &dyn Projection, batch: &ChangeBatch) -> Result<()> {
        let objects = batch.changes.iter().map(|change| change.objects.len()).sum();
        self.imports.timed(objects, || held.apply(batch))
    }

    fn settled(&self, state: &State, objects: Result<Vec<Object>>, unshaped: &mut Unshaped) -> Result<CopyChange> {
        match objects {
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
}

/// States on their way to objects.
#[derive(Debug)]
pub(crate) struct Shaped<'f> {
    feed: &'f Feed,
    states: &'f [State],
    unshaped: &'f mut Unshaped,
    ready: VecDeque<Result<CopyChange>>,
}

impl Shaped<'_> {
    fn more(&mut self) {
        let (mut opened, mut resources, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < OPEN_BYTES
            && let Some((state, rest)) = self.states.split_first()
        {
            self.states = rest;
            let unopened = match state.open(&self.feed.ledger) {
                Ok(resource) => {
                    bytes += match &resource.document {
                        Content::Clear(document) => document.len(),
                        Content::Erased | Content::Deleted => 0,
                    };
                    resources.push(resource);
                    None
                }
                Err(error) => Some(error),
            };
            opened.push((state, unopened));
        }
        let mut objects = self.feed.shaper.objects_of(&resources).into_iter();
        for (state, unopened) in opened {
            let missing = || Err(Error::bug("a document was shaped into nothing, not even no objects"));
            let objects = unopened.map_or_else(|| objects.next().unwrap_or_else(missing), Err);
            self.ready.push_back(self.feed.settled(state, objects, self.unshaped));
        }
    }
}

impl Iterator for Shaped<'_> {
    type Item = Result<CopyChange>;

    fn next(&mut self) -> Option<Result<CopyChange>> {
        if self.ready.is_empty() {
            self.more();
        }
        self.ready.pop_front()
    }
}

fn weight(change: &CopyChange) -> usize {
    let of = |body: &Body| match body {
        Body::Vector { values, .. } => size_of_val(&**values),
        Body::Text { text, .. } => text.len(),
    };
    256 + change.objects.iter().map(|object| of(&object.body)).sum::<usize>()
}
