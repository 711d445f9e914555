//! What a copy is fed with: changes of the record, shaped for it by the relay.

use model::{Class, Position, ResourceKey, Subject, Version};
use std::sync::Arc;

/// Consecutive changes: everything up to and with `through` that concerns this copy and came after the last batch.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The copy's position once this is applied; also when no change in between concerned it.
    pub through: Position,
    pub changes: Vec<CopyChange>,
}

/// The state of one key from this position on. It replaces every object of the key that the copy holds.
#[derive(Debug, Clone)]
pub struct CopyChange {
    pub position: Position,
    pub key: ResourceKey,
    pub version: Version,
    pub class: Class,
    pub subject: Subject,
    /// Empty: the key was deleted or erased, or has nothing for this copy.
    pub objects: Vec<Object>,
}

/// One object of a copy: a chunk's vector, a chunk's text, an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Within its key, from 0.
    pub ordinal: u32,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of length 1.
    Vector { model: Arc<str>, source: Arc<str>, values: Arc<[f32]> },
}
