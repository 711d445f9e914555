//! The account of an import: every document is imported, skipped or refused, and each refusal has a place and a reason.

use super::source::Place;
use crate::output::printable;
use model::Error;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Display};

/// Refusals kept for the summary; all of them are told on stderr as they happen.
const KEPT: usize = 1_000;

/// What became of one document.
#[derive(Debug)]
pub enum Fate {
    Imported,
    /// It was there already: imported earlier, or twice in the input.
    Skipped,
    Refused(Error),
}

/// So many refusals of one reason are told one by one, the others together: a wrong option would fill the screen.
const TOLD: u64 = 10;
/// Reasons that are told apart; what comes after is told one by one.
const REASONS: usize = 1_000;

/// Counts refusals that read alike.
#[derive(Debug, Default)]
pub struct Alike(BTreeMap<String, u64>);

impl Alike {
    /// The line for one refusal, unless enough like it were told.
    pub fn line(&mut self, place: impl Display, error: &Error) -> Option<String> {
        let reason = format!("{}: {}", error.code(), printable(&error.to_string()));
        let line = format!("{place}: {reason}");
        if self.0.len() >= REASONS && !self.0.contains_key(&reason) {
            return Some(line);
        }
        let count = self.0.entry(reason).or_default();
        *count += 1;
        (*count <= TOLD).then_some(line)
    }

    /// What was not told one by one.
    #[must_use]
    pub fn rest(&self) -> Vec<String> {
        let more = self.0.iter().filter(|(_, count)| **count > TOLD);
        more.map(|(reason, count)| format!("… and {} more: {reason}", count - TOLD)).collect()
    }
}

#[derive(Debug, Default)]
pub struct Account {
    pub imported: u64,
    pub skipped: u64,
    pub refused: u64,
    refusals: Vec<Value>,
    stopped: Option<Value>,
    pub alike: Alike,
}

impl Account {
    /// Counts one document; gives the line to tell when it was refused.
    pub fn count(&mut self, place: &Place, fate: Fate) -> Option<String> {
        match fate {
            Fate::Imported => self.imported += 1,
            Fate::Skipped => self.skipped += 1,
            Fate::Refused(error) => {
                self.refused += 1;
                if self.refusals.len() < KEPT {
                    let at = place.to_string();
                    self.refusals.push(json!({ "place": at, "code": error.code(), "reason": error.to_string() }));
                }
                return self.alike.line(place, &error);
            }
        }
        None
    }

    #[must_use]
    pub fn words(&self) -> String {
        format!("imported {}, skipped {}, refused {}", self.imported, self.skipped, self.refused)
    }

    /// What kept the rest from being imported.
    pub fn stop(&mut self, error: &Error) {
        self.stopped = Some(json!({ "code": error.code(), "reason": error.to_string() }));
    }

    #[must_use]
    pub fn value(&self, seconds: f64) -> Value {
        json!({
            "imported": self.imported,
            "skipped": self.skipped,
            "refused": self.refused,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "refusals": self.refusals,
            "refusals_complete": self.refused as usize == self.refusals.len(),
            "stopped": self.stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_document_is_counted_and_a_refusal_is_told_with_its_place() {
        let mut account = Account::default();
        let place = Place::Line(Path::new("a.jsonl").into(), 7);
        assert_eq!(account.count(&place, Fate::Imported), None);
        assert_eq!(account.count(&place, Fate::Skipped), None);
        let line = account.count(&place, Fate::Refused(Error::invalid("name-malformed", "no\u{1b}")));
        assert_eq!(line.as_deref(), Some("a.jsonl:7: name-malformed: no\\u{1b}"));
        assert_eq!(account.words(), "imported 1, skipped 1, refused 1");
        assert_eq!(account.value(1.0)["refusals"][0]["place"], "a.jsonl:7");
    }

    #[test]
    fn many_refusals_of_one_reason_are_told_together() {
        let mut alike = Alike::default();
        let told = (0..1_990).filter_map(|at| alike.line(at, &Error::invalid("class-unknown", "no"))).count();
        assert!(alike.line("b", &Error::invalid("json-malformed", "no")).is_some());
        assert_eq!((told, alike.rest()), (10, vec!["… and 1980 more: class-unknown: no".to_owned()]));
    }
}
