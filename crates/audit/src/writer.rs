//! The one thread that owns the files: takes a group, writes it, syncs it when somebody waits for that, wakes all.

use crate::{
    clock,
    counters::{Meters, add},
    inbox::{Append, Inbox, Stage, Taken},
    note::Checkpoint,
    records::Records,
    store::Store,
    track::WriteTrack,
};
use model::{Error, Result};
use parking_lot::{Mutex, RwLock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// After a group that was synced the next one begins at least this much later.
const PACE_SYNCED: Duration = Duration::from_millis(2);
/// After one that was only written (RECORD 10: internal reads are released then): a write costs little.
const PACE_WRITTEN: Duration = Duration::from_micros(100);
/// From the first entry that no checkpoint covers to the checkpoint: with its own time this stays under a second.
const PUBLISH_AFTER: Duration = Duration::from_millis(800);

/// What others see of the log: durable things only.
pub(crate) struct Status {
    pub size: AtomicU64,
    pub grown: watch::Sender<u64>,
    pub track: Mutex<WriteTrack>,
    pub checkpoint: RwLock<(Checkpoint, String)>,
    /// The last failure, when nothing succeeded after it.
    pub failing: Mutex<Option<(Instant, &'static str, String)>>,
}

pub(crate) struct Writer {
    pub store: Store,
    pub inbox: Arc<Inbox>,
    pub status: Arc<Status>,
    pub meters: Arc<Meters>,
    pub failing: bool,
}

/// However the thread ends, nobody waits for ever.
struct Abandon(Arc<Inbox>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

type Waiter = (usize, oneshot::Sender<Result<u64>>, tokio::sync::OwnedSemaphorePermit);

impl Writer {
    pub(crate) fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.inbox));
        let mut pace = clock::now();
        let mut due: Option<Instant> = None;
        while let Some(mut taken) = self.inbox.take(pace, due) {
            let began = clock::now();
            let publish = std::mem::take(&mut taken.publish);
            pace = began + if self.flush(taken) { PACE_SYNCED } else { PACE_WRITTEN };
            if !publish.is_empty() || due.is_some_and(|due| due <= clock::now()) {
                self.publish(publish);
                due = None;
            }
            if self.store.tree.size() > self.store.publisher.published() {
                due = due.or(Some(began + PUBLISH_AFTER));
            }
        }
        self.publish(Vec::new());
    }

    /// Whether it asked for a sync.
    fn flush(&mut self, taken: Taken) -> bool {
        if taken.appends.is_empty() && taken.windows.is_empty() {
            return false;
        }
        let needs_sync = taken.durable || !taken.appends.is_empty();
        let mut records = Records::default();
        let waiters = self.gather(taken.appends, &mut records);
        let encoded = taken.windows.into_iter().try_for_each(|window| window.encode(&mut records));
        // After a failure what is behind must be durable first, so that a long outage gathers nothing in memory.
        let ready = if self.failing { self.store.sync() } else { Ok(()) };
        let written = ready.and(encoded).and_then(|()| self.store.write(&records));
        if written.is_ok() {
            add(&self.meters.positions, taken.positions);
            add(&self.meters.flushes, 1);
            taken.flush.reach(Stage::Written);
        }
        let durable = match written {
            Ok(first) if needs_sync => self.store.sync().map(|()| first),
            other => other,
        };
        match &durable {
            Ok(first) if needs_sync => {
                self.show();
                for (offset, done, _permit) in waiters {
                    let _ = done.send(Ok(first + offset as u64));
                }
                taken.flush.reach(Stage::Durable);
            }
            Ok(_) => {}
            Err(error) => {
                self.note_failure(Some(error));
                taken.flush.fail(error);
                for (_, done, _permit) in waiters {
                    let _ = done.send(Err(Error::new(error.kind(), error.code(), error.to_string())));
                }
            }
        }
        if durable.is_ok() {
            let settled = if needs_sync { self.store.settle() } else { Ok(()) };
            self.note_failure(settled.err().as_ref());
        }
        needs_sync
    }

    /// Checks each append against the track; one that does not follow is refused alone.
    fn gather(&self, appends: Vec<Append>, records: &mut Records) -> Vec<Waiter> {
        let mut waiters = Vec::with_capacity(appends.len());
        let mut track = self.store.track.clone();
        for Append { records: more, done, permit } in appends {
            let mut after = track.clone();
            match more.steps().iter().try_for_each(|(_, step)| after.take(*step)) {
                Ok(()) => {
                    track = after;
                    waiters.push((records.count(), done, permit));
                    records.extend(&more);
                }
                Err(error) => {
                    let _ = done.send(Err(error));
                }
            }
        }
        waiters
    }

    /// Everything in the tree is durable: let others see it.
    fn show(&self) {
        let size = self.store.tree.size();
        *self.status.track.lock() = self.store.track.clone();
        self.status.size.store(size, Ordering::Release);
        self.status.grown.send_replace(size);
    }

    fn publish(&mut self, waiters: Vec<oneshot::Sender<Result<Checkpoint>>>) {
        let grown = self.store.tree.size() > self.store.publisher.published();
        let published = if grown { self.store.publish() } else { Ok(self.status.checkpoint.read().clone()) };
        if let Ok((checkpoint, text)) = &published {
            *self.status.checkpoint.write() = (checkpoint.clone(), text.clone());
            self.show();
        }
        self.note_failure(published.as_ref().err());
        for done in waiters {
            let answer = match &published {
                Ok((checkpoint, _)) => Ok(checkpoint.clone()),
                Err(error) => Err(Error::new(error.kind(), error.code(), error.to_string())),
            };
            let _ = done.send(answer);
        }
    }

    /// One line when trouble begins and one when it ends, however many groups fail between.
    fn note_failure(&mut self, error: Option<&Error>) {
        match error {
            Some(error) => {
                add(&self.meters.failures, 1);
                *self.status.failing.lock() = Some((clock::now(), error.code(), error.message().to_owned()));
                if !self.failing {
                    tracing::error!(code = error.code(), "{error}");
                }
                self.failing = true;
            }
            None if self.failing => {
                tracing::info!("the audit log can be written again");
                *self.status.failing.lock() = None;
                self.failing = false;
            }
            None => {}
        }
    }
}
