//! The account: what the load was told, compared with what is there. Pure; the verdict can be had again from files.

use super::ackfile::{Line, Told};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Examples of each sort of finding; all are counted.
const NAMED: usize = 5;

/// One document of the load as the record shows it after recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The request that created it, from its marker.
    pub number: u64,
    pub id: String,
    pub version: u64,
    /// Everything that was sent is there, unchanged.
    pub whole: bool,
}

/// One version of a changed document, from its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundVersion {
    pub id: String,
    pub version: u64,
    /// The request that made it.
    pub number: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Writes that were acknowledged, durable in the load's own file.
    pub acknowledged: u64,
    /// Of them, found with the identity and version that was told.
    pub present: u64,
    pub lost: u64,
    /// Requests with more than one effect.
    pub duplicated: u64,
    /// Documents that are not what was sent.
    pub torn: u64,
    /// Positions, or versions of one key, that were told to two requests.
    pub forked: u64,
    /// Refused for good, and there nevertheless.
    pub refused_but_present: u64,
    /// Never answered; each may have happened or not.
    pub in_doubt: u64,
    pub in_doubt_present: u64,
    /// Some of each sort, in words.
    pub examples: Vec<String>,
}

impl Account {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.torn + self.forked + self.refused_but_present == 0
    }

    fn note(&mut self, sort: fn(&mut Self) -> &mut u64, what: impl FnOnce() -> String) {
        let count = sort(self);
        *count += 1;
        if *count <= NAMED as u64 {
            self.examples.push(what());
        }
    }
}

/// Everything known about one request.
#[derive(Debug, Default)]
struct Request<'l> {
    acknowledged: Option<&'l Line>,
    refused: bool,
    in_doubt: bool,
}

/// `lines` of one load against its documents and versions.
#[must_use]
pub fn account(lines: &[Line], documents: &[Found], versions: &[FoundVersion]) -> Account {
    let mut account = Account::default();
    let mut effects: HashMap<u64, Vec<(&str, u64)>> = HashMap::new();
    for found in documents {
        effects.entry(found.number).or_default().push((&found.id, 1));
        if !found.whole {
            account.note(
                |a| &mut a.torn,
                || format!("torn: {} of request {} is not what was sent", found.id, found.number),
            );
        }
    }
    for found in versions {
        effects.entry(found.number).or_default().push((&found.id, found.version));
    }
    let requests = requests(lines);
    for (number, request) in &requests {
        let effects = effects.get(number).map_or(&[][..], Vec::as_slice);
        judge(&mut account, *number, request, effects);
    }
    told_twice(&mut account, lines);
    account
}

fn requests(lines: &[Line]) -> BTreeMap<u64, Request<'_>> {
    let mut requests: BTreeMap<u64, Request<'_>> = BTreeMap::new();
    for line in lines {
        let request = requests.entry(line.number).or_default();
        match line.told {
            Told::Created | Told::Changed => request.acknowledged = Some(line),
            Told::InDoubt => request.in_doubt = true,
            Told::Refused => request.refused = true,
        }
    }
    requests
}

fn judge(account: &mut Account, number: u64, request: &Request<'_>, effects: &[(&str, u64)]) {
    if effects.len() > 1 {
        account.note(
            |a| &mut a.duplicated,
            || {
                let places: Vec<_> = effects.iter().take(4).map(|(id, version)| format!("{id}@{version}")).collect();
                format!("duplicated: request {number} is there {} times: {}", effects.len(), places.join(", "))
            },
        );
    }
    match request.acknowledged {
        Some(line) => {
            account.acknowledged += 1;
            if effects.iter().any(|effect| is_told(line, *effect)) {
                account.present += 1;
            } else {
                account.note(
                    |a| &mut a.lost,
                    || {
                        let id = line.id.as_deref().unwrap_or("?");
                        format!("lost: request {number}, acknowledged as {id} version {}", line.version.unwrap_or(0))
                    },
                );
            }
        }
        None if request.in_doubt => {
            account.in_doubt += 1;
            account.in_doubt_present += u64::from(!effects.is_empty());
        }
        None if request.refused && !effects.is_empty() => {
            let what = || format!("refused but present: request {number} as {}", effects[0].0);
            account.note(|a| &mut a.refused_but_present, what);
        }
        None => {}
    }
}

fn is_told(line: &Line, (id, version): (&str, u64)) -> bool {
    line.id.as_deref() == Some(id) && line.version.is_none_or(|told| told == version)
}

/// One position, or one version of a key, belongs to one request.
fn told_twice(account: &mut Account, lines: &[Line]) {
    let mut positions: HashMap<&str, u64> = HashMap::new();
    let mut versions: HashMap<(&str, u64), u64> = HashMap::new();
    let mut twice = BTreeSet::new();
    for line in lines.iter().filter(|line| line.told.is_acknowledged()) {
        if let Some(position) = line.position.as_deref()
            && *positions.entry(position).or_insert(line.number) != line.number
        {
            twice.insert(format!("forked: position {position} was told to two requests, {} is one", line.number));
        }
        if let (Some(id), Some(version)) = (line.id.as_deref(), line.version)
            && *versions.entry((id, version)).or_insert(line.number) != line.number
        {
            twice.insert(format!("forked: {id} version {version} was told to two requests, {} is one", line.number));
        }
    }
    account.forked = twice.len() as u64;
    account.examples.extend(twice.into_iter().take(NAMED));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(told: Told, number: u64, id: &str, version: u64, n: u64) -> Line {
        Line {
            told,
            number,
            attempt: 0,
            id: Some(id.into()),
            version: Some(version),
            position: Some(format!("0.1-00000000000000aa.{n}")),
            body_digest: 0,
            sent_us: 0,
            heard_us: 0,
        }
    }

    fn found(number: u64, id: &str) -> Found {
        Found { number, id: id.into(), version: 1, whole: true }
    }

    #[test]
    fn what_was_told_and_is_there_is_clean() {
        let lines = [
            line(Told::InDoubt, 1, "a", 1, 1),
            line(Told::Created, 1, "a", 1, 1),
            line(Told::Changed, 2, "a", 2, 2),
            line(Told::Refused, 3, "-", 1, 3),
            line(Told::InDoubt, 4, "-", 1, 4),
            line(Told::InDoubt, 5, "-", 1, 5),
        ];
        let versions = [FoundVersion { id: "a".into(), version: 2, number: 2 }];
        let account = account(&lines, &[found(1, "a"), found(5, "e")], &versions);
        assert!(account.is_clean(), "{account:?}");
        assert_eq!((account.acknowledged, account.present), (2, 2));
        assert_eq!((account.in_doubt, account.in_doubt_present), (2, 1));
    }

    #[test]
    fn every_sort_of_damage_is_found_and_named() {
        let lines = [
            line(Told::Created, 1, "a", 1, 1),
            line(Told::Created, 2, "b", 1, 2),
            line(Told::Created, 3, "c", 1, 2),
            line(Told::Refused, 4, "-", 1, 9),
            line(Told::Created, 5, "e", 1, 5),
            line(Told::Changed, 6, "e", 2, 6),
            line(Told::Changed, 7, "e", 2, 7),
        ];
        let mut torn = found(2, "b");
        torn.whole = false;
        let documents = [found(1, "other"), torn, found(3, "c"), found(3, "c2"), found(4, "d"), found(5, "e")];
        let versions = [FoundVersion { id: "e".into(), version: 2, number: 7 }];
        let account = account(&lines, &documents, &versions);
        assert_eq!(account.lost, 2, "request 1 has another identity, request 6 was overwritten: {account:?}");
        assert_eq!((account.torn, account.duplicated, account.refused_but_present), (1, 1, 1));
        assert_eq!(account.forked, 2, "one position and one version told twice");
        assert_eq!(account.examples.len(), 7);
        assert!(!account.is_clean());
    }
}
