//! What a drill found: for people, for programs, and to be had again from the files it saved.

use super::{
    account::{Account, Found, FoundVersion, account},
    ackfile,
    summary::Summary,
};
use ledger::read::{inspect::Inspection, reconcile::Reconciliation};
use model::{Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

/// Findings of one sort that are named; all are counted.
const NAMED: usize = 5;

/// One fault and what followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub round: u32,
    pub fault: String,
    pub processes: usize,
    /// Acknowledged in this round: since the fault before, or since the load began, until this fault.
    pub acknowledged: u64,
    /// Acknowledged until this fault, all rounds together.
    pub acknowledged_in_all: u64,
    /// From the fault to the first acknowledgement of a request that was sent after it, as the load heard it.
    pub achieved_recovery_ms: u64,
}

/// Whether the record holds together, read from the database itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub epoch: u64,
    pub head: u64,
    pub changes: u64,
    pub log_gaps: u64,
    pub log_duplicates: u64,
    pub torn_rows: u64,
    pub findings: Vec<String>,
}

/// Whether the audit is complete: log, `audit` and change log side by side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    pub through: u64,
    pub changes: u64,
    pub audit_rows: u64,
    pub leaves: u64,
    pub missing_or_different: u64,
    pub findings: Vec<String>,
}

/// One load process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub seed: u64,
    pub load: Summary,
    pub account: Account,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub drill: String,
    pub began: String,
    pub seed: u64,
    pub connections: usize,
    /// The fault that was built into the server on purpose, if any.
    pub seeded_bug: Option<String>,
    pub rounds: Vec<Round>,
    pub parts: Vec<Part>,
    pub record: Record,
    pub audit: Audit,
}

impl From<Inspection> for Record {
    fn from(found: Inspection) -> Self {
        let gaps = found
            .gaps
            .iter()
            .take(NAMED)
            .map(|(first, last)| format!("log gap: positions {first} to {last} are missing"));
        let torn = found.torn.iter().take(NAMED).map(|torn| format!("torn at position {}: {}", torn.n, torn.what));
        Self {
            epoch: found.epoch,
            head: found.head,
            changes: found.changes,
            log_gaps: found.missing,
            log_duplicates: found.duplicates,
            torn_rows: found.torn_in_all,
            findings: gaps.chain(torn).collect(),
        }
    }
}

impl From<Reconciliation> for Audit {
    fn from(found: Reconciliation) -> Self {
        let findings =
            found.findings.iter().map(|finding| format!("audit at position {}: {}", finding.n, finding.what));
        Self {
            through: found.through,
            changes: found.changes,
            audit_rows: found.audit_rows,
            leaves: found.leaves,
            missing_or_different: found.findings_in_all,
            findings: findings.collect(),
        }
    }
}

impl Report {
    /// Acknowledged until the last fault so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.rounds.last().map_or(0, |round| round.acknowledged_in_all)
    }

    /// Everything that is not as it must be, in words; empty when the drill passed.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for part in &self.parts {
            let a = &part.account;
            let sorts = [
                ("acknowledged writes lost", a.lost),
                ("requests duplicated", a.duplicated),
                ("documents torn", a.torn),
                ("positions or versions told to two requests", a.forked),
                ("refused requests present", a.refused_but_present),
            ];
            found.extend(sorts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{}: {what}: {n}", part.name)));
            found.extend(a.examples.iter().map(|example| format!("{}: {example}", part.name)));
            if a.acknowledged == 0 {
                found.push(format!("{}: nothing was acknowledged, so nothing was tested", part.name));
            }
        }
        let record = [
            ("log positions missing", self.record.log_gaps),
            ("log positions double", self.record.log_duplicates),
            ("rows torn", self.record.torn_rows),
            ("audit entries missing or different", self.audit.missing_or_different),
        ];
        found.extend(record.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("record: {what}: {n}")));
        found.extend(self.record.findings.iter().chain(&self.audit.findings).cloned());
        if self.audit.through < self.record.head {
            let behind = self.record.head - self.audit.through;
            found.push(format!("record: the audit log ends {behind} positions before the record does"));
        }
        found
    }

    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings().is_empty()
    }
}

const REPORT: &str = "report.json";

fn unusable(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::retry("drill-evidence-unusable", "the evidence of a drill cannot be read or written")
        .with("path", path.display())
        .caused_by(error)
}

/// Where a load keeps its acknowledgements inside the evidence.
#[must_use]
pub fn ack_file(directory: &Path, part: &str) -> std::path::PathBuf {
    directory.join(format!("{part}.acks"))
}

fn found_file(directory: &Path, part: &str) -> std::path::PathBuf {
    directory.join(format!("{part}.found.jsonl"))
}

fn versions_file(directory: &Path, part: &str) -> std::path::PathBuf {
    directory.join(format!("{part}.versions.jsonl"))
}

/// Saves what was found beside the file of acknowledgements.
pub fn save_found(directory: &Path, part: &str, documents: &[Found], versions: &[FoundVersion]) -> Result<()> {
    write_lines(&found_file(directory, part), documents)?;
    write_lines(&versions_file(directory, part), versions)
}

pub fn save(directory: &Path, report: &Report) -> Result<()> {
    let path = directory.join(REPORT);
    let text = serde_json::to_vec_pretty(report).map_err(|error| unusable(&path, error))?;
    fs::write(&path, text).map_err(|error| unusable(&path, error))
}

pub fn load(directory: &Path) -> Result<Report> {
    let path = directory.join(REPORT);
    let text = fs::read(&path).map_err(|error| unusable(&path, error))?;
    serde_json::from_slice(&text).map_err(|error| unusable(&path, error))
}

/// Makes every account again from the saved files. What differs from the report is named.
pub fn verify(directory: &Path) -> Result<(Report, Vec<String>)> {
    let report = load(directory)?;
    let mut differences = Vec::new();
    for part in &report.parts {
        let lines = ackfile::read(&ack_file(directory, &part.name))?;
        let documents: Vec<Found> = read_lines(&found_file(directory, &part.name))?;
        let versions: Vec<FoundVersion> = read_lines(&versions_file(directory, &part.name))?;
        let again = account(&lines, &documents, &versions);
        if again != part.account {
            let (then, now) = (&part.account, &again);
            differences.push(format!(
                "{}: the report says acknowledged {} present {} lost {} duplicated {}, the files say {} {} {} {}",
                part.name,
                then.acknowledged,
                then.present,
                then.lost,
                then.duplicated,
                now.acknowledged,
                now.present,
                now.lost,
                now.duplicated
            ));
        }
    }
    Ok((report, differences))
}

fn write_lines<T: Serialize>(path: &Path, items: &[T]) -> Result<()> {
    let written = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        for item in items {
            serde_json::to_writer(&mut out, item)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    written().map_err(|error| unusable(path, error))
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = File::open(path).map_err(|error| unusable(path, error))?;
    let lines = BufReader::new(file).lines();
    let item = |line: std::io::Result<String>| serde_json::from_str(&line?).map_err(std::io::Error::from);
    lines.map(item).collect::<std::io::Result<_>>().map_err(|error| unusable(path, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drill::ackfile::{Line, Told, Writer};

    fn saved(directory: &Path) -> Report {
        let writer = Writer::create(&ack_file(directory, "load")).unwrap();
        for number in 1..=3 {
            writer.put(Line {
                told: Told::Created,
                number,
                attempt: 0,
                id: Some(format!("id-{number}")),
                version: Some(1),
                position: None,
                body_digest: 0,
                sent_us: 0,
                heard_us: 0,
            });
        }
        writer.finish().unwrap();
        let documents: Vec<_> =
            (1..=3).map(|number| Found { number, id: format!("id-{number}"), version: 1, whole: true }).collect();
        save_found(directory, "load", &documents, &[]).unwrap();
        let lines = ackfile::read(&ack_file(directory, "load")).unwrap();
        let part = Part { name: "load".into(), account: account(&lines, &documents, &[]), ..Part::default() };
        let report = Report { drill: "kill-database".into(), parts: vec![part], ..Report::default() };
        save(directory, &report).unwrap();
        report
    }

    #[test]
    fn a_report_is_had_again_from_its_files_and_a_changed_file_shows() {
        let directory = tempfile::tempdir().unwrap();
        let report = saved(directory.path());
        assert!(report.passed(), "{:?}", report.findings());
        assert_eq!(verify(directory.path()).unwrap(), (report, Vec::new()));
        let path = found_file(directory.path(), "load");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let (_, differences) = verify(directory.path()).unwrap();
        assert!(differences[0].ends_with("the files say 3 2 1 0"), "{differences:?}");
    }

    #[test]
    fn a_drill_that_tested_nothing_has_not_passed() {
        let report = Report { parts: vec![Part::default()], ..Report::default() };
        assert_eq!(report.findings().len(), 1);
        let behind = Record { head: 5, ..Record::default() };
        let report = Report { record: behind, ..Report::default() };
        assert!(!report.passed());
    }
}
