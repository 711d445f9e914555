//! How lists and registers lie in configuration resources.
//!
//! A list has one of two forms, by its key. *Whole*: the document holds all elements, and an append is a
//! compare-and-set on the version. *Logged*: each append is a blind `put` of the new elements only, and the list is
//! the concatenation of all versions up to the one that was read; a `put` applied twice shows. A register is a blind
//! `put` of one value.

use super::history::Workload;
use adya::r#gen::TxnOp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Whole,
    Logged,
    Register,
}

impl Form {
    pub fn of(workload: Workload, key: i64) -> Self {
        match (workload, key % 2) {
            (Workload::RwRegister, _) => Self::Register,
            (Workload::ListAppend, 0) => Self::Whole,
            (Workload::ListAppend, _) => Self::Logged,
        }
    }

    /// Below the configuration namespace.
    pub fn id(self, key: i64) -> String {
        match self {
            Self::Whole => format!("isolation/whole.{key}"),
            Self::Logged => format!("isolation/logged.{key}"),
            Self::Register => format!("isolation/register.{key}"),
        }
    }
}

/// A key as it was seen. Version 0: there was nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub version: u64,
    pub elements: Vec<i64>,
}

impl Seen {
    /// One version of a resource as the server shows it; `null` where there was nothing.
    pub fn of(shown: &Value) -> Option<Self> {
        if shown.is_null() {
            return Some(Self::default());
        }
        Some(Self { version: shown["version"].as_u64()?, elements: elements(&shown["document"])? })
    }

    /// The list that a *logged* key was at a version, from its history.
    pub fn up_to(version: u64, history: &Value) -> Option<Self> {
        let mut seen = Self { version, elements: Vec::new() };
        for shown in history["versions"].as_array()? {
            if shown["version"].as_u64()? <= version {
                seen.elements.extend(elements(&shown["document"])?);
            }
        }
        Some(seen)
    }
}

fn elements(document: &Value) -> Option<Vec<i64>> {
    document["elements"].as_array()?.iter().map(Value::as_i64).collect()
}

pub fn document(elements: &[i64]) -> Value {
    json!({ "elements": elements })
}

pub fn key_of(step: &TxnOp) -> i64 {
    match *step {
        TxnOp::Append(key, _) | TxnOp::Write(key, _) | TxnOp::Read(key) => key,
    }
}

/// What is written, per key, in order. A register keeps its last value.
pub fn written(steps: &[TxnOp]) -> BTreeMap<i64, Vec<i64>> {
    let mut written: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for step in steps {
        match *step {
            TxnOp::Append(key, value) => written.entry(key).or_default().push(value),
            TxnOp::Write(key, value) => drop(written.insert(key, vec![value])),
            TxnOp::Read(_) => {}
        }
    }
    written
}

/// What each read of the transaction returned: what was there before it, and its own writes so far.
pub fn results(steps: &[TxnOp], before: &BTreeMap<i64, Seen>) -> Vec<Option<Vec<i64>>> {
    let mut now: BTreeMap<i64, Vec<i64>> = before.iter().map(|(key, seen)| (*key, seen.elements.clone())).collect();
    let mut results = Vec::with_capacity(steps.len());
    for step in steps {
        results.push(match *step {
            TxnOp::Append(key, value) => {
                now.entry(key).or_default().push(value);
                None
            }
            TxnOp::Write(key, value) => {
                now.insert(key, vec![value]);
                None
            }
            TxnOp::Read(key) => Some(now.get(&key).cloned().unwrap_or_default()),
        });
    }
    results
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_see_what_was_there_and_the_writes_before_them() {
        let steps = [TxnOp::Read(1), TxnOp::Append(1, 9), TxnOp::Read(1), TxnOp::Read(3), TxnOp::Append(1, 10)];
        let before = BTreeMap::from([(1, Seen { version: 2, elements: vec![7, 8] })]);
        let results = results(&steps, &before);
        assert_eq!(results, [Some(vec![7, 8]), None, Some(vec![7, 8, 9]), Some(vec![]), None]);
        assert_eq!(written(&steps), BTreeMap::from([(1, vec![9, 10])]));
        assert_eq!(written(&[TxnOp::Write(1, 1), TxnOp::Write(1, 2)]), BTreeMap::from([(1, vec![2])]));
    }

    #[test]
    fn a_logged_list_is_all_versions_up_to_the_one_read() {
        let version = |version, elements: &[i64]| json!({"version": version, "document": document(elements)});
        let history = json!({"versions": [version(1, &[5]), version(2, &[6, 7]), version(3, &[8])]});
        assert_eq!(Seen::up_to(2, &history).unwrap().elements, [5, 6, 7]);
        assert_eq!(Seen::up_to(0, &history).unwrap(), Seen::default());
        assert_eq!(Seen::of(&version(3, &[8])).unwrap(), Seen { version: 3, elements: vec![8] });
        assert_eq!(Seen::of(&Value::Null).unwrap(), Seen::default());
        assert_eq!(Seen::of(&json!({"version": 1, "state": "erased"})), None);
    }
}
