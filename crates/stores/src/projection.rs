//! The one write trait. Promises only what the weakest engine can keep.
//!
//! 1. `apply` is idempotent: a change at or below the position that an object of its key carries does nothing.
//! 2. Of one key, changes arrive in order; between keys no order is promised.
//! 3. After `Applied::Durable(p)` a `kill -9` or a power cut loses nothing up to `p`; `position` after a restart is at
//!    least the last `Durable`.
//! 4. A change without objects removes the key: no read finds it afterwards, and its position is remembered as long as
//!    an older change of it could still arrive.
//! 5. `digest` and `entries` are computed from what is held, not from what was said when it was applied.
//! 6. `erase` leaves nothing of a subject that any read or file of the copy gives back.

use crate::{
    change::ChangeBatch,
    digest::{Entry, KeyRange, RangeDigest},
};
use futures_util::future::BoxFuture;
use model::{Position, Result, Subject};
use std::{fmt, path::Path};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// As the copy likes; durability may come with a later batch.
    Applied,
    /// Durable before the answer.
    Durable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Visible to reads up to here, durable up to an earlier position.
    Visible(Position),
    /// Durable up to here: the only thing that moves a copy's progress.
    Durable(Position),
}

/// One complete build of a copy. Rebuilds make the next one beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Generation(pub String);

pub trait Projection: Send + Sync + fmt::Debug {
    /// As users name it: `vectors`, `text`, `metrics`, a sink's name.
    fn name(&self) -> &str;
    /// How far this generation is durable; `None`: nothing yet.
    fn position(&self) -> BoxFuture<'_, Result<Option<Position>>>;
    fn apply(&self, batch: ChangeBatch, want: Want) -> BoxFuture<'_, Result<Applied>>;
    fn digest(&self, range: KeyRange) -> BoxFuture<'_, Result<RangeDigest>>;
    /// The keys of a range, sorted by (place, key). Call it on small ranges.
    fn entries(&self, range: KeyRange) -> BoxFuture<'_, Result<Vec<Entry>>>;
    /// A self-contained, durable image of this generation at its position, written below `directory`.
    fn seal<'a>(&'a self, at: Position, directory: &'a Path) -> BoxFuture<'a, Result<Generation>>;
    /// A new, empty generation beside this one, fed like any copy and invisible to reads until adopted.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Projection>>>;
    /// Makes a complete generation the one that reads see, atomically. The old one is kept until `discard`.
    fn adopt(&self, generation: &Generation) -> BoxFuture<'_, Result<()>>;
    fn discard(&self, generation: &Generation) -> BoxFuture<'_, Result<()>>;
    /// Which generation this is.
    fn generation(&self) -> Generation;
    fn erase<'a>(&'a self, subject: &'a Subject) -> BoxFuture<'a, Result<u64>>;
}
