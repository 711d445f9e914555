//! What clients asked for and what they were told, in the order in which it happened.
//!
//! Invocations and completions are written under one lock, so the order of the lines is a valid real-time order. A
//! process whose outcome is unknown is never used again: its transaction may still be running.

use adya::{
    r#gen::{Gen, GenOpts, Kind, Rng, TxnOp, op_line},
    run::Outcome,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Share of transactions that look at one of the last keys, also at those nobody writes any more: a server that was
/// left behind remembers these.
const BACKWARD_LOOKS: f64 = 0.25;
const BACKWARD: usize = 48;

/// Two ways to look at the same record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Every read shows the order of all appends before it.
    ListAppend,
    /// Blind writes of single values.
    RwRegister,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::ListAppend => "list-append",
            Self::RwRegister => "rw-register",
        }
    }

    /// Few hot keys, and new ones before their lists grow long.
    fn generator(self) -> GenOpts {
        match self {
            Self::ListAppend => {
                GenOpts { kind: Kind::ListAppend, key_count: 6, max_writes_per_key: 32, ..GenOpts::default() }
            }
            Self::RwRegister => {
                GenOpts { kind: Kind::RwRegister, key_count: 4, max_writes_per_key: 160, ..GenOpts::default() }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub ok: usize,
    pub fail: usize,
    pub info: usize,
}

pub struct Recorder {
    pub workload: Workload,
    began: Instant,
    log: Mutex<Log>,
}

struct Log {
    generator: Gen,
    random: Rng,
    next_index: usize,
    next_process: usize,
    text: String,
    counts: Counts,
    keys: BTreeSet<i64>,
    /// Why transactions failed or stayed unknown, and how often.
    reasons: BTreeMap<String, usize>,
}

impl Log {
    fn draw(&mut self) -> Vec<TxnOp> {
        if self.keys.is_empty() || !self.random.chance(BACKWARD_LOOKS) {
            return self.generator.txn();
        }
        let known = self.keys.len().min(BACKWARD);
        let back = usize::try_from(self.random.below(known as u64)).unwrap_or_default();
        self.keys.iter().rev().nth(back).map(|key| vec![TxnOp::Read(*key)]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({}, {:?})", self.workload.name(), self.counts())
    }
}

impl Recorder {
    pub fn new(workload: Workload, seed: u64) -> Self {
        let log = Log {
            generator: Gen::new(workload.generator(), seed),
            random: Rng::new(seed),
            next_index: 0,
            next_process: 0,
            text: String::new(),
            counts: Counts::default(),
            keys: BTreeSet::new(),
            reasons: BTreeMap::new(),
        };
        Self { workload, began: Instant::now(), log: Mutex::new(log) }
    }

    /// A process id nobody has used.
    pub fn process(&self) -> usize {
        let mut log = self.log.lock();
        log.next_process += 1;
        log.next_process - 1
    }

    /// Draws the next transaction and notes that it is asked for.
    pub fn invoke(&self, process: usize) -> Vec<TxnOp> {
        let mut log = self.log.lock();
        let steps = log.draw();
        self.note(&mut log, "invoke", process, &steps, &[]);
        steps
    }

    /// Notes that a given transaction is asked for.
    pub fn invoke_given(&self, process: usize, steps: &[TxnOp]) {
        self.note(&mut self.log.lock(), "invoke", process, steps, &[]);
    }

    pub fn complete(&self, process: usize, steps: &[TxnOp], outcome: &Outcome) {
        let mut log = self.log.lock();
        let (kind, reads, reason) = match outcome {
            Outcome::Ok(reads) => ("ok", reads.as_slice(), None),
            Outcome::Fail(why) => ("fail", &[][..], Some(format!("fail: {why}"))),
            Outcome::Info(why) => ("info", &[][..], Some(format!("info: {why}"))),
        };
        match kind {
            "ok" => log.counts.ok += 1,
            "fail" => log.counts.fail += 1,
            _ => log.counts.info += 1,
        }
        if let Some(reason) = reason {
            *log.reasons.entry(reason).or_default() += 1;
        }
        self.note(&mut log, kind, process, steps, reads);
    }

    fn note(&self, log: &mut Log, kind: &str, process: usize, steps: &[TxnOp], reads: &[Option<Vec<i64>>]) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let list = self.workload == Workload::ListAppend;
        log.text.push_str(&op_line(log.next_index, kind, process, nanos, steps, reads, list));
        log.next_index += 1;
        log.keys.extend(steps.iter().map(|step| match *step {
            TxnOp::Append(key, _) | TxnOp::Write(key, _) | TxnOp::Read(key) => key,
        }));
    }

    pub fn counts(&self) -> Counts {
        self.log.lock().counts
    }
    pub fn keys(&self) -> Vec<i64> {
        self.log.lock().keys.iter().copied().collect()
    }
    pub fn reasons(&self) -> BTreeMap<String, usize> {
        self.log.lock().reasons.clone()
    }
    /// JSON lines, as Elle and adya read them.
    pub fn text(&self) -> String {
        self.log.lock().text.clone()
    }
}
