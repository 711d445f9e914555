//! Where appends and reads wait for the writer: one mutex, no task and no allocation per read beyond its position.
//!
//! Everything that arrives while a group is being written joins the next one and waits on its `Flush`.

use crate::{
    clock, codec,
    counters::{Meters, add},
    entry::AccessNote,
    note::Checkpoint,
    records::Records,
};
use model::{Class, Error, Hlc, Position, Result};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

/// An access leaf covers at most this much time.
const WINDOW: Duration = Duration::from_millis(20);
const POSITIONS_PER_LEAF: usize = 1_024;
/// Bytes of principal, tenant and purpose together; with the positions a leaf stays far below its limit.
const MAX_READER: usize = 4_096;
/// Positions that may wait for the writer; more are refused rather than kept.
const MAX_WAITING: usize = 1 << 20;

/// How far a group must be before a read is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Waiting = 0,
    Written = 1,
    Durable = 2,
}

const FAILED: u8 = u8::MAX;

/// One group on its way to the disk, shared by all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Flush {
    stage: AtomicU8,
    written: Notify,
    durable: Notify,
    failure: OnceLock<String>,
}

impl Flush {
    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        self.written.notify_waiters();
        if stage == Stage::Durable {
            self.durable.notify_waiters();
        }
    }

    pub(crate) fn fail(&self, error: &Error) {
        let _ = self.failure.set(error.to_string());
        self.stage.store(FAILED, Ordering::Release);
        self.written.notify_waiters();
        self.durable.notify_waiters();
    }

    pub(crate) async fn wait(&self, stage: Stage) -> Result<()> {
        let notify = if stage == Stage::Durable { &self.durable } else { &self.written };
        loop {
            let notified = notify.notified();
            tokio::pin!(notified);
            // Registered before the look, so that no wake-up falls between.
            notified.as_mut().enable();
            match self.stage.load(Ordering::Acquire) {
                FAILED => {
                    let why = self.failure.get().map_or("the audit log cannot be written", String::as_str);
                    return Err(Error::retry("audit-unavailable", why));
                }
                reached if reached >= stage as u8 => return Ok(()),
                _ => notified.await,
            }
        }
    }
}

pub(crate) struct Append {
    pub records: Records,
    pub done: oneshot::Sender<Result<u64>>,
    pub permit: OwnedSemaphorePermit,
}

type Reader = (Arc<str>, Arc<str>, Arc<str>, Class);

pub(crate) struct Window {
    opened: Instant,
    hlc: u64,
    readers: HashMap<Reader, Vec<Position>>,
}

impl Window {
    /// The leaves of a window: per reader and at most 1,024 positions each.
    pub(crate) fn encode(self, records: &mut Records) -> Result<()> {
        for ((principal, tenant, purpose, class), mut positions) in self.readers {
            codec::sort(&mut positions);
            for chunk in positions.chunks(POSITIONS_PER_LEAF) {
                records.push(|out| {
                    codec::put_access(out, self.hlc, [&principal, &tenant, &purpose], class, chunk);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

/// What one group takes from the inbox.
#[derive(Default)]
pub(crate) struct Taken {
    pub appends: Vec<Append>,
    pub windows: Vec<Window>,
    pub publish: Vec<oneshot::Sender<Result<Checkpoint>>>,
    pub flush: Arc<Flush>,
    /// Some reader waits for durability.
    pub durable: bool,
    pub positions: usize,
    pub bytes: usize,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.windows.is_empty() && self.publish.is_empty()
    }
}

#[derive(Default)]
struct State {
    next: Taken,
    /// The last time stamped on a window.
    hlc: u64,
    closing: bool,
}

#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    meters: Arc<Meters>,
}

pub(crate) fn closed() -> Error {
    Error::retry("audit-unavailable", "the audit log is closed; nothing that needs an entry is released")
}

fn too_many() -> Error {
    Error::retry("audit-unavailable", "too many reads wait for their audit entry; try again")
}

fn reader_too_long(bytes: usize) -> Error {
    let message = "principal, tenant and purpose of a read have at most 4096 bytes together";
    Error::invalid("audit-entry-too-large", message).with("bytes", bytes)
}

impl Inbox {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self { meters, ..Self::default() }
    }

    fn put(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock();
        if state.closing {
            return Err(closed());
        }
        let was_empty = state.next.is_empty();
        change(&mut state);
        let wake = was_empty && !state.next.is_empty();
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(crate) fn append(&self, append: Append) -> Result<()> {
        self.put(|state| {
            state.next.bytes += append.records.bytes();
            state.next.appends.push(append);
        })
    }

    pub(crate) fn publish(&self, done: oneshot::Sender<Result<Checkpoint>>) -> Result<()> {
        self.put(|state| state.next.publish.push(done))
    }

    /// Notes reads; gives what to wait for, `None` when only public documents were read.
    pub(crate) fn note(&self, notes: impl IntoIterator<Item = AccessNote>) -> Result<Option<(Arc<Flush>, Stage)>> {
        let mut stage = Stage::Waiting;
        let mut public = 0;
        let mut waiting = None;
        let mut refused = None;
        self.put(|state| {
            for note in notes {
                let reader = note.principal.len() + note.tenant.len() + note.purpose.len();
                match note.class {
                    _ if reader > MAX_READER => refused = Some(reader_too_long(reader)),
                    Class::Public => public += 1,
                    _ if state.next.positions >= MAX_WAITING => refused = Some(too_many()),
                    class => {
                        stage = stage.max(if class == Class::Internal { Stage::Written } else { Stage::Durable });
                        state.add(note);
                    }
                }
            }
            state.next.durable |= stage == Stage::Durable;
            waiting = (stage > Stage::Waiting).then(|| Arc::clone(&state.next.flush));
        })?;
        add(&self.meters.public, public);
        if let Some(error) = refused {
            return Err(error);
        }
        Ok(waiting.map(|flush| (flush, stage)))
    }

    /// Blocks until there is something to do, `due` has come (an empty group), or the log closes (`None`). A group is
    /// taken no earlier than `pace`, so that a fast device does not make a group of every read.
    pub(crate) fn take(&self, pace: Instant, due: Option<Instant>) -> Option<Taken> {
        let mut state = self.state.lock();
        loop {
            let now = clock::now();
            let empty = state.next.is_empty();
            let deadline = if empty { due } else { Some(pace) };
            match deadline {
                _ if state.closing && empty => return None,
                _ if state.closing => break,
                Some(at) if at <= now => break,
                Some(at) => {
                    self.wake.wait_until(&mut state, at);
                }
                None => self.wake.wait(&mut state),
            }
        }
        Some(std::mem::take(&mut state.next))
    }

    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_all();
    }

    /// The writer has gone: what still waits will not be written.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        std::mem::take(&mut state.next).flush.fail(&closed());
    }
}

impl State {
    fn add(&mut self, note: AccessNote) {
        let now = clock::now();
        if self.next.windows.last().is_none_or(|window| now.duration_since(window.opened) > WINDOW) {
            self.hlc = Hlc(self.hlc).next(clock::wall_micros()).0;
            self.next.windows.push(Window { opened: now, hlc: self.hlc, readers: HashMap::new() });
        }
        if let Some(window) = self.next.windows.last_mut() {
            let reader = (note.principal, note.tenant, note.purpose, note.class);
            window.readers.entry(reader).or_default().push(note.position);
            self.next.positions += 1;
        }
    }
}
