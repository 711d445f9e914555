//! A copy with faults by a script, for the tests of those who feed and read copies. Development only.

use crate::{ChangeBatch, Entry, KeyRange, Projection, text::TextSearch, vectors::VectorSearch};
use model::{Error, ErrorKind, Position, Result, Subject};
use parking_lot::{Condvar, Mutex};
use std::{collections::VecDeque, sync::Arc, thread, time::Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Ready,
    Apply,
    Entries,
    Begin,
    Adopt,
    Erase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and an error of this kind says so.
    Reject(ErrorKind),
    /// Everything is done, and an error of this kind says that it was not.
    FailAfter(ErrorKind),
    /// Nothing is done, and nothing says so (only of `apply` and `erase`).
    Drop,
    /// It is done once `release` was called.
    Hold,
    /// It is done after a while.
    Slow(Duration),
}

/// Which call comes to what; each is used once, the first that fits.
#[derive(Debug, Default)]
pub struct Script {
    faults: Mutex<VecDeque<(Call, Fault)>>,
    released: Mutex<bool>,
    changed: Condvar,
}

impl Script {
    pub fn add(&self, call: Call, fault: Fault) {
        self.faults.lock().push_back((call, fault));
    }

    /// Lets every held call go on, and those that come later.
    pub fn release(&self) {
        *self.released.lock() = true;
        self.changed.notify_all();
    }

    /// Faults that no call has met yet.
    pub fn left(&self) -> usize {
        self.faults.lock().len()
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let at = faults.iter().position(|(of, _)| *of == call)?;
        faults.remove(at).map(|(_, fault)| fault)
    }

    fn around<T>(&self, call: Call, dropped: Option<T>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let failed = |kind| Error::new(kind, "copy-unavailable", "a fault by the script");
        match self.next(call) {
            None => work(),
            Some(Fault::Reject(kind)) => Err(failed(kind)),
            Some(Fault::FailAfter(kind)) => work().and_then(|_| Err(failed(kind))),
            Some(Fault::Drop) => dropped.map_or_else(work, Ok),
            Some(Fault::Hold) => {
                let mut released = self.released.lock();
                while !*released {
                    self.changed.wait(&mut released);
                }
                drop(released);
                work()
            }
            Some(Fault::Slow(pause)) => {
                thread::sleep(pause);
                work()
            }
        }
    }
}

/// New generations follow the same script.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Projection>,
    script: Arc<Script>,
}

impl Faulty {
    #[must_use]
    pub fn new(inner: Arc<dyn Projection>, script: &Arc<Script>) -> Arc<Self> {
        Arc::new(Self { inner, script: Arc::clone(script) })
    }
}

impl Projection for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn ready(&self) -> Result<()> {
        self.script.around(Call::Ready, None, || self.inner.ready())
    }
    fn generation(&self) -> u64 {
        self.inner.generation()
    }
    fn position(&self) -> Option<Position> {
        self.inner.position()
    }
    fn damaged(&self) -> u64 {
        self.inner.damaged()
    }
    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        self.script.around(Call::Apply, Some(()), || self.inner.apply(batch))
    }
    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        self.script.around(Call::Entries, None, || self.inner.entries(range))
    }
    fn begin(&self) -> Result<Arc<dyn Projection>> {
        let begun = self.script.around(Call::Begin, None, || self.inner.begin())?;
        Ok(Self::new(begun, &self.script))
    }
    fn adopt(&self) -> Result<()> {
        self.script.around(Call::Adopt, None, || self.inner.adopt())
    }
    fn erase(&self, subject: &Subject) -> Result<u64> {
        self.script.around(Call::Erase, Some(0), || self.inner.erase(subject))
    }
    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        Arc::clone(&self.inner).as_vectors()
    }
    fn as_texts(self: Arc<Self>) -> Option<Arc<dyn TextSearch>> {
        Arc::clone(&self.inner).as_texts()
    }
    fn leaves_out(&self) -> Option<&'static str> {
        self.inner.leaves_out()
    }
}
