//! Handing out key ids from durable blocks (RECORD 8). What is left of a block when the process ends is abandoned.

use crate::{KeyId, keystore::Inner, tree::BLOCK_KEYS};
use model::{Error, Result};
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// With fewer left, the next block is written on a thread of its own, so that nobody waits for its fsyncs.
const AHEAD_AT: u64 = 512;

type Reservation = JoinHandle<Result<Range<u64>>>;

#[derive(Debug)]
struct Allocator {
    current: Range<u64>,
    ahead: Option<Reservation>,
}

#[derive(Debug)]
pub struct Blocks {
    allocator: Mutex<Allocator>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { allocator: Mutex::new(Allocator { current: 0..0, ahead: None }) }
    }
}

impl Blocks {
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
            allocator.current = allocator.next_block(inner)?;
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
