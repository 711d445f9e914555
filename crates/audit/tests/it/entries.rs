//! Sample entries.

use audit::{AccessNote, Entry};
use model::{Class, Incarnation, Position, Shard};
use std::sync::Arc;

pub fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 0xaa }, n }
}

pub fn write(n: u64) -> Entry {
    Entry::Write {
        position: at(n),
        hlc: model::Hlc::from_micros(n).0,
        principal: "operator@north".into(),
        tenant: "north".into(),
        action: "create".into(),
        kind: 1,
        id: format!("intent-{n}"),
        version: 1,
        class: Class::Confidential,
        purpose: "operation".into(),
        content_tag: [u8::try_from(n % 251).unwrap(); 32],
    }
}

pub fn writes(numbers: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    numbers.map(write).collect()
}

pub fn act(text: &str) -> Entry {
    Entry::Act {
        hlc: 7,
        principal: "root".into(),
        tenant: "north".into(),
        action: "revoke".into(),
        outcome: "done".into(),
        detail: text.into(),
    }
}

pub fn note(class: Class, n: u64) -> AccessNote {
    let text = |text: &str| Arc::<str>::from(text);
    AccessNote { principal: text("reader"), tenant: text("north"), purpose: text("operation"), class, position: at(n) }
}
