//! The one write trait. Promises only what the weakest engine can keep.
//!
//! 1. `apply` is idempotent: a change below the position that its key carries does nothing, and a removed key carries
//!    the position of its removal as long as the copy remembers it (at least the latest 65,536); the same change again
//!    leaves the same objects, and mends what was damaged of them. No batch takes the copy's position back.
//! 2. Of one key, changes arrive in order (a batch may hold several; the last counts), perhaps more than once; between
//!    keys no order is promised.
//! 3. Once `apply` has returned, a `kill -9` or a power cut loses nothing up to the batch's position, and `position`
//!    after a restart is at least that.
//! 4. A change without objects removes the key: no read finds it afterwards.
//! 5. `digest` and `entries` are computed from what is held, not from what was said when it was applied.
//! 6. After `erase` no read and no file of the copy gives back anything of the subject.

use crate::{
    change::ChangeBatch,
    digest::{Entry, KeyRange, RangeDigest, of_range},
    text::TextSearch,
    vectors::VectorSearch,
};
use model::{Position, Result, Subject};
use std::{fmt, sync::Arc};

/// Calls block on files: make them where blocking is allowed.
pub trait Projection: Send + Sync + fmt::Debug {
    /// As users name it.
    fn name(&self) -> &'static str;
    /// Opens what is not open yet, and takes its time; until it has succeeded, `position` says nothing. May be called
    /// again and again.
    fn ready(&self) -> Result<()> {
        Ok(())
    }
    /// Which complete build of the copy this is.
    fn generation(&self) -> u64;
    /// How far this generation is durable; `None`: nothing yet.
    fn position(&self) -> Option<Position>;
    /// Keys and pieces that are known to be damaged, and are missing until they are applied again.
    fn damaged(&self) -> u64 {
        0
    }
    fn apply(&self, batch: &ChangeBatch) -> Result<()>;
    /// The keys of a range, sorted by (place, key).
    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>>;
    fn digest(&self, range: KeyRange) -> Result<RangeDigest> {
        Ok(of_range(&self.entries(range)?))
    }
    /// A new, empty generation beside this one, fed like any other and invisible to readers.
    fn begin(&self) -> Result<Arc<dyn Projection>>;
    /// Makes this generation the one that is opened from now on, durably and at once. Older ones are removed.
    fn adopt(&self) -> Result<()>;
    /// How many keys were removed.
    fn erase(&self, subject: &Subject) -> Result<u64>;
    /// The same generation as its readers see it, where vectors are what it holds.
    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        None
    }
    /// As its readers see it, where texts are what it holds.
    fn as_texts(self: Arc<Self>) -> Option<Arc<dyn TextSearch>> {
        None
    }
    /// What the record has and this copy never does, in words for `status`.
    fn leaves_out(&self) -> Option<&'static str> {
        None
    }
}
