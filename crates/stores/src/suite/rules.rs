//! The rules: each is one promise of `Projection`.

use super::{
    Backend, Broken, Log, SUBJECTS,
    log::{Dice, at},
    that,
};
use crate::{CopyChange, KeyRange, Projection, digest};
use model::Subject;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

pub type Rule = fn(&Backend, &Path) -> Result<(), Broken>;

pub const RULES: &[(&str, Rule)] = &[
    ("what was applied is held and its digests are the records", digests),
    ("the same again changes nothing from wherever it is replayed", replay),
    ("duplicates and mixed orders between keys end in the same", weak_delivery),
    ("an older change does nothing", older),
    ("a removed key stays removed", tombstones),
    ("a new generation is seen once it is adopted", adoption),
    ("a generation that is not adopted leaves nothing", abandoned),
    ("an erased subject is in no read and no file", erasure),
];

fn open(backend: &Backend, root: &Path) -> Result<Arc<dyn Projection>, Broken> {
    let copy = (backend.open)(root)?;
    copy.ready()?;
    Ok(copy)
}

fn fed(copy: &dyn Projection, log: &Log, size: usize) -> Result<(), Broken> {
    log.batches(0, size).iter().try_for_each(|batch| copy.apply(batch)).map_err(Broken::from)
}

/// Held now, and by whoever opens it next.
fn holds(backend: &Backend, root: &Path, copy: Arc<dyn Projection>, log: &Log, n: u64) -> Result<(), Broken> {
    same(&*copy, log, n)?;
    drop(copy);
    same(&*open(backend, root)?, log, n)
}

fn same(copy: &dyn Projection, log: &Log, n: u64) -> Result<(), Broken> {
    let (held, expected) = (copy.entries(KeyRange::ALL)?, log.entries(n));
    that(copy.position() == Some(at(n)), || format!("position {:?} instead of {n}", copy.position()))?;
    that(held == expected, || format!("at {n} it holds {held:?} instead of {expected:?}"))
}

fn digests(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, 60, 1)?);
    that(copy.position().is_none_or(|at| at.n == 0), || "an empty copy has a position".into())?;
    fed(&*copy, &log, 7)?;
    let expected = log.entries(60);
    for range in KeyRange::ALL.parts().into_iter().chain([KeyRange::ALL]) {
        let within = expected.iter().filter(|entry| range.contains(entry.place));
        that(copy.digest(range)? == digest::of_range(within), || format!("another digest of {range:?}"))?;
    }
    holds(backend, root, copy, &log, 60)
}

fn replay(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let log = Log::new(backend, 60, 2)?;
    fed(&*open(backend, root)?, &log, 9)?;
    for (from, size) in [(0, 60), (59, 1), (30, 4), (0, 1), (60, 5)] {
        let copy = open(backend, root)?;
        log.batches(from, size).iter().try_for_each(|batch| copy.apply(batch))?;
        holds(backend, root, copy, &log, 60)?;
    }
    Ok(())
}

fn weak_delivery(backend: &Backend, root: &Path) -> Result<(), Broken> {
    for seed in 0..6 {
        let place = root.join(seed.to_string());
        fs::create_dir_all(&place)?;
        let (log, mut dice) = (Log::new(backend, 80, 30 + seed)?, Dice(seed));
        let mut copy = open(backend, &place)?;
        for batch in log.weakly(seed) {
            copy.apply(&batch)?;
            if dice.below(8) == 0 {
                drop(copy);
                copy = open(backend, &place)?;
            }
        }
        holds(backend, &place, copy, &log, 80)?;
    }
    Ok(())
}

/// Every state that was once passed, singly, after the last one.
fn older(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, 50, 4)?);
    fed(&*copy, &log, 50)?;
    for batch in log.batches(0, 1) {
        copy.apply(&batch)?;
        same(&*copy, &log, 50)?;
    }
    holds(backend, root, copy, &log, 50)
}

fn tombstones(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, mut log) = (open(backend, root)?, Log::new(backend, 40, 5)?);
    fed(&*copy, &log, 8)?;
    let living: Vec<CopyChange> = log.changes.clone();
    for change in living {
        let n = log.changes.len() as u64 + 1;
        log.changes.push(CopyChange { position: at(n), version: change.version + 100, objects: Vec::new(), ..change });
    }
    log.batches(40, 3).iter().try_for_each(|batch| copy.apply(batch))?;
    that(copy.entries(KeyRange::ALL)?.is_empty(), || "a removed key is still held".into())?;
    copy.apply(&log.batches(0, 40)[0])?;
    holds(backend, root, copy, &log, 80)
}

fn adoption(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, 60, 6)?);
    log.batches(0, 5).iter().take(6).try_for_each(|batch| copy.apply(batch))?;
    let fresh = copy.begin()?;
    that(fresh.generation() != copy.generation(), || "a new generation has the number of the old one".into())?;
    that(fresh.entries(KeyRange::ALL)?.is_empty(), || "a new generation is not empty".into())?;
    fed(&*fresh, &log, 11)?;
    same(&*copy, &log, 30)?;
    fresh.adopt()?;
    let generation = fresh.generation();
    drop(copy);
    holds(backend, root, fresh, &log, 60)?;
    that(open(backend, root)?.generation() == generation, || "another generation than the adopted one is opened".into())
}

fn abandoned(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, 30, 7)?);
    fed(&*copy, &log, 30)?;
    let before = files(root)?;
    for _ in 0..3 {
        // Half of it: who opens it by mistake holds less.
        copy.begin()?.apply(&log.batches(0, 10)[0])?;
    }
    let after = files(root)?;
    that(before.len() == after.len(), || format!("{} files became {}", before.len(), after.len()))?;
    holds(backend, root, copy, &log, 30)
}

fn erasure(backend: &Backend, root: &Path) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, 60, 8)?);
    fed(&*copy, &log, 6)?;
    let subjects: Vec<Subject> = log
        .changes
        .iter()
        .map(|change| &change.subject)
        .filter(|of| of.as_str().contains(SUBJECTS[1]))
        .cloned()
        .collect();
    for subject in &subjects {
        copy.erase(subject)?;
    }
    let of = |entry: &crate::Entry| {
        log.changes.iter().any(|change| change.key == entry.key && subjects.contains(&change.subject))
    };
    let expected: Vec<_> = log.entries(60).into_iter().filter(|entry| !of(entry)).collect();
    for copy in [copy, open(backend, root)?] {
        that(copy.entries(KeyRange::ALL)? == expected, || "more or less than the subject is gone".into())?;
        that(copy.position() == Some(at(60)), || "an erasure changes the position".into())?;
    }
    let told =
        files(root)?.iter().any(|bytes| bytes.windows(SUBJECTS[1].len()).any(|found| found == SUBJECTS[1].as_bytes()));
    that(!told, || "the subject is still in a file".into())
}

fn files(root: &Path) -> Result<Vec<Vec<u8>>, Broken> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(fs::read(path)?) }
    }
    Ok(found)
}

/// Changes of the log that `kill_9_check` feeds: more than a round gets through.
const ENDLESS: u64 = 4_000;

/// The child of `kill_9_check`: goes on where the copy is, and says each position that `apply` has acknowledged.
pub fn write_until_killed(backend: &Backend, root: &Path, mut told: impl Write) -> Result<(), Broken> {
    let (copy, log) = (open(backend, root)?, Log::new(backend, ENDLESS, 9)?);
    for batch in log.batches(copy.position().map_or(0, |at| at.n), 3) {
        copy.apply(&batch)?;
        writeln!(told, "applied {}", batch.through.n)?;
        told.flush()?;
    }
    Ok(())
}

/// Kills a writer in the middle, again and again: what it acknowledged is there, and going on ends in the same.
/// `child` is a command that calls `write_until_killed` for this backend and directory.
pub fn kill_9_check(backend: &Backend, root: &Path, child: impl Fn() -> Command) -> Result<(), Broken> {
    let log = Log::new(backend, ENDLESS, 9)?;
    let mut acknowledged = 0;
    for round in 1..=4 {
        let mut running = child().stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let output = running.stderr.take().ok_or_else(|| Broken("a child without an output".into()))?;
        let mut lines = BufReader::new(output).lines();
        let mut seen = 0;
        while seen < round * 5 {
            let line = lines.next().ok_or_else(|| Broken("the writer ended before it was killed".into()))??;
            if let Some(n) = line.split_once("applied ").and_then(|(_, n)| n.parse().ok()) {
                (acknowledged, seen) = (n, seen + 1);
            }
        }
        running.kill()?;
        // What it still said before it died counts as well.
        let more = lines.map_while(Result::ok).filter_map(|line| line.split_once("applied ")?.1.parse().ok());
        acknowledged = more.fold(acknowledged, u64::max);
        running.wait()?;
        let copy = open(backend, root)?;
        let position = copy.position().map_or(0, |at| at.n);
        that(position >= acknowledged, || format!("{acknowledged} was acknowledged, {position} is left"))?;
        let held = copy.entries(KeyRange::ALL)?;
        let lost = log.entries(position).into_iter().find(|wanted| {
            // A batch that was not acknowledged may be there in part.
            let later = log.changes.iter().any(|change| {
                change.key == wanted.key && change.position.n > position && change.position.n <= position + 3
            });
            !later && !held.contains(wanted)
        });
        that(lost.is_none(), || format!("{lost:?} is lost"))?;
    }
    let copy = open(backend, root)?;
    let from = copy.position().map_or(0, |at| at.n);
    let end = from + 30;
    let rest = Log { changes: log.changes.iter().filter(|change| change.position.n <= end).cloned().collect() };
    rest.batches(from, 3).iter().try_for_each(|batch| copy.apply(batch))?;
    holds(backend, root, copy, &rest, end)
}
