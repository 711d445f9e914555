//! What a copy is fed with: changes of the record, shaped for it by the relay.

use model::{Class, Position, ResourceKey, Subject, Version};
use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

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
    /// What is found by its words: title, headings and text.
    Text { source: Arc<str>, text: Arc<str> },
}

/// Of changes of one key in a batch the last counts; of equal positions, the one that comes later.
pub(crate) fn last_of_each(changes: &[CopyChange]) -> Vec<&CopyChange> {
    let (mut last, mut places) =
        (Vec::<&CopyChange>::with_capacity(changes.len()), HashMap::<&ResourceKey, usize>::new());
    for change in changes {
        match places.entry(&change.key) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(last.len());
                last.push(change);
            }
            hash_map::Entry::Occupied(known) => {
                let known = &mut last[*known.get()];
                if known.position.order() <= change.position.order() {
                    *known = change;
                }
            }
        }
    }
    last
}
