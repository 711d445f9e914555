//! Handing out key ids from durable blocks (RECORD 8). What is left of a block when the process ends is abandoned.

use crate::{KeyId, keystore::Inner, tree::BLOCK_KEYS};
use model::{Error, Result};
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// With fewer left, the next block is written on a thread of its own, so that nobody waits for its fsyncs.
const AHEAD_AT: u64 = 512;

/// A place that takes nothing is not asked again sooner: every attempt costs reads and syncs, and callers wait for it.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

type Reservation = JoinHandle<Result<Range<u64>>>;

#[derive(Debug)]
struct Allocator {
    current: Range<u64>,
    ahead: Option<Reservation>,
}

/// Why there is no key to hand out, and when that was last tried.
#[derive(Debug)]
struct Failed {
    at: Option<Instant>,
    error: Error,
}

#[derive(Debug)]
pub struct Blocks {
    allocator: Mutex<Allocator>,
    failed: Mutex<Option<Failed>>,
}

impl Blocks {
    /// `behind`: why no block can be written as the keystore is found.
    pub fn new(behind: Option<Error>) -> Self {
        let failed = behind.map(|error| Failed { at: None, error });
        Self { allocator: Mutex::new(Allocator { current: 0..0, ahead: None }), failed: Mutex::new(failed) }
    }

    /// Why no key can be handed out. It stands until a block is written, by whoever asks for a key or by `probe`.
    pub fn failing(&self) -> Option<Error> {
        self.failed.lock().as_ref().map(|failed| failed.error.again())
    }

    /// Tries again, unless somebody just did, so that the end of the cause needs nobody to write.
    pub fn probe(&self, inner: &Arc<Inner>) {
        let mut allocator = self.allocator.lock();
        if !allocator.current.is_empty() {
            *self.failed.lock() = None;
        } else if self.failed.lock().is_some()
            && let Ok(block) = self.next_block(&mut allocator, inner)
        {
            allocator.current = block;
        }
    }

    fn next_block(&self, allocator: &mut Allocator, inner: &Inner) -> Result<Range<u64>> {
        let lately = |failed: &&Failed| failed.at.is_some_and(|at| at.elapsed() < AGAIN_AFTER);
        if let Some(failed) = self.failed.lock().as_ref().filter(lately) {
            return Err(failed.error.again());
        }
        let block = allocator.next_block(inner);
        let failed = block.as_ref().err().map(|error| Failed { at: Some(Instant::now()), error: error.again() });
        if let Some(Failed { error, .. }) = &failed {
            tracing::warn!(code = error.code(), %error, "no key block can be written");
        }
        *self.failed.lock() = failed;
        block
    }

    pub fn take(&self, inner: &Arc<Inner>) -> Result<KeyId> {
        let mut allocator = self.allocator.lock();
        loop {
            while let Some(id) = allocator.current.next() {
                allocator.reserve_ahead(inner);
                // A key that was destroyed before it was handed out is skipped.
                if inner.holds(KeyId(id)) {
                    return Ok(KeyId(id));
                }
            }
            allocator.current = self.next_block(&mut allocator, inner)?;
        }
    }

    /// Waits for a block that is being written, so that no thread outlives the keystore.
    pub fn finish(&self) {
        if let Some(ahead) = self.allocator.lock().ahead.take() {
            // Its block is abandoned with the rest; its failure no longer matters to anybody.
            drop(ahead.join());
        }
    }
}

impl Allocator {
    fn reserve_ahead(&mut self, inner: &Arc<Inner>) {
        if self.ahead.is_some() || self.current.end - self.current.start >= AHEAD_AT {
            return;
        }
        let inner = Arc::clone(inner);
        let spawned = thread::Builder::new().name("key-block".into()).spawn(move || inner.reserve_block());
        match spawned {
            Ok(handle) => self.ahead = Some(handle),
            Err(cause) => tracing::warn!(%cause, "no thread for the next key block; it will be written when needed"),
        }
    }

    fn next_block(&mut self, inner: &Inner) -> Result<Range<u64>> {
        let Some(ahead) = self.ahead.take() else { return inner.reserve_block() };
        match ahead.join() {
            Ok(Ok(block)) => Ok(block),
            // What failed then may succeed now, and otherwise this says why.
            Ok(Err(_)) => inner.reserve_block(),
            Err(_) => Err(Error::bug("the thread that writes key blocks panicked")),
        }
    }
}

pub fn block_at(first: u64) -> Range<u64> {
    first..first + BLOCK_KEYS
}
