//! The conformance suite on every embedded backend, and on broken ones: a suite that cannot fail proves nothing.

use crate::made::{MODEL, basis, vector};
use model::{Class, ErrorKind, Position, Result, Subject};
use std::{env, fs, path::Path, process::Command, sync::Arc, time::Duration};
use stores::{
    Body, ChangeBatch, Entry, KeyRange, Object, Projection,
    faulty::{Call, Fault, Faulty, Script},
    suite::{self, Backend, Log},
    text::{TextCopy, TextIndex},
    vectors::{VectorCopy, VectorIndex},
};

fn objects(seed: u64) -> Vec<Object> {
    let object = |ordinal| {
        let values = vector(seed * 7 + u64::from(ordinal));
        Object { ordinal, body: Body::Vector { model: MODEL.into(), source: "suite".into(), values } }
    };
    (0..=(seed % 3) as u32).map(object).collect()
}

const CLASSES: [Class; 2] = [Class::Internal, Class::Confidential];
const VECTORS: Backend =
    Backend { name: "vectors", open: |root| Ok(VectorIndex::open(root, &basis())?), objects, classes: CLASSES };
const VECTORS_LATER: Backend = Backend { open: |root| Ok(VectorCopy::new(root, basis())), ..VECTORS };

fn texts(seed: u64) -> Vec<Object> {
    let object = |ordinal| {
        let text = format!("Runbook {seed}\nPart {ordinal}\nthe cell of slice {} has word{}", seed % 7, seed * 31);
        Object { ordinal, body: Body::Text { source: "suite".into(), text: text.into() } }
    };
    (0..=(seed % 3) as u32).map(object).collect()
}

const TEXT: Backend = Backend {
    name: "text",
    open: |root| Ok(TextIndex::open(root)?),
    objects: texts,
    classes: [Class::Public, Class::Internal],
};
const TEXT_LATER: Backend = Backend { open: |root| Ok(TextCopy::new(root, ())), ..TEXT };

fn broken(backend: &Backend) -> Vec<(&'static str, suite::Broken)> {
    let root = tempfile::tempdir().unwrap();
    suite::run(backend, root.path()).unwrap()
}

#[test]
fn the_vector_index_keeps_what_a_copy_promises() {
    for backend in [&VECTORS, &VECTORS_LATER] {
        assert_eq!(broken(backend), []);
    }
}

#[test]
fn the_text_index_keeps_what_a_copy_promises() {
    assert_eq!(broken(&TEXT_LATER), []);
}

/// Where a child finds the directory that it writes to until it is killed.
const WRITES_TO: &str = "STORES_SUITE_WRITES_TO";

/// In a child it writes; `name` is the test's own.
fn killed(backend: &Backend, name: &str) {
    if let Some(root) = env::var_os(WRITES_TO) {
        suite::write_until_killed(backend, Path::new(&root), std::io::stderr()).unwrap();
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let child = || {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(WRITES_TO, root.path());
        command
    };
    suite::kill_9_check(backend, root.path(), child).unwrap();
}

#[test]
fn the_vector_index_loses_nothing_acknowledged_to_kill_9() {
    killed(&VECTORS, "conformance::the_vector_index_loses_nothing_acknowledged_to_kill_9");
}

#[test]
fn the_text_index_loses_nothing_acknowledged_to_kill_9() {
    killed(&TEXT, "conformance::the_text_index_loses_nothing_acknowledged_to_kill_9");
}

/// A copy with one promise broken.
#[derive(Debug)]
struct Lying(Arc<dyn Projection>, Lie);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    /// Says a batch was applied that was not.
    DropsABatch,
    /// Keeps what was removed.
    ForgetsRemovals,
    /// Says an erasure was done.
    ErasesNothing,
    /// Every change counts, however old.
    TakesOlder,
    /// A new generation takes the old one's place before it is adopted.
    AdoptsAtOnce,
}

impl Projection for Lying {
    fn name(&self) -> &'static str {
        "lying"
    }
    fn generation(&self) -> u64 {
        self.0.generation()
    }
    fn position(&self) -> Option<Position> {
        self.0.position()
    }
    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        let mut batch = batch.clone();
        match self.1 {
            Lie::DropsABatch if batch.through.n.is_multiple_of(4) => batch.changes.clear(),
            Lie::ForgetsRemovals => batch.changes.retain(|change| !change.objects.is_empty()),
            Lie::TakesOlder => {
                let newest = self.position().map_or(0, |at| at.n);
                for change in &mut batch.changes {
                    change.position.n = change.position.n.max(newest);
                }
            }
            _ => {}
        }
        self.0.apply(&batch)
    }
    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        self.0.entries(range)
    }
    fn begin(&self) -> Result<Arc<dyn Projection>> {
        let fresh = self.0.begin()?;
        if self.1 == Lie::AdoptsAtOnce {
            fresh.adopt()?;
        }
        Ok(Arc::new(Self(fresh, self.1)))
    }
    fn adopt(&self) -> Result<()> {
        self.0.adopt()
    }
    fn erase(&self, subject: &Subject) -> Result<u64> {
        if self.1 == Lie::ErasesNothing { Ok(1) } else { self.0.erase(subject) }
    }
}

fn lying(root: &Path, lie: Lie) -> Result<Arc<dyn Projection>> {
    Ok(Arc::new(Lying(VectorIndex::open(root, &basis())?, lie)))
}

#[test]
fn the_suite_names_the_promise_that_is_broken() {
    type Open = fn(&Path) -> Result<Arc<dyn Projection>>;
    let open: [(Open, &str); 5] = [
        (|root| lying(root, Lie::DropsABatch), "what was applied is held"),
        (|root| lying(root, Lie::ForgetsRemovals), "a removed key stays removed"),
        (|root| lying(root, Lie::ErasesNothing), "an erased subject"),
        (|root| lying(root, Lie::TakesOlder), "an older change does nothing"),
        (|root| lying(root, Lie::AdoptsAtOnce), "a generation that is not adopted"),
    ];
    for (open, name) in open {
        let broken = broken(&Backend { name: "lying", open, ..VECTORS });
        assert!(broken.iter().any(|(rule, _)| rule.starts_with(name)), "{name}: {broken:?}");
    }
}

#[test]
fn a_fault_comes_once_where_the_script_says() {
    let root = tempfile::tempdir().unwrap();
    let script = Arc::new(Script::default());
    let copy = Faulty::new(VectorIndex::open(root.path(), &basis()).unwrap(), &script);
    let log = Log::new(&VECTORS, 20, 1).unwrap();
    let batches = log.batches(0, 4);
    for fault in [Fault::Reject(ErrorKind::Retry), Fault::FailAfter(ErrorKind::Corrupt), Fault::Drop] {
        script.add(Call::Apply, fault);
    }
    script.add(Call::Erase, Fault::Slow(Duration::from_millis(1)));
    assert_eq!(copy.apply(&batches[0]).unwrap_err().kind(), ErrorKind::Retry);
    assert_eq!(copy.position(), None);
    assert_eq!(copy.apply(&batches[0]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(copy.position(), Some(batches[0].through));
    copy.apply(&batches[1]).unwrap();
    assert_eq!(copy.position(), Some(batches[0].through));
    copy.apply(&batches[1]).unwrap();
    assert_eq!((copy.position(), script.left()), (Some(batches[1].through), 1));
    script.add(Call::Apply, Fault::Hold);
    let held = Arc::clone(&copy);
    let third = batches[2].clone();
    let applied = std::thread::spawn(move || held.apply(&third));
    while script.left() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(copy.position(), Some(batches[1].through));
    script.release();
    applied.join().unwrap().unwrap();
    assert_eq!(copy.position(), Some(batches[2].through));
    // A generation that it begins follows the same script.
    script.add(Call::Adopt, Fault::Reject(ErrorKind::Retry));
    assert!(copy.begin().unwrap().adopt().is_err());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}
